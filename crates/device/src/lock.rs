//! Who else uses an image: locks, mounts, loop devices, swap.
//!
//! A daxkit writer holds an exclusive `flock` on the image for as long as it has it open; on a block device this is also
//! what keeps udev from probing half-written content. The other checks look at what the kernel tells; somebody can still
//! mount the image a moment later, which no user-space check can prevent for a regular file. A block device opened with
//! `O_EXCL` is safe from that.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock, major, minor};
use rustix::io::Errno;

use crate::error::{InUse, OpenError};
use crate::sys;

/// Takes the exclusive lock of a writer. It is released when the last duplicate of `file` is closed.
///
/// # Errors
/// [`OpenError::InUse`] when another handle has it.
pub fn lock_exclusive(file: &File, path: &Path) -> Result<(), OpenError> {
    lock(file, path, FlockOperation::NonBlockingLockExclusive)
}

/// Takes the lock of a reader who wants no writer beside him.
///
/// # Errors
/// [`OpenError::InUse`] when a writer has it.
pub fn lock_shared(file: &File, path: &Path) -> Result<(), OpenError> {
    lock(file, path, FlockOperation::NonBlockingLockShared)
}

fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<(), OpenError> {
    let mut result = flock(file, operation);
    if result == Err(Errno::WOULDBLOCK) {
        let holders = file.metadata().map(|meta| lock_holders(&meta)).unwrap_or_default();
        // udev locks a block device that has just appeared for the moment in which it looks at it. That is worth waiting for.
        if operation != FlockOperation::NonBlockingLockExclusive || holders.is_empty() || !holders.iter().all(is_udev) {
            let how = InUse::Locked { pid: holders.first().copied() };
            return Err(OpenError::InUse { path: path.to_owned(), how });
        }
        result = rustix::io::retry_on_intr(|| flock(file, FlockOperation::LockExclusive));
    }
    match result {
        // Some network file systems have no flock. Nothing can be known then, and nothing is refused.
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(OpenError::from_io(path, "lock", errno.into())),
    }
}

/// Whether a process is a worker of udev, by its name.
fn is_udev(pid: &u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("udev"))
}

/// Who uses the image at `path`, if anybody does. `None` also when the kernel does not tell (no `/proc`, no `/sys`) or
/// when there is nothing at `path`.
#[must_use]
pub fn in_use(path: &Path) -> Option<InUse> {
    held_by_kernel(path).or_else(|| is_locked(path, &fs::metadata(path).ok()?))
}

/// As [`in_use`], without looking at locks: for who is about to take the lock anyway, and must not meet his own probe.
pub(crate) fn held_by_kernel(path: &Path) -> Option<InUse> {
    let meta = fs::metadata(path).ok()?;
    let kind = meta.file_type();
    if kind.is_block_device() {
        mounted_at(meta.rdev())
            .map(|at| InUse::Mounted { at })
            .or_else(|| is_swap(&meta).then_some(InUse::Swap))
            .or_else(|| is_claimed(path).then_some(InUse::Claimed))
    } else if kind.is_file() {
        behind_loop(meta.dev(), meta.ino()).or_else(|| is_swap(&meta).then_some(InUse::Swap))
    } else {
        None
    }
}

/// Whether the kernel says that a block device takes no writes.
pub(crate) fn is_read_only(meta: &fs::Metadata) -> bool {
    let (major, minor) = (major(meta.rdev()), minor(meta.rdev()));
    fs::read(format!("/sys/dev/block/{major}:{minor}/ro")).is_ok_and(|text| text.starts_with(b"1"))
}

/// The first mount point of the block device with this number.
fn mounted_at(rdev: u64) -> Option<PathBuf> {
    mount_point(&fs::read("/proc/self/mountinfo").ok()?, rdev)
}

fn mount_point(mountinfo: &[u8], rdev: u64) -> Option<PathBuf> {
    let number = format!("{}:{}", major(rdev), minor(rdev));
    mountinfo.split(|b| *b == b'\n').find_map(|line| {
        // proc(5): mount id, parent id, major:minor, root, mount point, ...
        let mut fields = line.split(|b| *b == b' ');
        if fields.nth(2)? == number.as_bytes() { Some(unescape(fields.nth(1)?)) } else { None }
    })
}

/// `/proc` writes blanks, newlines and backslashes as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &rest[4..] } else { tail };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// The loop device whose backing file is this one.
fn behind_loop(dev: u64, ino: u64) -> Option<InUse> {
    let mut names: Vec<String> = fs::read_dir("/sys/block")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("loop"))
        .collect();
    names.sort();
    names.into_iter().find(|name| is_backing_file(name, dev, ino)).map(|device| {
        let rdev = fs::metadata(Path::new("/dev").join(&device)).ok().map(|meta| meta.rdev());
        InUse::Loop { mounted_at: rdev.and_then(mounted_at), device }
    })
}

fn is_backing_file(loop_name: &str, dev: u64, ino: u64) -> bool {
    // The file exists only while the loop device has a backing file.
    let Ok(text) = fs::read(format!("/sys/block/{loop_name}/loop/backing_file")) else {
        return false;
    };
    // The kernel's own numbers are exact, also for a file that was unlinked or renamed; they need permission.
    if let Ok(file) = File::open(Path::new("/dev").join(loop_name))
        && let Ok(numbers) = sys::loop_backing_file(&file)
    {
        return numbers == (dev, ino);
    }
    same_file(text.strip_suffix(b"\n").unwrap_or(&text), dev, ino)
}

