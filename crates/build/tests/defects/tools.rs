//! The tools that judge images. A test that lacks one fails and names it.

use daxkit_build::defect::{Applied, DefectError, apply};
use daxkit_build::recipe::{At, Checksum, Defect, DefectChange};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Exit status and all output.
pub fn run(tool: &str, args: &[&str]) -> (i32, String) {
    let out = Command::new(tool)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("oracle missing: {tool} (package e2fsprogs): {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap_or(-1), text)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `e2fsck -fn` says.
pub fn e2fsck(image: &Path) -> (i32, String) {
    run("e2fsck", &["-fn", text(image)])
}

/// Panics unless `e2fsck -fn` finds nothing.
pub fn assert_clean(image: &Path) {
    let (status, said) = e2fsck(image);
    assert_eq!(status, 0, "e2fsck -fn {}: {said}", image.display());
}

/// One command of debugfs, for reading.
pub fn debugfs(image: &Path, command: &str) -> String {
    run("debugfs", &["-R", command, text(image)]).1
}

/// As [`debugfs`], for images whose checksums or bitmaps are damaged.
pub fn debugfs_catastrophic(image: &Path, command: &str) -> String {
    run("debugfs", &["-c", "-n", "-R", command, text(image)]).1
}

/// Commands of `debugfs -w`; none of them may complain.
pub fn debugfs_write(image: &Path, commands: &str) {
    let script = image.with_extension("script");
    std::fs::write(&script, commands).unwrap();
    let (status, said) = run("debugfs", &["-w", "-f", text(&script), text(image)]);
    // Beside its version and the commands debugfs says nothing when all is well.
    let quiet = |l: &&str| l.starts_with("debugfs") || l.starts_with("Setting csum v") || l.trim().is_empty();
    let complaints: Vec<_> = said.lines().filter(|l| !quiet(l)).collect();
    assert!(status == 0 && complaints.is_empty(), "debugfs: {said}");
}

/// The image in memory.
pub fn load(image: &Path) -> Arc<dyn BlockDevice> {
    Arc::new(MemoryDevice::from_bytes(&std::fs::read(image).unwrap()))
}

/// All bytes of a device.
pub fn bytes(device: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; device.len() as usize];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A defect without a name.
pub fn defect(place: &str, change: DefectChange, checksum: Checksum) -> Defect {
    let place = place.parse().unwrap_or_else(|e| panic!("{e}"));
    Defect { at: At { line: 3, column: 5 }, name: String::new(), place, change, checksum }
}

/// Applies one defect.
pub fn damage(
    device: &Arc<dyn BlockDevice>,
    place: &str,
    change: DefectChange,
    checksum: Checksum,
) -> Result<Applied, DefectError> {
    apply(device, &[defect(place, change, checksum)]).map(|mut all| all.pop().expect("one"))
}

/// The change to a value.
pub fn set(text: &str) -> DefectChange {
    DefectChange::Set(text.to_owned())
}
