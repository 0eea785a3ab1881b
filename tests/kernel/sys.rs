//! What of the real kernel has no safe call: memory, `ioctl`, `mount`. Addresses that are handed in lie in the window of one
//! subject, where nothing of this program is.

use std::ffi::{CString, c_int, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A result with the number of an error.
pub(crate) type Raw<T> = Result<T, i32>;

fn last() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check(returned: c_int) -> Raw<()> {
    if returned == -1 { Err(last()) } else { Ok(()) }
}

fn counted(returned: isize) -> Raw<usize> {
    usize::try_from(returned).map_err(|_| last())
}

fn pointer(address: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(address as usize)
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FsXattr {
    pub(crate) xflags: u32,
    pub(crate) extsize: u32,
    pub(crate) nextents: u32,
    pub(crate) projid: u32,
    pub(crate) cowextsize: u32,
    pub(crate) pad: [u8; 8],
}

pub(crate) const GETFLAGS: u32 = 0x8008_6601;
pub(crate) const SETFLAGS: u32 = 0x4008_6602;
pub(crate) const FSGETXATTR: u32 = 0x801C_581F;
pub(crate) const FSSETXATTR: u32 = 0x401C_5820;
pub(crate) const FIFREEZE: u32 = 0xC004_5877;
pub(crate) const FITHAW: u32 = 0xC004_5878;

/// What one of these calls takes.
pub(crate) trait Argument {}
impl Argument for FsXattr {}
/// `long` by name, of which 32 bits are read and written.
impl Argument for [u32; 2] {}

/// One of the calls above, with what it takes.
pub(crate) fn ioctl<T: Argument>(fd: BorrowedFd<'_>, request: u32, argument: &mut T) -> Raw<()> {
    // SAFETY: the kernel reads or writes at most the bytes of the argument, which any value may have.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(request), std::ptr::from_mut(argument)) })
}

/// `mount(MS_REMOUNT)`.
pub(crate) fn remount(at: &Path, read_only: bool) -> Raw<()> {
    let at = CString::new(at.as_os_str().as_bytes()).expect("a path");
    let flags = libc::MS_REMOUNT | libc::MS_NOATIME | if read_only { libc::MS_RDONLY } else { 0 };
    // SAFETY: the path is a C string; the rest is not looked at.
    check(unsafe { libc::mount(std::ptr::null(), at.as_ptr(), std::ptr::null(), flags, std::ptr::null()) })
}

/// `mmap` at an address that must be free.
pub(crate) fn mmap(
    address: u64,
    len: u64,
    prot: u32,
    flags: u32,
    file: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Raw<u64> {
    let anonymous = if file.is_none() { libc::MAP_ANONYMOUS } else { 0 };
    let fd = file.map_or(-1, |file| file.as_raw_fd());
    let map = |prot: u32, flags: c_int| {
        let (len, offset) = (len as usize, offset as libc::off_t);
        // SAFETY: nobody has references into the window.
        let got = unsafe { libc::mmap(pointer(address), len, prot as c_int, flags | anonymous, fd, offset) };
        if got == libc::MAP_FAILED { Err(last()) } else { Ok(got as u64) }
    };
    let flags = flags as c_int;
    if flags & libc::MAP_TYPE != libc::MAP_SHARED_VALIDATE {
        return map(prot, flags | libc::MAP_FIXED_NOREPLACE);
    }
    // MAP_SHARED_VALIDATE does not know that flag.
    match map(0, libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE) {
        Err(errno @ (libc::EBADF | libc::EEXIST | libc::EINVAL | libc::ENOMEM | libc::EOVERFLOW)) => Err(errno),
        probed => {
            if probed.is_ok() {
                munmap(address, len)?;
            }
            map(prot, flags | libc::MAP_FIXED)
        }
    }
}

/// `munmap`.
pub(crate) fn munmap(address: u64, len: u64) -> Raw<()> {
    // SAFETY: nobody has references into the window.
    check(unsafe { libc::munmap(pointer(address), len as usize) })
}

/// `mprotect`.
pub(crate) fn mprotect(address: u64, len: u64, prot: u32) -> Raw<()> {
    // SAFETY: nobody has references into the window.
    check(unsafe { libc::mprotect(pointer(address), len as usize, prot as c_int) })
}

/// `mremap`, in place.
pub(crate) fn mremap(address: u64, len: u64, new: u64) -> Raw<u64> {
    // SAFETY: nobody has references into the window.
    let got = unsafe { libc::mremap(pointer(address), len as usize, new as usize, 0) };
    if got == libc::MAP_FAILED { Err(last()) } else { Ok(got as u64) }
}

/// `msync`.
pub(crate) fn msync(address: u64, len: u64, flags: u32) -> Raw<()> {
    // SAFETY: it changes no memory.
    check(unsafe { libc::msync(pointer(address), len as usize, flags as c_int) })
}

/// `madvise`.
pub(crate) fn madvise(address: u64, len: u64, advice: u32) -> Raw<()> {
    // SAFETY: nobody has references into the window.
    check(unsafe { libc::madvise(pointer(address), len as usize, advice as c_int) })
}

/// `pread` into the window.
pub(crate) fn read_to(fd: BorrowedFd<'_>, offset: u64, address: u64, len: usize) -> Raw<usize> {
    // SAFETY: the kernel writes the window, into which nobody has references.
    counted(unsafe { libc::pread(fd.as_raw_fd(), pointer(address), len, offset as libc::off_t) })
}

/// `pwrite` from the window.
pub(crate) fn write_from(fd: BorrowedFd<'_>, offset: u64, address: u64, len: usize) -> Raw<usize> {
    // SAFETY: the kernel reads the window, whatever is there.
    counted(unsafe { libc::pwrite(fd.as_raw_fd(), pointer(address), len, offset as libc::off_t) })
}

/// `truncate`.
pub(crate) fn truncate(path: &Path, size: i64) -> Raw<()> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: the path is a C string.
    check(unsafe { libc::truncate(path.as_ptr(), size) })
}
