//! The target for the checker: an image is checked, repaired and checked again, all in memory.

use std::sync::Arc;

use daxkit_check::{Options, check, repair};
use daxkit_device::{BlockDevice, MemoryDevice};

/// When the images are looked at: later than they were made.
const NOW: u64 = 1_800_000_000;

/// Whatever the bytes are, the checker ends; and where a repair says that nothing is left, a second check has nothing to say, and what
/// was clean stays as it is.
pub(crate) fn check_repair(data: &[u8]) {
    let memory = Arc::new(MemoryDevice::from_bytes(data));
    let device = || Arc::clone(&memory) as Arc<dyn BlockDevice>;
    let options = Options::new(NOW);
    let report = check(device(), &options);
    // What the rules of the DAX flag advise is nobody's damage.
    let repaired = repair(device(), &options, &mut |finding| !finding.code.id().starts_with("DAX"));
    if report.is_clean() {
        assert!(repaired.is_clean() && repaired.fixed.is_empty(), "clean, and mended: {:?}", repaired.fixed);
        assert!(repaired.edits().is_unchanged(), "a clean image is written to");
        return;
    }
    repaired.edits().apply_to(&*memory).expect("memory takes bytes");
    if !repaired.is_clean() {
        return;
    }
    let again = check(device(), &options);
    let found: Vec<String> = again.findings.iter().map(ToString::to_string).collect();
    let fixed = || repaired.fixed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(again.is_clean(), "mended:\n{}\nand then:\n{}", fixed(), found.join("\n"));
}