/// Whether the path, as the kernel prints it, leads to this file. The kernel adds ` (deleted)` to a path whose name is
/// gone; what has that name now is then another file, which the numbers tell.
fn same_file(printed: &[u8], dev: u64, ino: u64) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let is = |bytes: &[u8]| {
        fs::metadata(std::ffi::OsStr::from_bytes(bytes)).is_ok_and(|meta| meta.dev() == dev && meta.ino() == ino)
    };
    is(printed) || printed.strip_suffix(b" (deleted)").is_some_and(is)
}

/// Whether the file or block device is listed in `/proc/swaps`.
fn is_swap(meta: &fs::Metadata) -> bool {
    fs::read("/proc/swaps").is_ok_and(|swaps| is_swap_in(&swaps, meta))
}

fn is_swap_in(swaps: &[u8], meta: &fs::Metadata) -> bool {
    // The first line is a heading; then one line each, the path first.
    swaps.split(|b| *b == b'\n').skip(1).any(|line| {
        let name = line.split(|b| *b == b' ' || *b == b'\t').next().unwrap_or_default();
        fs::metadata(unescape(name)).is_ok_and(|other| {
            if meta.file_type().is_block_device() {
                other.file_type().is_block_device() && other.rdev() == meta.rdev()
            } else {
                other.dev() == meta.dev() && other.ino() == meta.ino()
            }
        })
    })
}

/// Whether the kernel refuses an exclusive open of the block device.
fn is_claimed(path: &Path) -> bool {
    let exclusive = OpenOptions::new().read(true).custom_flags(OFlags::EXCL.bits() as i32).open(path);
    exclusive.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

/// Whether a writer has the image locked.
fn is_locked(path: &Path, meta: &fs::Metadata) -> Option<InUse> {
    if !meta.file_type().is_file() && !meta.file_type().is_block_device() {
        return None;
    }
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(InUse::Locked { pid: lock_holders(meta).first().copied() }),
        _ => None,
    }
}

/// The processes that hold a `flock` on the file.
fn lock_holders(meta: &fs::Metadata) -> Vec<u32> {
    fs::read_to_string("/proc/locks").map(|locks| holders_in(&locks, meta.dev(), meta.ino())).unwrap_or_default()
}

fn holders_in(locks: &str, dev: u64, ino: u64) -> Vec<u32> {
    // proc(5): `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`, numbers of the device in hexadecimal. Who waits has an
    // arrow before the kind. A process that cannot be seen from here has number 0.
    let place = format!("{:02x}:{:02x}:{ino}", major(dev), minor(dev));
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, _, pid, at, ..] if *at == place => pid.parse().ok().filter(|pid| *pid != 0),
            _ => None,
        }
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    #[test]
    fn mount_points_are_found_by_device_number_and_unescaped() {
        let text = b"22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
                     30 22 7:3 / /mnt/with\\040blank\\134 rw - ext4 /dev/loop3 rw\n";
        assert_eq!(mount_point(text, makedev(7, 3)), Some("/mnt/with blank\\".into()));
        assert_eq!(mount_point(text, makedev(254, 0)), Some("/".into()));
        assert_eq!(mount_point(text, makedev(7, 4)), None);
        assert_eq!(mount_point(b"junk\n\n1 2", makedev(7, 4)), None);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(br"a\04"), PathBuf::from(r"a\04"));
        assert_eq!(unescape(br"\400\012"), PathBuf::from("\\400\n"));
    }

    #[test]
    fn lock_holders_are_parsed() {
        let text = "1: POSIX  ADVISORY  READ 5 fe:00:99 128 128\n2: FLOCK  ADVISORY  WRITE 1234 fe:00:99 0 EOF\n\
                    2: -> FLOCK ADVISORY WRITE 8 fe:00:99 0 EOF\n3: FLOCK  ADVISORY  READ 9 fe:00:99 0 EOF\n";
        assert_eq!(holders_in(text, makedev(0xfe, 0), 99), [1234, 9]);
        assert_eq!(holders_in(text, makedev(0xfe, 1), 99), []);
    }

    #[test]
    fn swap_files_are_found_by_their_identity() {
        let dir = tempfile::tempdir().unwrap();
        let (swap, other) = (dir.path().join("swap file"), dir.path().join("other"));
        fs::write(&swap, b"x").unwrap();
        fs::write(&other, b"x").unwrap();
        let printed = swap.display().to_string().replace(' ', "\\040");
        let text = format!("Filename Type Size Used Priority\n{printed} file 1 0 -2\n/gone file 1 0 -3\n");
        assert!(is_swap_in(text.as_bytes(), &fs::metadata(&swap).unwrap()));
        assert!(!is_swap_in(text.as_bytes(), &fs::metadata(&other).unwrap()));
    }

    #[test]
    fn a_deleted_suffix_is_seen_through_only_for_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        fs::write(&path, b"x").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let printed = format!("{} (deleted)", path.display());
        assert!(same_file(printed.as_bytes(), meta.dev(), meta.ino()));
        assert!(!same_file(printed.as_bytes(), meta.dev(), meta.ino() + 1));
    }
}
