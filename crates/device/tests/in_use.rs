//! Locks between handles and processes, and images that the kernel uses: asked of real loop devices and mounts when root.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daxkit_device::{BlockDevice, FileDevice, FileOptions, InUse, OpenError, in_use};

fn image(len: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    File::create(&path).unwrap().set_len(len).unwrap();
    (dir, path)
}

fn open_for_writing(path: &Path) -> Result<FileDevice, OpenError> {
    FileDevice::open(path, FileOptions::read_write())
}

/// Runs a program and gives its output; a program that is missing or fails makes the test fail by its name.
fn tool(name: &str, args: &[&str]) -> String {
    let output = Command::new(name).args(args).output().unwrap_or_else(|e| panic!("{name} is needed: {e}"));
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts a process that holds a lock until its input has a line; returns when it has it.
fn hold_lock(flock: &Path, args: &[&str], path: &Path) -> (Child, String) {
    let mut holder = Command::new(flock)
        .args(args)
        .arg(path)
        .args(["sh", "-c", "echo held; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock of util-linux is needed");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (holder, line)
}

#[test]
fn two_handles_exclude_each_other() {
    let (_dir, path) = image(4096);
    assert_eq!(in_use(&path), None);
    let writer = open_for_writing(&path).unwrap();
    let me = InUse::Locked { pid: Some(std::process::id()) };
    assert_eq!(in_use(&path), Some(me.clone()));
    match open_for_writing(&path) {
        Err(OpenError::InUse { how, .. }) => assert_eq!(how, me),
        other => panic!("{other:?}"),
    }
    // A reader that does not care may read.
    FileDevice::open(&path, FileOptions::read_only()).unwrap();
    assert!(FileDevice::open(&path, FileOptions::read_only().shared_lock()).is_err());
    drop(writer);
    assert_eq!(in_use(&path), None);
    let reader = FileDevice::open(&path, FileOptions::read_only().shared_lock()).unwrap();
    let _second = FileDevice::open(&path, FileOptions::read_only().shared_lock()).unwrap();
    assert!(open_for_writing(&path).is_err());
    drop(reader);
    assert!(open_for_writing(&path).is_err());
}

#[test]
fn two_processes_exclude_each_other() {
    let (_dir, path) = image(4096);
    let (mut other, held) = hold_lock("flock".as_ref(), &[], &path);
    assert_eq!(held, "held\n");
    match open_for_writing(&path) {
        Err(OpenError::InUse { how, .. }) => assert_eq!(how, InUse::Locked { pid: Some(other.id()) }),
        found => panic!("{found:?}"),
    }
    other.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(other.wait().unwrap().success());

    let writer = open_for_writing(&path).unwrap();
    let try_lock = || Command::new("flock").arg("-n").arg(&path).arg("true").status().unwrap().success();
    assert!(!try_lock());
    drop(writer);
    assert!(try_lock());
}

#[test]
fn a_writer_waits_for_udev_only() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let (dir, path) = image(4096);
    // A process with the name of udev's workers.
    let udev = dir.path().join("(udev-worker)");
    symlink(tool("sh", &["-c", "command -v flock"]), &udev).unwrap();
    let (mut holder, held) = hold_lock(&udev, &["--shared"], &path);
    assert_eq!(held, "held\n");
    let writer = std::thread::scope(|scope| {
        let writer = scope.spawn(|| open_for_writing(&path));
        let inode = format!(":{} ", fs::metadata(&path).unwrap().ino());
        let waits =
            || fs::read_to_string("/proc/locks").unwrap().lines().any(|l| l.contains("->") && l.contains(&inode));
        while !waits() {
            assert!(!writer.is_finished(), "did not wait: {:?}", writer.join());
        }
        holder.stdin.take().unwrap().write_all(b"\n").unwrap();
        writer.join().unwrap()
    });
    writer.unwrap();
    assert!(holder.wait().unwrap().success());
}

#[test]
fn nothing_there_is_not_in_use() {
    assert_eq!(in_use("/no/such/image".as_ref()), None);
    assert_eq!(in_use("/".as_ref()), None);
}

/// Whether loop devices can be asked for. Who is root must have `losetup`.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: loop devices and mounts are not asked");
    }
    root
}

struct Loop(String);

impl Loop {
    fn over(path: &Path) -> Self {
        Self(tool("losetup", &["--find", "--show", path.to_str().unwrap()]))
    }

    fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    fn name(&self) -> String {
        self.0.strip_prefix("/dev/").unwrap().to_owned()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn an_image_behind_a_loop_device_is_in_use() {
    if !root() {
        return;
    }
    let (dir, path) = image(8 << 20);
    let hard_link = dir.path().join("same image");
    fs::hard_link(&path, &hard_link).unwrap();
    let device = Loop::over(&path);
    let behind = InUse::Loop { device: device.name(), mounted_at: None };
    assert_eq!(in_use(&path), Some(behind.clone()));
    match open_for_writing(&path) {
        Err(OpenError::InUse { how, .. }) => assert_eq!(how, behind),
        other => panic!("{other:?}"),
    }
    // The name the loop device knows is gone, the file is not.
    fs::remove_file(&path).unwrap();
    assert_eq!(in_use(&hard_link), Some(behind));
    // Another file of the old name is another file.
    File::create(&path).unwrap();
    assert_eq!(in_use(&path), None);
}

#[test]
fn a_mounted_device_is_in_use() {
    if !root() {
        return;
    }
    let (dir, path) = image(8 << 20);
    tool("mke2fs", &["-q", "-F", "-t", "ext4", path.to_str().unwrap()]);
    let device = Loop::over(&path);
    assert_eq!(in_use(device.path()), None);
    let at = dir.path().join("mount point");
    fs::create_dir(&at).unwrap();
    tool("mount", &[&device.0, at.to_str().unwrap()]);
    let mount = Mount(at.clone());
    assert_eq!(in_use(device.path()), Some(InUse::Mounted { at: at.clone() }));
    assert_eq!(in_use(&path), Some(InUse::Loop { device: device.name(), mounted_at: Some(at) }));
    assert!(matches!(open_for_writing(device.path()), Err(OpenError::InUse { .. })));
    FileDevice::open(device.path(), FileOptions::read_only()).unwrap();
    drop(mount);
    assert_eq!(in_use(device.path()), None);
}

#[test]
fn a_claimed_device_is_in_use() {
    if !root() {
        return;
    }
    let (_dir, path) = image(1 << 20);
    let device = Loop::over(&path);
    let exclusive = rustix::fs::OFlags::EXCL.bits() as i32;
    let claim = OpenOptions::new().read(true).custom_flags(exclusive).open(device.path()).unwrap();
    assert_eq!(in_use(device.path()), Some(InUse::Claimed));
    drop(claim);
    let ours = open_for_writing(device.path()).unwrap();
    assert_eq!(in_use(device.path()), Some(InUse::Claimed));
    drop(ours);
    assert_eq!(in_use(device.path()), None);
}

#[test]
fn a_block_device_is_a_device() {
    if !root() {
        return;
    }
    let (_dir, path) = image(1 << 20);
    fs::write(&path, vec![7; 1 << 20]).unwrap();
    let block = Loop::over(&path);
    let device = FileDevice::open(block.path(), FileOptions::read_write().offset(1000).len(500_000)).unwrap();
    assert!(device.is_block_device() && device.geometry().logical_sector_size >= 512);
    assert_eq!(device.len(), 500_000);
    let mut model = vec![7; 500_000];
    let check = |model: &[u8]| {
        let mut now = vec![0; 500_000];
        device.read_at(0, &mut now).unwrap();
        assert!(now == model);
    };
    device.write_zeroes(5, 300_000).unwrap();
    model[5..300_005].fill(0);
    check(&model);
    assert!(device.known_zero(5, 300_000) && !device.known_zero(0, 6));
    device.write_at(100_000, &[1; 5000]).unwrap();
    model[100_000..105_000].fill(1);
    check(&model);
    assert_eq!(device.next_data(5).unwrap(), Some(100_000..105_000));
    let zero = device.discard(300_005, 100_000).unwrap();
    // Not whole sectors at the ends, so it cannot be zero all over.
    assert!(!zero);
    device.read_at(300_005, &mut model[300_005..400_005]).unwrap();
    assert!(!device.punch_all().unwrap());
    check(&model);
    device.flush().unwrap();
    device.start_writeback(0, 500_000);
    drop(device);
    let mut file = fs::read(&path).unwrap();
    assert!(file.drain(..1000).all(|b| b == 7) && file[500_000..].iter().all(|b| *b == 7));

    let whole = FileDevice::open(block.path(), FileOptions::read_write()).unwrap();
    assert_eq!(whole.len(), 1 << 20);
    assert!(whole.punch_all().unwrap() && whole.known_zero(0, 1 << 20));
    whole.flush().unwrap();
    assert!(fs::read(&path).unwrap().iter().all(|b| *b == 0));
    assert!(FileDevice::open(block.path(), FileOptions::read_only().len((1 << 20) + 1)).is_err());
}
