//! Exit statuses of fsck(8), which may be summed up.

/// Nothing was wrong.
pub(crate) const CLEAN: u8 = 0;
/// Errors were mended.
pub(crate) const CORRECTED: u8 = 1;
/// Errors are left.
pub(crate) const LEFT: u8 = 4;
/// The tool could not do its work.
pub(crate) const OPERATIONAL: u8 = 8;
/// The command line is wrong, or asks for what there is not.
pub(crate) const USAGE: u8 = 16;
/// Somebody stopped it.
pub(crate) const CANCELLED: u8 = 32;

/// An error of whoever typed the command.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The status that an error ends with.
pub(crate) fn of_error(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { USAGE } else { OPERATIONAL }
}
