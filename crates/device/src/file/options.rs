//! How a file is opened as a device.

/// How a file is opened as a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileOptions {
    pub(super) write: bool,
    pub(super) shared_lock: bool,
    pub(super) fresh: bool,
    pub(super) offset: u64,
    pub(super) len: Option<u64>,
    pub(super) grow: bool,
    pub(super) direct: bool,
}

impl FileOptions {
    /// For reading only, without a lock.
    #[must_use]
    pub fn read_only() -> Self {
        Self::default()
    }

    /// For reading and writing, under an exclusive lock.
    #[must_use]
    pub fn read_write() -> Self {
        Self { write: true, ..Self::default() }
    }

    /// A reader that wants no writer beside it.
    #[must_use]
    pub fn shared_lock(self) -> Self {
        Self { shared_lock: true, ..self }
    }

    /// The device begins at this byte of the file.
    #[must_use]
    pub fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The device has this length; without it, it goes to the end of the file.
    #[must_use]
    pub fn len(self, len: u64) -> Self {
        Self { len: Some(len), ..self }
    }

    /// A regular file that is shorter than the window is made longer. The new part is known to be zero.
    #[must_use]
    pub fn grow(self) -> Self {
        Self { grow: true, ..self }
    }

    /// Reads and writes go past the host's page cache (`O_DIRECT`), as far as they can: not those of the last page of a file that ends
    /// within one.
    #[must_use]
    pub fn direct(self) -> Self {
        Self { direct: true, ..self }
    }

    /// The caller knows that the whole window reads as zero, because it has just made the file.
    #[must_use]
    pub fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }

    /// The same window, for reading only.
    pub(crate) fn without_write(self) -> Self {
        Self { write: false, fresh: false, grow: false, ..self }
    }
}
