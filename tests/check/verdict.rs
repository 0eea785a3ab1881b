//! What the two checkers say of bytes.

use crate::shared::tools;
use daxkit_check::{Finding, Options, Report, Severity, check, repair};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The time of all checks, later than that of all images.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn ours(bytes: &[u8]) -> Report {
    let device: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::from_bytes(bytes));
    check(device, &Options::new(NOW))
}

/// The image as repair leaves it, what was mended and what is left.
pub(crate) fn mended(bytes: &[u8]) -> (Vec<u8>, Vec<Finding>, Vec<Finding>) {
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let repaired = repair(Arc::clone(&device) as Arc<dyn BlockDevice>, &Options::new(NOW), &mut |finding| {
        !finding.code.id().starts_with("DAX")
    });
    repaired.edits().apply_to(&device).expect("memory is writable");
    let left = repaired.left.iter().filter(|f| f.code.severity() != Severity::Advice).cloned().collect();
    (device.to_vec(), repaired.fixed, left)
}

/// Instead of a status: it did not end.
pub(crate) const ENDLESS: i32 = 137;

/// e2fsck's exit status, and what it said.
pub(crate) fn theirs(file: &Path, how: &str) -> (i32, String) {
    let mut command = tools::system("timeout");
    // There are images on which it never ends.
    command.args(["--signal=KILL", "4", "e2fsck"]).env("E2FSCK_TIME", NOW.to_string());
    let out = tools::output(command.arg(how).arg(file));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (out.status.code().unwrap_or(ENDLESS), text)
}

/// Writes bytes to a file, as sparse as they are.
pub(crate) fn write(file: &Path, bytes: &[u8]) {
    let out = File::create(file).expect("a scratch file");
    out.set_len(bytes.len() as u64).expect("as long");
    for (index, chunk) in bytes.chunks(4096).enumerate() {
        if chunk.iter().any(|b| *b != 0) {
            out.write_all_at(chunk, index as u64 * 4096).expect("written");
        }
    }
}
