//! Compressed archives and streams: gzip and zstd by their first bytes, members and frames one behind the other, cuts,
//! garbage, and what is not read here.

mod tar_common;

use daxkit_build::source::{Archive, Notice, TarError, TarInput};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tar_common::*;

fn archive(scratch: &Path) -> Vec<u8> {
    let root = tree(scratch, &[plain_tree, add_devices, add_long_names]);
    run_words("tar --format=posix -cf ../archive.tar .", &root);
    fs::read(scratch.join("archive.tar")).expect("the archive")
}

/// What a program makes of bytes.
fn filter(command: &str, bytes: &[u8], dir: &Path) -> Vec<u8> {
    fs::write(dir.join("filter-in"), bytes).expect("written");
    run_words(&format!("{command} filter-in"), dir)
}

/// The same members and the same content.
fn assert_same(what: &str, left: &Contents, right: &Contents) {
    assert_eq!(left.members.len(), right.members.len(), "{what}");
    for (a, b) in left.members.iter().zip(&right.members) {
        assert_eq!((&a.path, &a.attributes, &a.xattrs), (&b.path, &b.attributes, &b.xattrs), "{what}");
        match (&a.kind, &b.kind) {
            (daxkit_build::source::MemberKind::File(c), daxkit_build::source::MemberKind::File(d)) => {
                assert_eq!(c.size, d.size, "{what}");
                assert!(left.bytes(c) == right.bytes(d), "{what}: {}", a.path.escape_ascii());
            }
            (c, d) => assert_eq!(c, d, "{what}"),
        }
    }
}

#[test]
fn compressed_archives_are_the_same() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    let plain = archive(dir);
    let expected = read_path(&dir.join("archive.tar"));
    assert_eq!(expected.content.archive(), Some(&*dir.join("archive.tar")), "it is read in place");
    // Cut inside a header, inside content and inside padding.
    let (first, rest) = plain.split_at(100_001);
    let (second, third) = rest.split_at(plain.len() / 2);
    let parts = |command: &str| [first, second, &[], third].map(|part| filter(command, part, dir)).concat();
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat();
    let zeroes = |bytes: Vec<u8>| [bytes, vec![0; 10_000]].concat();
    for (what, bytes) in [
        ("plain", plain.clone()),
        ("gzip", filter("gzip -c", &plain, dir)),
        ("gzip -1", filter("gzip -1 -c", &plain, dir)),
        ("members", parts("gzip -c")),
        ("padded", zeroes(filter("gzip -c", &plain, dir))),
        ("zstd", filter("zstd -q -c", &plain, dir)),
        ("zstd -19 --long", filter("zstd -q -19 --long=27 -c", &plain, dir)),
        ("zstd without checksum", filter("zstd -q --no-check -c", &plain, dir)),
        ("frames", parts("zstd -q -c")),
        ("skippable", [&skippable, &parts("zstd -q -c")[..], &skippable].concat()),
    ] {
        let path = dir.join("compressed");
        fs::write(&path, &bytes).expect("written");
        let by_path = read_path(&path);
        assert_same(what, &by_path, &expected);
        assert_same(what, &read_bytes(bytes).expect(what), &expected);
        assert_eq!(by_path.content.archive().is_some(), what == "plain");
        by_path.content.check().expect("nobody changed it");
    }
    let spool_dir = dir.join("spool");
    fs::create_dir(&spool_dir).expect("a directory");
    let options = daxkit_build::source::TarOptions { spool_dir: spool_dir.clone(), ..options() };
    let contents = read_all(TarInput::Path(&dir.join("compressed")), options).expect("an archive");
    assert_same("spool", &contents, &expected);
    assert_eq!(fs::read_dir(&spool_dir).expect("a directory").count(), 0, "what was put aside has no name");
}

