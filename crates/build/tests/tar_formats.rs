//! Every format that GNU tar, bsdtar and Python write, against the tree on disk.

mod tar_common;

use daxkit_build::source::MemberKind;
use daxkit_format::ext4::inode::Timestamp;
use std::path::Path;
use tar_common::*;

/// Archives a tree by a command and compares; `{out}` is the archive.
fn check(command: &str, scratch: &Path, root: &Path, times: Times) {
    let out = scratch.join("archive");
    let _ = std::fs::remove_file(&out);
    let tree = snapshot(root);
    run_words(&command.replace("{out}", out.to_str().expect("UTF-8")), root);
    compare(command, &read_path(&out), &tree, times);
    // The same as a stream.
    let bytes = std::fs::read(&out).expect("the archive");
    compare(command, &read_bytes(bytes).expect("an archive"), &tree, times);
}

#[test]
fn old_formats_hold_a_plain_tree() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = tree(scratch.path(), &[plain_tree]);
    for command in [
        "tar --format=v7 -cf {out} .",
        "tar --format=v7 --numeric-owner -b 1 -cf {out} .",
        "tar --format=ustar -cf {out} .",
        "tar --format=oldgnu -cf {out} .",
        "tar --format=gnu -cf {out} .",
        "bsdtar --format=v7 -cf {out} .",
        "bsdtar --format=ustar -cf {out} .",
        "bsdtar --format=gnutar -cf {out} .",
    ] {
        check(command, scratch.path(), &root, Times::Seconds);
    }
}

#[test]
fn device_nodes_have_their_numbers() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = tree(scratch.path(), &[plain_tree, add_devices]);
    for (command, times) in [
        ("tar --format=ustar -cf {out} .", Times::Seconds),
        ("tar --format=gnu -cf {out} .", Times::Seconds),
        ("tar --format=posix -cf {out} .", Times::All),
        ("bsdtar --format=ustar -cf {out} .", Times::Seconds),
        ("bsdtar --format=gnutar -cf {out} .", Times::Seconds),
        ("bsdtar --format=pax -cf {out} .", Times::All),
    ] {
        check(command, scratch.path(), &root, times);
    }
}

/// Owners beyond octal, times before 1970 and with fractions, the largest device number.
fn add_extremes(root: &Path) {
    let device = rustix::fs::makedev(4095, 0xf_ffff);
    let kind = rustix::fs::FileType::BlockDevice;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("largest"), kind, 0o600.into(), device).expect("a device");
    for (nr, (uid, seconds, nanos)) in [
        (2_097_152, -1, 0),
        (3_000_000_000, -1_000_000_000, 1),
        (4_294_967_292, 5_000_000_000, 123_456_789),
        (0, -2_147_483_648, 0),
        (1, 15_032_385_535, 999_999_999),
        (2, -1, 999_999_999),
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.join(format!("extreme-{nr}"));
        std::fs::write(&path, "x").expect("a file");
        chown(&path, uid, uid ^ 1);
        set_times(&path, (seconds, nanos), (seconds, nanos));
    }
}

#[test]
fn extensions_hold_long_names_and_large_numbers() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = tree(scratch.path(), &[plain_tree, add_devices, add_long_names]);
    // bsdtar writes nothing before 1970 into this one.
    check("bsdtar --format=gnutar -cf {out} .", scratch.path(), &root, Times::Seconds);
    add_extremes(&root);
    for (command, times) in [
        ("tar --format=gnu -cf {out} .", Times::Seconds),
        ("tar --format=oldgnu -cf {out} .", Times::Seconds),
        ("tar --format=posix -cf {out} .", Times::All),
        ("tar --format=posix --pax-option=delete=atime,delete=ctime -cf {out} .", Times::Nanos),
    ] {
        check(command, scratch.path(), &root, times);
    }
    // Nor fractions of seconds before 1970: it gives them the wrong sign.
    for name in ["extreme-1", "extreme-5"] {
        std::fs::remove_file(root.join(name)).expect("it is there");
    }
    for command in ["bsdtar --format=pax -cf {out} .", "bsdtar --format=pax --options=hdrcharset=BINARY -cf {out} ."] {
        check(command, scratch.path(), &root, Times::All);
    }
}

