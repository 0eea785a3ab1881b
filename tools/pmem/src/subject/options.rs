//! Mount options as a scenario or a command line writes them.

use daxkit_format::dax::DaxMode;
use daxkit_format::dax::ext4::DataMode;
use daxkit_mount::profile::Profile;

/// Options that the emulated kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) dax: Option<DaxMode>,
    /// The mode was named (`dax=always`), which is an option since 5.8.
    pub(crate) dax_named: bool,
    pub(crate) data: Option<DataMode>,
    pub(crate) delalloc: bool,
    pub(crate) read_only: Option<bool>,
}

impl Options {
    /// Whether a release knows all of them.
    pub(crate) fn are_known_to(&self, profile: &Profile) -> bool {
        profile.has_dax_modes() || !self.dax_named
    }
}

/// Reads options; the error is the word that is not known (`EINVAL` of mount).
pub(crate) fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options { dax: None, dax_named: false, data: None, delalloc: true, read_only: None };
    for word in words {
        match word.as_str() {
            "defaults" => {}
            "ro" => options.read_only = Some(true),
            "rw" => options.read_only = Some(false),
            "delalloc" => options.delalloc = true,
            "nodelalloc" => options.delalloc = false,
            "data=ordered" => options.data = Some(DataMode::Ordered),
            "data=writeback" => options.data = Some(DataMode::Writeback),
            "data=journal" => options.data = Some(DataMode::Journal),
            other => match DaxMode::from_option(other) {
                Some(mode) => (options.dax, options.dax_named) = (Some(mode), other != "dax"),
                None => return Err(other.to_owned()),
            },
        }
    }
    Ok(options)
}