#[test]
fn damaged_streams_are_errors() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    let plain = archive(dir);
    let error = |bytes: Vec<u8>| match read_bytes(bytes) {
        Ok(_) => panic!("it is damaged"),
        Err(error) => error,
    };
    for (format, command) in [("gzip", "gzip -c"), ("zstd", "zstd -q -c")] {
        let whole = filter(command, &plain, dir);
        for cut in [whole.len() - 1, whole.len() - 6, whole.len() / 2, 40] {
            let error = error(whole[..cut].to_vec());
            assert!(matches!(&error, TarError::Decompress { format: f, .. } if *f == format), "{cut}: {error}");
        }
        let mut flipped = whole.clone();
        let at = flipped.len() - 3;
        flipped[at] ^= 1;
        assert!(matches!(error(flipped), TarError::Decompress { .. }), "a checksum that does not fit");
        let error = error([&whole[..], b"garbage"].concat());
        assert!(matches!(&error, TarError::Decompress { .. }), "{error}");
    }
    // A frame that wants a window of 256 MiB, twice what zstd(1) takes without being asked.
    let error = error(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0]);
    assert!(matches!(&error, TarError::Decompress { format: "zstd", .. }), "{error}");
    assert!(error.to_string().contains("too much memory"), "{error}");
    for (command, format) in [("gzip -c", "gzip"), ("zstd -q -c", "zstd")] {
        let of_nothing = read_bytes(filter(command, b"", dir)).expect_err("nothing is in it");
        assert!(matches!(of_nothing, TarError::Empty), "{format}: {of_nothing}");
        let of_text = read_bytes(filter(command, b"just a text", dir)).expect_err("no archive is in it");
        assert!(matches!(of_text, TarError::NotTar), "{format}: {of_text}");
    }
}

#[test]
fn other_compressions_are_named() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    let plain = archive(dir);
    for (command, text) in [
        ("xz -c", "compressed with xz, which is not read directly; use xz -dc FILE | ... -d -"),
        ("bzip2 -c", "compressed with bzip2, which is not read directly; use bzip2 -dc FILE | ... -d -"),
        (
            "xz --format=lzma -c",
            "compressed with lzma, which is not read directly; use xz --format=lzma -dc FILE | ... -d -",
        ),
    ] {
        let error = read_bytes(filter(command, &plain, dir)).expect_err("not read");
        assert_eq!(error.to_string(), text);
    }
}

/// A reader that gives a little at a time and knows whether it was read to its end.
struct Slow<'a> {
    bytes: std::io::Cursor<Vec<u8>>,
    ended: &'a AtomicBool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(777);
        let read = self.bytes.read(&mut buffer[..len])?;
        self.ended.fetch_or(read == 0, Ordering::SeqCst);
        Ok(read)
    }
}

#[test]
fn a_pipe_is_read_to_its_end() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    let scratch = tempfile::tempdir().expect("a directory");
    let mut bytes = archive(scratch.path());
    let expected = read_bytes(bytes.clone()).expect("an archive");
    // Whatever follows the end is not looked at.
    bytes.extend(noise(3_000_000, 9));
    let slow = Slow { bytes: std::io::Cursor::new(bytes), ended: &ENDED };
    let contents = read_all(TarInput::Stream(Box::new(slow)), options()).expect("an archive");
    assert_same("slow", &contents, &expected);
    assert!(ENDED.load(Ordering::SeqCst));
    // A fifo is a stream that has a path.
    run_words("mkfifo fifo", scratch.path());
    let path = scratch.path().join("fifo");
    let writer = {
        let (path, bytes) = (path.clone(), fs::read(scratch.path().join("archive.tar")).expect("the archive"));
        std::thread::spawn(move || fs::OpenOptions::new().write(true).open(path).expect("a fifo").write_all(&bytes))
    };
    assert_same("fifo", &read_path(&path), &expected);
    writer.join().expect("the writer ends").expect("it was read");
}

#[test]
fn waiting_can_be_cancelled() {
    let scratch = tempfile::tempdir().expect("a directory");
    let bytes = archive(scratch.path());
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // A block, so that it is known to be an archive, and then nothing for as long as this test holds the pipe.
    writer.write_all(&bytes[..512]).expect("written");
    let mut archive = Archive::open(TarInput::Stream(Box::new(reader)), options()).expect("an archive");
    let asked = std::cell::Cell::new(0);
    let start = std::time::Instant::now();
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let error = archive.next_member(&cancelled).expect_err("cancelled");
    assert!(matches!(error, TarError::Cancelled), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "it waits for nothing");
    assert!(matches!(archive.next_member(&never), Err(TarError::Unfinished)));
    assert!(matches!(archive.finish(), Err(TarError::Unfinished)));
}

