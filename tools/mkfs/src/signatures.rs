//! What a target holds already: recognised by name where possible, else told apart from nothing at all.

use daxkit_device::{BlockDevice, DeviceError};
use daxkit_format::ext4::features::Compat;
use daxkit_format::ext4::super_block::{self, SUPER_BLOCK_OFFSET};

/// Magic bytes at fixed places, the more telling ones first.
const SIGNATURES: &[(u64, &[u8], &str)] = &[
    (0, b"XFSB", "an XFS file system"),
    (0x10040, b"_BHRfS_M", "a btrfs file system"),
    (0, b"hsqs", "a squashfs file system"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (512, b"LABELONE", "an LVM physical volume"),
    (4096, b"NVDIMM_PFN_INFO\0", "a pmem namespace with a PFN info block"),
    (4096, b"NVDIMM_DAX_INFO\0", "a device-DAX namespace"),
    (4096, b"BTT_ARENA_INFO\0\0", "a pmem namespace with a BTT"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (512, b"EFI PART", "a GPT partition table"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"\x7fELF", "an ELF program"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (257, b"ustar", "a tar archive"),
    (510, b"\x55\xaa", "a boot sector or partition table"),
];
/// Bytes at the start that hold every signature above.
const HEAD: u64 = 0x11000;
/// Bytes read in search of anything but zeroes, in all.
const BUDGET: u64 = 64 << 20;
/// Bytes looked at at both ends in any case.
const ENDS: u64 = 1 << 20;

/// What the device holds, in a few words; `None` when nothing but zeroes was found.
pub(crate) fn content(device: &dyn BlockDevice) -> Result<Option<String>, DeviceError> {
    let mut head = vec![0; device.len().min(HEAD) as usize];
    device.read_at(0, &mut head)?;
    if let Some(what) = ext(&head) {
        return Ok(Some(what));
    }
    for (at, magic, what) in SIGNATURES {
        if head.get(*at as usize..).is_some_and(|rest| rest.starts_with(magic)) {
            return Ok(Some((*what).to_owned()));
        }
    }
    let len = device.len();
    let mut left = BUDGET;
    let ends = [0..len.min(ENDS), len.saturating_sub(ENDS)..len, 0..len];
    for range in ends {
        if any_data(device, range, &mut left)? {
            return Ok(Some("data".to_owned()));
        }
    }
    Ok(None)
}

fn ext(head: &[u8]) -> Option<String> {
    let sb = super_block::parse(head.get(SUPER_BLOCK_OFFSET as usize..)?)?;
    let kind = if !sb.incompat().is_empty() && sb.incompat().bits() & 0x2d0 != 0 {
        "ext4"
    } else if sb.compat().contains(Compat::HAS_JOURNAL) {
        "ext3"
    } else {
        "ext2"
    };
    let label = sb.s_volume_name.split(|b| *b == 0).next().unwrap_or_default();
    Some(if label.is_empty() {
        format!("an {kind} file system")
    } else {
        format!("an {kind} file system labelled '{}'", String::from_utf8_lossy(label))
    })
}

/// Whether the range holds anything but zeroes, as far as `left` bytes tell.
fn any_data(device: &dyn BlockDevice, range: std::ops::Range<u64>, left: &mut u64) -> Result<bool, DeviceError> {
    let mut buffer = vec![0; 1 << 16];
    let mut at = range.start;
    while at < range.end && *left > 0 {
        let Some(data) = device.next_data(at)? else { break };
        at = data.start.max(at);
        let end = data.end.min(range.end);
        while at < end && *left > 0 {
            let n = (end - at).min(buffer.len() as u64);
            let piece = buffer.get_mut(..n as usize).unwrap_or_default();
            device.read_at(at, piece)?;
            if piece.iter().any(|b| *b != 0) {
                return Ok(true);
            }
            at += n;
            *left = left.saturating_sub(n);
        }
        at = at.max(end);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxkit_device::MemoryDevice;

    fn with(at: u64, bytes: &[u8]) -> Option<String> {
        let device = MemoryDevice::new(4 << 20);
        device.write_at(at, bytes).unwrap();
        content(&device).unwrap()
    }

    #[test]
    fn contents_are_named_or_found() {
        assert_eq!(with(0, b"XFSB").as_deref(), Some("an XFS file system"));
        assert_eq!(with(1080, &[0x53, 0xef]).as_deref(), Some("an ext2 file system"));
        assert_eq!(with(4096, b"NVDIMM_PFN_INFO\0").as_deref(), Some("a pmem namespace with a PFN info block"));
        assert_eq!(with((4 << 20) - 1, b"x").as_deref(), Some("data"));
        assert_eq!(with(2 << 20, b"x").as_deref(), Some("data"));
        assert_eq!(with(0, b""), None);
        assert_eq!(content(&MemoryDevice::new(0)).unwrap(), None);
        assert_eq!(content(&MemoryDevice::new(3)).unwrap(), None);
    }
}