#[test]
fn incremental_archives_have_times_and_lists() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = tree(scratch.path(), &[plain_tree]);
    check("tar --format=posix --incremental -cf {out} .", scratch.path(), &root, Times::All);
    let tree = snapshot(&root);
    let out = scratch.path().join("archive");
    run_words(&format!("tar --format=gnu --incremental -cf {} .", out.display()), &root);
    let contents = read_path(&out);
    assert_eq!(contents.notices, []);
    for member in contents.members.iter().filter(|member| !clean(&member.path).is_empty()) {
        let disk = &tree[clean(&member.path)];
        let whole = |t: Timestamp| t.seconds;
        assert_eq!(whole(member.attributes.atime), whole(disk.attributes.atime), "{}", member.path.escape_ascii());
        assert_eq!(whole(member.attributes.ctime), whole(disk.attributes.ctime), "{}", member.path.escape_ascii());
    }
    assert_eq!(contents.members.iter().filter(|m| m.kind == MemberKind::Dir).count(), 4, "with the root");
    assert!(contents.bytes(contents.data("dir/file-700001")) == noise(700_001, 700_001));
}

#[test]
fn labels_and_global_headers_are_no_members() {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = tree(scratch.path(), &[plain_tree]);
    for command in [
        "tar --format=gnu --label=volume -cf {out} .",
        "tar --format=posix --label=volume --pax-option=globexthdr.comment=hello,delete=atime,delete=ctime -cf {out} .",
    ] {
        check(command, scratch.path(), &root, if command.contains("gnu") { Times::Seconds } else { Times::Nanos });
    }
    // What a global header says holds until a member says otherwise.
    let out = scratch.path().join("archive");
    run_words(
        &format!(
            "tar --format=posix --pax-option=mtime=1,uid=7,uid:=8,delete=atime,delete=ctime -cf {} dir/sub empty",
            out.display()
        ),
        &root,
    );
    let contents = read_path(&out);
    assert_eq!(contents.get("empty").attributes.uid, 8);
    assert_eq!(contents.get("empty").attributes.gid, 0);
    python(
        "import tarfile
t = tarfile.open('global.tar', 'w', format=tarfile.PAX_FORMAT, pax_headers={'mtime': '12.5', 'gid': '4294967294'})
for n in 'ab':
    i = tarfile.TarInfo(n); i.mtime = 9
    if n == 'b': i.pax_headers = {'mtime': '-2.25'}
    t.addfile(i)
t.close()",
        scratch.path(),
    );
    let contents = read_path(&scratch.path().join("global.tar"));
    let (a, b) = (&contents.get("a").attributes, &contents.get("b").attributes);
    assert_eq!(a.mtime, Timestamp { seconds: 12, nanos: 500_000_000 });
    assert_eq!(b.mtime, Timestamp { seconds: -3, nanos: 750_000_000 });
    assert_eq!((a.gid, b.gid), (4_294_967_294, 4_294_967_294));
}

#[test]
fn python_writes_what_was_meant() {
    let scratch = tempfile::tempdir().expect("a directory");
    for format in ["PAX", "GNU", "USTAR"] {
        python(
            &format!(
                "import tarfile, io
wide = '{format}' != 'USTAR'
t = tarfile.open('p.tar', 'w', format=tarfile.{format}_FORMAT)
def add(name, data=b'', **fields):
    i = tarfile.TarInfo(name); i.size = len(data)
    for k, v in fields.items(): setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
add('file', b'x' * 1000, mode=0o6750, uid=1000, gid=2097151, mtime=8589934591)
add('dir', type=tarfile.DIRTYPE, mode=0o700)
add('link', type=tarfile.SYMTYPE, linkname='l' * 100)
add('hard', type=tarfile.LNKTYPE, linkname='file')
add('char', type=tarfile.CHRTYPE, devmajor=1, devminor=2097151)
add('block', type=tarfile.BLKTYPE, devmajor=7, devminor=0)
add('fifo', type=tarfile.FIFOTYPE)
add('cont', b'12345', type=tarfile.CONTTYPE)
add('p' * 100 + '/' + 'n' * 100, b'prefixed')
if wide:
    add('n' * 300, b'long')
    add('past', mtime=-1000000000)
    add('big', uid=3000000000, gid=4294967295)
if '{format}' == 'PAX':
    add('fraction', mtime=-1.5); add('later', mtime=1700000000.25)
    add('b\\udcff', b'byte')
t.close()"
            ),
            scratch.path(),
        );
        let contents = read_path(&scratch.path().join("p.tar"));
        let file = contents.get("file");
        assert_eq!(contents.bytes(contents.data("file")), [b'x'; 1000], "{format}");
        assert_eq!((file.attributes.mode, file.attributes.uid, file.attributes.gid), (0o6750, 1000, 2_097_151));
        assert_eq!(file.attributes.mtime, Timestamp { seconds: 8_589_934_591, nanos: 0 });
        let kind = |name| &contents.get(name).kind;
        assert_eq!(*kind("dir"), MemberKind::Dir);
        assert_eq!(contents.get("dir").path, b"dir/");
        assert_eq!(*kind("link"), MemberKind::Symlink(vec![b'l'; 100]));
        assert_eq!(*kind("hard"), MemberKind::HardLink(b"file".to_vec(), None));
        assert_eq!(*kind("char"), MemberKind::Char(1, 2_097_151));
        assert_eq!(*kind("block"), MemberKind::Block(7, 0));
        assert_eq!(*kind("fifo"), MemberKind::Fifo);
        assert_eq!(contents.bytes(contents.data("cont")), b"12345");
        let prefixed = format!("{}/{}", "p".repeat(100), "n".repeat(100));
        assert_eq!(contents.bytes(contents.data(&prefixed)), b"prefixed");
        let time = |name| contents.get(name).attributes.mtime;
        if format != "USTAR" {
            assert_eq!(contents.bytes(contents.data(&"n".repeat(300))), b"long");
            assert_eq!(time("past"), Timestamp { seconds: -1_000_000_000, nanos: 0 });
            let big = &contents.get("big").attributes;
            assert_eq!((big.uid, big.gid), (3_000_000_000, u32::MAX));
        }
        if format == "PAX" {
            assert_eq!(time("fraction"), Timestamp { seconds: -2, nanos: 500_000_000 });
            assert_eq!(time("later"), Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 });
            let last = contents.members.last().expect("a member");
            assert_eq!(last.path, b"b\xff");
        }
        assert_eq!(contents.notices, [], "{format}");
    }
}