#[test]
fn what_never_ends_can_be_cancelled() {
    // Zeroes: the end of an archive, and what follows it.
    let mut archive = Archive::open(TarInput::Stream(Box::new(std::io::repeat(0))), options()).expect("an archive");
    let asked = std::cell::Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 100
    };
    assert!(matches!(archive.next_member(&cancelled), Err(TarError::Cancelled)));
    // A file of eight gigabytes of them.
    let mut header = vec![0; 512];
    header[124..135].copy_from_slice(b"77777777777");
    header[156] = b'0';
    let sum = header.iter().map(|b: &u8| u32::from(*b)).sum::<u32>() + 8 * 32;
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header[155] = b' ';
    let endless = std::io::Cursor::new(header).chain(std::io::repeat(0));
    let mut archive = Archive::open(TarInput::Stream(Box::new(endless)), options()).expect("an archive");
    asked.set(0);
    assert!(matches!(archive.next_member(&cancelled), Err(TarError::Cancelled)));
}

#[test]
fn an_archive_that_changes_is_noticed() {
    let scratch = tempfile::tempdir().expect("a directory");
    archive(scratch.path());
    let path = scratch.path().join("archive.tar");
    let touch = || fs::OpenOptions::new().append(true).open(&path).expect("it opens").write_all(b"x").expect("written");
    let contents = read_path(&path);
    touch();
    let error = contents.content.check().expect_err("it changed");
    assert_eq!(error.to_string(), format!("{path:?} changed while the image was made"));
    let mut archive = Archive::open(TarInput::Path(&path), options()).expect("an archive");
    archive.next_member(&never).expect("a member");
    assert!(matches!(archive.next_member(&|| true), Err(TarError::Cancelled)));
    let mut archive = Archive::open(TarInput::Path(&path), options()).expect("an archive");
    while archive.next_member(&never).expect("a member").is_some() {}
    touch();
    assert!(matches!(archive.finish(), Err(TarError::Changed { path: p }) if p == path));
}

#[test]
fn what_cannot_be_opened_is_named() {
    let scratch = tempfile::tempdir().expect("a directory");
    let open = |path: &Path| Archive::open(TarInput::Path(path), options()).err().expect("an error").to_string();
    assert_eq!(open(scratch.path()), format!("{:?} is a directory, not an archive", scratch.path()));
    let missing = open(&scratch.path().join("a\nb"));
    assert!(missing.starts_with("cannot open \"") && missing.contains("a\\nb"), "{missing}");
    let empty = scratch.path().join("empty");
    fs::write(&empty, "").expect("written");
    assert_eq!(open(&empty), "the archive is empty, without even the zeroes that end one");
    fs::write(&empty, "#!/bin/sh\n").expect("written");
    assert_eq!(open(&empty), "not a tar archive: what it begins with is not a header, and not gzip or zstd");
    let options = daxkit_build::source::TarOptions { spool_dir: scratch.path().join("none"), ..options() };
    let stream = TarInput::Stream(Box::new(std::io::Cursor::new(vec![0; 1024])));
    let Err(error) = Archive::open(stream, options) else { panic!("there is no such directory") };
    assert!(matches!(error, TarError::Spool { what: "create", .. }), "{error}");
}

#[test]
fn ends_are_as_tar_has_them() {
    let scratch = tempfile::tempdir().expect("a directory");
    python(
        "import tarfile
a = tarfile.TarInfo('a').tobuf(tarfile.USTAR_FORMAT)
z = bytes(512)
for name, data in [('none', z * 2), ('two', a + z * 2), ('one', a + z), ('nothing', a), ('behind', a + z * 2 + a + b'x'),
                   ('lone', a + z + a), ('part', a + z + z[:100]), ('short', a + z[:100])]:
    open(name, 'wb').write(data)",
        scratch.path(),
    );
    let read = |name: &str| read_all(TarInput::Path(&scratch.path().join(name)), options());
    for (name, members, notices) in [
        ("none", 0, &[][..]),
        ("two", 1, &[]),
        ("one", 1, &[]),
        ("part", 1, &[]),
        ("behind", 1, &[]),
        ("nothing", 1, &[Notice::NoEnd { at: 512 }]),
        ("short", 1, &[Notice::NoEnd { at: 512 }]),
    ] {
        let contents = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((contents.members.len(), &contents.notices[..]), (members, notices), "{name}");
        let bytes = fs::read(scratch.path().join(name)).expect("the archive");
        assert_eq!(read_bytes(bytes).expect(name).notices, notices, "{name} as a stream");
        if name != "short" {
            // GNU tar wants whole blocks.
            let listed = run("tar", &["-tf".as_ref(), name.as_ref()], scratch.path());
            assert_eq!(listed.split(|b| *b == b'\n').count(), members + 1, "GNU tar on {name}");
        }
    }
    assert!(matches!(read("lone"), Err(TarError::LoneZeroBlock { at: 512 })));
}
