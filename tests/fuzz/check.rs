//! The target for the checker: an image is checked, repaired, and checked and repaired again, all in memory.

use std::sync::Arc;

use daxkit_check::{Finding, Options, Repaired, Severity, check, repair};
use daxkit_device::{BlockDevice, MemoryDevice};

/// When the images are looked at: later than they were made.
const NOW: u64 = 1_800_000_000;

fn told(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// Whatever the bytes are, the checker ends; and where a repair says that nothing is left, a second one finds nothing to do.
pub(crate) fn check_repair(data: &[u8]) {
    let memory = Arc::new(MemoryDevice::from_bytes(data));
    let device = || Arc::clone(&memory) as Arc<dyn BlockDevice>;
    let options = Options::new(NOW);
    // What the rules of the DAX flag advise is nobody's damage.
    let mended = || -> Repaired { repair(device(), &options, &mut |finding| !finding.code.id().starts_with("DAX")) };
    let is_clean = check(device(), &options).is_clean();
    let repaired = mended();
    let harmless = || repaired.fixed.iter().all(|finding| finding.code.severity() == Severity::Advice);
    assert!(!is_clean || (repaired.is_clean() && harmless()), "clean, and mended:\n{}", told(&repaired.fixed));
    repaired.edits().apply_to(&*memory).expect("memory takes bytes");
    if !repaired.is_clean() {
        return;
    }
    let again = check(device(), &options);
    assert!(again.is_clean(), "mended:\n{}and then:\n{}", told(&repaired.fixed), told(&again.findings));
    let more = mended();
    assert!(
        more.fixed.is_empty() && more.edits().is_unchanged(),
        "mended:\n{}and again:\n{}",
        told(&repaired.fixed),
        told(&more.fixed)
    );
}
