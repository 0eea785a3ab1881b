//! Running programs: the oracles and the tools under test. One that is missing fails the test and is named.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A failure, told in words; a test collects those of many images before it fails.
pub(crate) type Failure = String;

/// Which Debian package has a program.
const PACKAGES: &[(&str, &str)] = &[
    ("e2fsck", "e2fsprogs"),
    ("timeout", "coreutils"),
    ("dumpe2fs", "e2fsprogs"),
    ("lsattr", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("losetup", "mount"),
    ("setfacl", "acl"),
    ("setpriv", "util-linux"),
    ("blkid", "util-linux"),
    ("cp", "coreutils"),
];

/// A command for a program of the system, the same in every environment.
pub(crate) fn system(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("LC_ALL", "C").env("TZ", "UTC").env("DEBUGFS_PAGER", "cat").stdin(Stdio::null());
    command
}

/// Runs a command to its end. A program that is not there ends the test.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| {
        let program = command.get_program().to_string_lossy().into_owned();
        let package =
            PACKAGES.iter().find(|(p, _)| *p == program).map_or(String::new(), |(_, k)| format!(" (package {k})"));
        panic!("this test needs {program}{package}: {e}")
    })
}

/// What a command printed and how it ended, for a message.
pub(crate) fn told(command: &Command, output: &Output) -> String {
    let args: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let mut text = format!("{}\n  {}", args.join(" "), output.status);
    for part in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(part).lines().take(40) {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    text
}

/// Runs a command that must succeed; its standard output.
pub(crate) fn succeed(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let out = output(command);
    if out.status.success() { Ok(out.stdout) } else { Err(told(command, &out)) }
}

/// The place of one of daxkit's own tools: `DAXKIT_BIN_DIR`, or beside the test.
pub(crate) fn dax(name: &str) -> PathBuf {
    let place = match std::env::var_os("DAXKIT_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let test = std::env::current_exe().expect("a test knows where it is");
            // target/PROFILE/deps/images-HASH
            test.parent().and_then(|deps| deps.parent()).expect("tests lie below the profile's directory").to_owned()
        }
    };
    let tool = place.join(name);
    assert!(
        tool.is_file(),
        "this test needs {name}, which is not in {}: build it (cargo build -p {name}) or name its place in DAXKIT_BIN_DIR",
        place.display()
    );
    tool
}

/// A command for `dax-mkfs`: nothing of the caller's environment changes what it makes.
pub(crate) fn dax_mkfs() -> Command {
    let mut command = Command::new(dax("dax-mkfs"));
    command.env_remove("SOURCE_DATE_EPOCH").env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Says something even when the test passes.
pub(crate) fn note(text: impl AsRef<str>) {
    use std::io::Write;
    // Not a macro: those are captured.
    let _ = writeln!(std::io::stderr(), "note: {}", text.as_ref());
}