#[test]
fn sizes_beyond_octal_are_read() {
    let scratch = tempfile::tempdir().expect("a directory");
    // The archive itself is sparse: nine gigabytes of nothing between two headers.
    for format in ["PAX", "GNU"] {
        python(
            &format!(
                "import tarfile
i = tarfile.TarInfo('big'); i.size = 9 << 30
j = tarfile.TarInfo('after'); j.size = 0; j.uid = 5
f = open('big.tar', 'wb')
f.write(i.tobuf(tarfile.{format}_FORMAT)); f.seek(i.size, 1)
f.write(j.tobuf(tarfile.{format}_FORMAT)); f.write(bytes(1024)); f.close()"
            ),
            scratch.path(),
        );
        let contents = read_path(&scratch.path().join("big.tar"));
        let data = contents.data("big");
        assert_eq!((data.size, &data.ranges), (9 << 30, &None), "{format}");
        assert_eq!(data.at, if format == "PAX" { 1536 } else { 512 });
        assert_eq!(contents.get("after").attributes.uid, 5);
        assert_eq!(contents.content.archive(), Some(&*scratch.path().join("big.tar")));
    }
}

#[test]
fn links_of_pax_and_cpio_writers_may_have_data() {
    let scratch = tempfile::tempdir().expect("a directory");
    // POSIX pax(1) as bsdtar reads it: data behind a link counts in a PAX archive, and where no header follows.
    python(
        "import tarfile
def link(format, size, name='hard', pax={}):
    i = tarfile.TarInfo(name); i.type = tarfile.LNKTYPE; i.linkname = 'file'; i.size = size
    if pax: i.pax_headers = pax
    return i.tobuf(format)
body = b'data'.ljust(512, b'\\0')
end = bytes(1024)
after = tarfile.TarInfo('after').tobuf(tarfile.USTAR_FORMAT)
open('pax', 'wb').write(link(tarfile.PAX_FORMAT, 4, pax={'mtime': '1.5'}) + body + after + end)
open('ustar-with', 'wb').write(link(tarfile.USTAR_FORMAT, 4) + body + after + end)
open('ustar-without', 'wb').write(link(tarfile.USTAR_FORMAT, 4) + after + end)
open('ustar-last', 'wb').write(after + link(tarfile.USTAR_FORMAT, 4) + end)
open('gnu', 'wb').write(link(tarfile.GNU_FORMAT, 4) + after + end)",
        scratch.path(),
    );
    for (name, has_data) in
        [("pax", true), ("ustar-with", true), ("ustar-without", false), ("ustar-last", false), ("gnu", false)]
    {
        let contents = read_path(&scratch.path().join(name));
        let MemberKind::HardLink(target, data) = &contents.get("hard").kind else { panic!("{name}") };
        assert_eq!(target, b"file");
        assert_eq!(data.as_ref().map(|data| contents.bytes(data)), has_data.then(|| b"data".to_vec()), "{name}");
        contents.get("after");
        let listed = run("bsdtar", &["-tf".as_ref(), name.as_ref()], scratch.path());
        assert_eq!(listed.split(|b| *b == b'\n').count(), 3, "bsdtar sees two members in {name}");
    }
}
