//! Target for tar archives, plain and compressed, as a file and as a stream.

use std::fs::File;
use std::io::{Cursor, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daxkit_build::source::{Archive, FileData, Member, MemberKind, NumericIds, TarInput, TarOptions};

use super::input::Input;

/// The first byte chooses how the archive is read: as a file (1), without attributes (2), with checksums of its headers that
/// fit (4), so that changes reach what lies behind them.
pub(crate) fn tar(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.u8();
    let mut bytes = input.0.to_vec();
    if choice & 4 != 0 {
        bytes.chunks_exact_mut(512).filter(|block| block.get(257..262) == Some(b"ustar")).for_each(seal);
    }
    let options =
        TarOptions { spool_dir: std::env::temp_dir(), read_xattrs: choice & 2 == 0, ids: Arc::new(NumericIds) };
    if choice & 1 == 0 {
        read(TarInput::Stream(Box::new(Cursor::new(bytes))), options);
        return;
    }
    let memory = rustix::fs::memfd_create("tar", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(&bytes).expect("memory takes bytes");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    read(TarInput::Path(Path::new(&path)), options);
}

/// Gives a header the checksum it should have.
fn seal(block: &mut [u8]) {
    let Some(sum) = block.get_mut(148..156) else { return };
    sum.fill(b' ');
    let total: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(sum) = block.get_mut(148..155) {
        sum.copy_from_slice(format!("{total:06o}\0").as_bytes());
    }
}

fn read(input: TarInput<'_>, options: TarOptions) {
    let Ok(mut archive) = Archive::open(input, options) else { return };
    let mut members = Vec::new();
    loop {
        match archive.next_member(&|| false) {
            Ok(Some(member)) => members.push(member),
            Ok(None) => break,
            Err(error) => return one_line(&error.to_string()),
        }
    }
    archive.take_notices().iter().for_each(|notice| one_line(&notice.to_string()));
    let content = archive.finish().expect("what was read to its end has content");
    let len = content.file.metadata().expect("metadata").len();
    members.iter().for_each(|member| sound(member, len));
}

fn one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} is more than a line");
}

/// What a member says of its content is in the file of `len` bytes, and its lists are in order.
fn sound(member: &Member, len: u64) {
    assert!(member.attributes.mode & !0o7777 == 0);
    assert!(member.xattrs.list.is_sorted_by(|a, b| a.0 < b.0), "attributes are sorted, each is there once");
    let (MemberKind::File(data) | MemberKind::HardLink(_, Some(data))) = &member.kind else { return };
    let end = data.at.checked_add(stored(data)).expect("content does not wrap");
    assert!(end <= len, "content lies in the file");
}

fn stored(data: &FileData) -> u64 {
    let Some(ranges) = &data.ranges else { return data.size };
    let mut last = None;
    for range in ranges {
        assert!(range.start < range.end && range.end <= data.size, "a range lies in its file");
        assert!(last.is_none_or(|last| last < range.start), "ranges are sorted and apart");
        last = Some(range.end);
    }
    ranges.iter().map(|range| range.end - range.start).sum()
}
