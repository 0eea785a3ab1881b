//! The three system calls that the safe wrappers of rustix do not have.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::ioctl::{Getter, Setter, ioctl, opcode};

mod raw {
    unsafe extern "C" {
        /// glibc and musl, Linux only. Offsets are 64 bits wide on every architecture.
        pub(super) fn sync_file_range(fd: i32, offset: i64, nbytes: i64, flags: u32) -> i32;
    }
}

/// `SYNC_FILE_RANGE_WRITE` of `include/uapi/linux/fs.h`.
const SYNC_FILE_RANGE_WRITE: u32 = 2;

/// Starts writing dirty pages of the range back, without waiting. A hint: a failure is of no interest.
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return;
    };
    // A length of 0 would mean "to the end of the file".
    if len == 0 {
        return;
    }
    // SAFETY: the call takes integers only and touches no memory of ours; the descriptor is open while `file` is borrowed.
    let _ = unsafe { raw::sync_file_range(file.as_raw_fd(), offset, len, SYNC_FILE_RANGE_WRITE) };
}

/// `BLKDISCARD`: the blocks of a block device are not needed any more. They may read as anything afterwards.
pub(crate) fn block_discard(file: &File, offset: u64, len: u64) -> io::Result<()> {
    const BLKDISCARD: rustix::ioctl::Opcode = opcode::none(0x12, 119);
    // SAFETY: BLKDISCARD reads two u64, start and length, from the pointer (`blk_ioctl_discard`), which is what Setter
    // passes; the kernel checks both.
    unsafe { ioctl(file, Setter::<BLKDISCARD, [u64; 2]>::new([offset, len])) }?;
    Ok(())
}

/// Device and inode number of the file behind a loop device, from `LOOP_GET_STATUS64`.
pub(crate) fn loop_backing_file(loop_device: &File) -> io::Result<(u64, u64)> {
    const LOOP_GET_STATUS64: rustix::ioctl::Opcode = 0x4C05;
    /// `struct loop_info64`: 232 bytes, of which the first two words are `lo_device` and `lo_inode`.
    type LoopInfo64 = [u64; 29];
    // SAFETY: LOOP_GET_STATUS64 writes one loop_info64 of 232 bytes to the pointer; any bit pattern is a valid [u64; 29].
    let info = unsafe { ioctl(loop_device, Getter::<LOOP_GET_STATUS64, LoopInfo64>::new()) }?;
    Ok((info[0], info[1]))
}
