//! The two judges of an image that should be clean: `daxkit-check`, whose verdict is that of `dax-fsck -n`, and `e2fsck -fn`.
//! Other crates' tests include this file as well.
#![allow(dead_code, unreachable_pub)]

use daxkit_check::{Options, Report, Severity, check};
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// What an image must not be, in the words of who finds it.
pub type Complaint = String;

/// What is said of an image by the checker of this workspace, in process.
pub fn checked(image: &Path) -> Result<Report, Complaint> {
    let device = FileDevice::open(image, FileOptions::read_only());
    let device: Arc<dyn BlockDevice> = Arc::new(device.map_err(|e| format!("{}: {e}", image.display()))?);
    // Tests make images with clocks of their own, far in the future too: that is not what they are judged for.
    let now = u64::MAX >> 1;
    Ok(check(device, &Options::new(now)))
}

/// `dax-fsck -n` finds nothing.
pub fn dax_fsck(image: &Path) -> Result<(), Complaint> {
    let report = checked(image)?;
    if report.is_clean() {
        return Ok(());
    }
    let findings = report.findings.iter().filter(|f| f.code.severity() != Severity::Advice);
    let lines: Vec<String> = findings.map(|f| format!("\n  {f}")).take(40).collect();
    Err(format!("dax-fsck -n {}: {} findings{}", image.display(), lines.len(), lines.concat()))
}

/// What `e2fsck -fn` says.
pub fn e2fsck_output(image: &Path) -> Output {
    let mut command = Command::new("e2fsck");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    let out = command.arg("-fn").arg(image).stdin(Stdio::null()).output();
    out.unwrap_or_else(|e| panic!("this test needs e2fsck (package e2fsprogs): {e}"))
}

/// `e2fsck -fn` finds nothing. What it printed: it may still have advice.
pub fn e2fsck(image: &Path) -> Result<String, Complaint> {
    let out = e2fsck_output(image);
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    match out.status.code() {
        Some(0) => Ok(text),
        _ => Err(format!("e2fsck -fn {}: {}\n{text}", image.display(), out.status)),
    }
}

/// Neither judge finds anything. What e2fsck printed.
pub fn both(image: &Path) -> Result<String, Complaint> {
    match (dax_fsck(image), e2fsck(image)) {
        (Ok(()), Ok(text)) => Ok(text),
        (Err(ours), Ok(_)) => Err(format!("{ours}\ne2fsck -fn finds nothing")),
        (Ok(()), Err(theirs)) => Err(format!("{theirs}\ndax-fsck -n finds nothing")),
        (Err(ours), Err(theirs)) => Err(format!("{ours}\n{theirs}")),
    }
}

/// Ends the test unless neither judge finds anything. What e2fsck printed.
#[track_caller]
pub fn assert_clean(image: &Path, what: &str) -> String {
    both(image).unwrap_or_else(|complaint| panic!("{what}: {complaint}"))
}
