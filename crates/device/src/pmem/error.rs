//! What can go wrong with persistent memory.

use rustix::io::Errno;

use crate::error::DeviceError;

/// An access that did not happen as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PmemError {
    /// The range is not wholly inside the memory. Nothing was read or stored.
    #[error("{len} bytes at address {addr} do not lie inside the memory of {size} bytes")]
    OutOfRange {
        /// First byte asked for.
        addr: u64,
        /// Bytes asked for.
        len: u64,
        /// Length of the memory.
        size: u64,
    },
    /// Media poison: SIGBUS for who loads through a mapping, EIO for `read(2)`, EHWPOISON from `direct_access`.
    #[error("poisoned memory at address {addr}")]
    Poisoned {
        /// First poisoned byte that was hit.
        addr: u64,
    },
    /// A length that no pmem device has.
    #[error("{len} bytes are no length of a pmem device: it is a multiple of {multiple_of}, and not 0")]
    BadLength {
        /// The length asked for, in bytes.
        len: u64,
        /// What it must be a multiple of, in bytes.
        multiple_of: u64,
    },
    /// The base cannot be written because snapshots read it too.
    #[error("the base is shared with snapshots and cannot be written")]
    SharedBase,
    /// The base failed.
    #[error(transparent)]
    Base(#[from] DeviceError),
}

impl PmemError {
    /// The errno that a system call gives for this error.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::OutOfRange { .. } | Self::BadLength { .. } => Errno::INVAL.raw_os_error(),
            Self::Poisoned { .. } => Errno::IO.raw_os_error(),
            Self::SharedBase => Errno::BUSY.raw_os_error(),
            Self::Base(error) => error.errno(),
        }
    }
}

impl From<PmemError> for DeviceError {
    fn from(error: PmemError) -> Self {
        match error {
            PmemError::OutOfRange { addr, len, size } => Self::OutOfRange { offset: addr, len, device_len: size },
            PmemError::Poisoned { addr } => Self::BadSector { offset: addr },
            PmemError::Base(error) => error,
            PmemError::BadLength { .. } | PmemError::SharedBase => Self::ReadOnly,
        }
    }
}
