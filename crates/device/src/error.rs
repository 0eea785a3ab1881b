//! What can go wrong with a device, and with opening one.
//!
//! Every message is one line and stands on its own: it says what was tried, where, and on which path.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A read, write, flush or discard that did not happen as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The range is not wholly inside the device. Nothing was read or written.
    #[error("{len} bytes at offset {offset} do not lie inside the device of {device_len} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Length of the device.
        device_len: u64,
    },
    /// A change was asked of a device opened for reading only.
    #[error("the device is open for reading only")]
    ReadOnly,
    /// The host refused.
    #[error("cannot {op} {len} bytes at offset {offset}: {source}")]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// First byte concerned, relative to the device.
        offset: u64,
        /// Bytes concerned.
        len: u64,
        /// The host's answer.
        source: io::Error,
    },
    /// A sector that cannot be read or written (EIO), made by a fault injector.
    #[error("bad sector at offset {offset}")]
    BadSector {
        /// First byte of the bad range that was hit.
        offset: u64,
    },
    /// The host has no space left (ENOSPC). Bytes before `offset` may have been written.
    #[error("no space left on the host while writing at offset {offset}")]
    NoSpace {
        /// First byte that was not written.
        offset: u64,
    },
    /// The file behind the device has become shorter than the device was when it was opened.
    #[error("the file has shrunk: {len} bytes at offset {offset} are no longer there")]
    Shrunk {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
    },
}

impl DeviceError {
    /// Wraps the host's answer; a full disk gets its own variant.
    pub fn from_io(op: &'static str, offset: u64, len: u64, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            Self::NoSpace { offset }
        } else {
            Self::Io { op, offset, len, source }
        }
    }

    /// The errno that a system call would have given for this error.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::OutOfRange { .. } => Errno::INVAL,
            Self::ReadOnly => Errno::ROFS,
            Self::Io { source, .. } => {
                return source.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
            }
            Self::BadSector { .. } | Self::Shrunk { .. } => Errno::IO,
            Self::NoSpace { .. } => Errno::NOSPC,
        };
        errno.raw_os_error()
    }
}

impl From<DeviceError> for io::Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Io { source, .. } => source,
            other => Self::from_raw_os_error(other.errno()),
        }
    }
}

/// A copy from a file into a device that did not complete. It says which side failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source could not be read.
    #[error("cannot read the source: {0}")]
    Source(#[source] io::Error),
    /// The source ended early: it is shorter than it was when it was measured.
    #[error("the source ends at offset {at}, sooner than expected")]
    SourceShort {
        /// Length of the source as found, if it is the end of file that was met.
        at: u64,
    },
    /// The device could not be written.
    #[error(transparent)]
    Target(#[from] DeviceError),
}

/// Who else uses an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InUse {
    /// The block device is mounted.
    #[error("mounted at {}", .at.display())]
    Mounted {
        /// A mount point, the first found.
        at: PathBuf,
    },
    /// The regular file is the backing file of a loop device.
    #[error("behind loop device {device}{}", .mounted_at.as_ref().map(|at| format!(", mounted at {}", at.display())).unwrap_or_default())]
    Loop {
        /// The loop device, as `loop3`.
        device: String,
        /// Where that loop device is mounted, if it is.
        mounted_at: Option<PathBuf>,
    },
    /// It is swap space.
    #[error("in use as swap")]
    Swap,
    /// The kernel refuses an exclusive open of the block device: a volume manager or another program has claimed it.
    #[error("claimed by the kernel or another program")]
    Claimed,
    /// Another process, or another handle of this one, holds a lock on it.
    #[error("locked by {}", .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The holder, where `/proc/locks` tells.
        pid: Option<u32>,
    },
}

/// An image that cannot be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file.
    #[error("{}: no such file or directory", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("{}: is a directory", .path.display())]
    IsDirectory {
        /// The path asked for.
        path: PathBuf,
    },
    /// It is neither a regular file nor a block device.
    #[error("{}: is neither a regular file nor a block device", .path.display())]
    NotADevice {
        /// The path asked for.
        path: PathBuf,
    },
    /// A new file was asked for, and there is one of that name.
    #[error("{}: already exists", .path.display())]
    AlreadyExists {
        /// The path asked for.
        path: PathBuf,
    },
    /// Somebody uses it.
    #[error("{}: {how}", .path.display())]
    InUse {
        /// The path asked for.
        path: PathBuf,
        /// Who.
        how: InUse,
    },
    /// The host denies access.
    #[error("{}: permission denied", .path.display())]
    Permission {
        /// The path asked for.
        path: PathBuf,
    },
    /// The block device takes no writes.
    #[error("{}: is read-only", .path.display())]
    ReadOnly {
        /// The path asked for.
        path: PathBuf,
    },
    /// The window asked for does not fit into the file or device.
    #[error("{}: {len} bytes at offset {offset} were asked for, but it ends at {file_len}", .path.display())]
    OutsideFile {
        /// The path asked for.
        path: PathBuf,
        /// First byte of the window.
        offset: u64,
        /// Length of the window.
        len: u64,
        /// Length of the file or device.
        file_len: u64,
    },
    /// The host refused for another reason.
    #[error("{}: cannot {op}: {source}", .path.display())]
    Io {
        /// The path asked for.
        path: PathBuf,
        /// What was tried, as a verb.
        op: &'static str,
        /// The host's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// Sorts the host's answer into the variants that have a name.
    pub fn from_io(path: &Path, op: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::IsADirectory => Self::IsDirectory { path },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Io { path, op, source },
        }
    }

    /// The path that the message names.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path }
            | Self::IsDirectory { path }
            | Self::NotADevice { path }
            | Self::AlreadyExists { path }
            | Self::InUse { path, .. }
            | Self::Permission { path }
            | Self::ReadOnly { path }
            | Self::OutsideFile { path, .. }
            | Self::Io { path, .. } => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_name_the_path() {
        let path = PathBuf::from("/tmp/a.img");
        let how = InUse::Loop { device: "loop3".into(), mounted_at: Some("/mnt".into()) };
        assert_eq!(
            OpenError::InUse { path: path.clone(), how }.to_string(),
            "/tmp/a.img: behind loop device loop3, mounted at /mnt"
        );
        let how = InUse::Loop { device: "loop3".into(), mounted_at: None };
        assert_eq!(OpenError::InUse { path: path.clone(), how }.to_string(), "/tmp/a.img: behind loop device loop3");
        let how = InUse::Locked { pid: Some(7) };
        assert_eq!(OpenError::InUse { path, how }.to_string(), "/tmp/a.img: locked by process 7");
        assert_eq!(InUse::Locked { pid: None }.to_string(), "locked by another process");
        assert_eq!(InUse::Mounted { at: "/x".into() }.to_string(), "mounted at /x");
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        assert!(matches!(DeviceError::from_io("write", 7, 9, full), DeviceError::NoSpace { offset: 7 }));
        assert_eq!(DeviceError::NoSpace { offset: 0 }.errno(), 28);
        assert_eq!(DeviceError::BadSector { offset: 0 }.errno(), 5);
    }
}
