//! Sparse files in every form that GNU tar and bsdtar write, against the file on disk.

mod tar_common;

use daxkit_build::source::{MemberKind, SparseError, TarError, TarInput};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tar_common::*;

/// Where the host says there is data.
fn data_ranges(file: &File) -> Vec<Range<u64>> {
    let size = file.metadata().expect("metadata").len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start)).expect("there is a hole at the end");
        ranges.push(start..at.min(size));
    }
    ranges
}

/// A file of `size` bytes with noise in some ranges.
fn sparse_file(path: &Path, size: u64, pieces: &[(u64, usize)]) {
    let file = File::create(path).expect("a file");
    file.set_len(size).expect("a size");
    for (at, len) in pieces {
        file.write_all_at(&noise(*len, at + 1), *at).expect("written");
    }
    file.sync_all().expect("blocks have places");
}

/// Compares a member with the file it was made of, range by range.
fn compare_sparse(what: &str, contents: &Contents, name: &str, path: &Path) {
    let file = File::open(path).expect("the file");
    let data = contents.data(name);
    assert_eq!(data.size, file.metadata().expect("metadata").len(), "{what}");
    let ranges: Vec<_> = data.ranges.as_deref().expect("it is sparse").to_vec();
    let on_disk = data_ranges(&file);
    let holds = |outer: &[Range<u64>], inner: &Range<u64>| {
        outer.iter().any(|range| range.start <= inner.start && inner.end <= range.end)
    };
    for range in &ranges {
        assert!(holds(&on_disk, range), "{what}: {range:?} is a hole on disk: {on_disk:?}");
    }
    // What is data on disk and not in the archive is zeroes that tar did not store.
    for pair in ranges.windows(2) {
        assert!(pair[0].end < pair[1].start, "{what}: sorted and apart");
    }
    let mut at = data.at;
    let mut last = 0;
    for range in ranges.iter().cloned().chain([data.size..data.size]) {
        for hole in &on_disk {
            let (from, to) = (hole.start.max(last), hole.end.min(range.start));
            if from < to {
                let mut bytes = vec![1; (to - from) as usize];
                file.read_exact_at(&mut bytes, from).expect("read");
                assert!(bytes.iter().all(|b| *b == 0), "{what}: {from}..{to} is lost");
            }
        }
        let len = (range.end - range.start) as usize;
        let (mut found, mut expected) = (vec![0; len], vec![0; len]);
        contents.content.file.read_exact_at(&mut found, at).expect("content");
        file.read_exact_at(&mut expected, range.start).expect("read");
        assert!(found == expected, "{what}: {range:?}");
        at += len as u64;
        last = range.end;
    }
}

const FORMS: [&str; 6] = [
    "tar -S --format=oldgnu -cf {out} .",
    "tar -S --format=gnu -cf {out} .",
    "tar -S --format=posix --sparse-version=0.0 -cf {out} .",
    "tar -S --format=posix --sparse-version=0.1 -cf {out} .",
    "tar -S --format=posix --sparse-version=1.0 -cf {out} .",
    "bsdtar --format=pax --read-sparse -cf {out} .",
];

fn archive(command: &str, out: &Path, root: &Path) {
    let _ = std::fs::remove_file(out);
    run_words(&command.replace("{out}", out.to_str().expect("UTF-8")), root);
}

#[test]
fn every_form_gives_the_same_ranges() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = tree(scratch.path(), &[]);
    // Old headers hold 4 ranges, their extensions 21 each: below, at and above each of those.
    for (name, pieces) in [("three", 3), ("four", 4), ("five", 5), ("many", 26), ("more", 300)] {
        let places: Vec<_> = (0..pieces).map(|nr| (8192 + nr * 65_536, 4096)).collect();
        sparse_file(&root.join(name), 8192 + pieces * 65_536 + 100, &places);
    }
    sparse_file(&root.join("hole"), 1 << 20, &[]);
    sparse_file(&root.join("starts"), 1_000_001, &[(0, 4096)]);
    sparse_file(&root.join("ends"), 1_000_001, &[(990_000, 10_001)]);
    let long = "l".repeat(200);
    sparse_file(&root.join(&long), 500_000, &[(65_536, 70_000)]);
    std::fs::write(root.join("whole"), noise(5000, 3)).expect("a file");
    let out = scratch.path().join("archive");
    for command in FORMS {
        archive(command, &out, &root);
        let bytes = std::fs::read(&out).expect("the archive");
        for contents in [read_path(&out), read_bytes(bytes).expect("an archive")] {
            assert_eq!(contents.notices, [], "{command}");
            for name in ["three", "four", "five", "many", "more", "hole", "starts", "ends", &long] {
                compare_sparse(&format!("{command}: {name}"), &contents, name, &root.join(name));
            }
            let whole = contents.data("whole");
            assert_eq!(whole.ranges, None);
            assert!(contents.bytes(whole) == noise(5000, 3));
            assert_eq!(contents.data("hole").ranges.as_deref(), Some(&[][..]), "{command}");
            assert_eq!(contents.data("many").ranges.as_ref().map(|r| r.len()), Some(26), "{command}");
            assert_eq!(contents.members.len(), 11, "{command}");
        }
    }
}

#[test]
fn sparse_files_beyond_eight_gigabytes() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = tree(scratch.path(), &[]);
    let path = root.join("big");
    sparse_file(&path, (9 << 30) + 7, &[(4096, 4096), ((8 << 30) + 65_536, 1 << 20), ((9 << 30) - 4096, 4103)]);
    let out = scratch.path().join("archive");
    for command in FORMS {
        archive(command, &out, &root);
        let contents = read_path(&out);
        compare_sparse(command, &contents, "big", &path);
        assert_eq!(contents.data("big").ranges.as_ref().map(|r| r.len()), Some(3), "{command}");
        assert!(std::fs::metadata(&out).expect("metadata").len() < 2 << 20, "{command}");
    }
}

/// An archive of one member whose extended header has these records, with `body` behind the header.
fn pax_sparse(records: &[(&str, &str)], body: &[u8], dir: &Path) -> Vec<u8> {
    std::fs::write(dir.join("body"), body).expect("written");
    let records: String = records.iter().map(|(key, value)| format!("({key:?}, {value:?}), ")).collect();
    python(
        &format!(
            "import tarfile
body = open('body', 'rb').read()
i = tarfile.TarInfo('m'); i.size = len(body)
r = ''
for k, v in [{records}]:
    rest = len(k) + len(v) + 3; n = rest
    while n != rest + len(str(n)): n = rest + len(str(n))
    r += '%d %s=%s\\n' % (n, k, v)
r = r.encode()
x = tarfile.TarInfo('x'); x.type = b'x'; x.size = len(r)
pad = lambda b: b + bytes(-len(b) % 512)
u = tarfile.USTAR_FORMAT
open('a.tar', 'wb').write(x.tobuf(u) + pad(r) + i.tobuf(u) + pad(body) + bytes(1024))"
        ),
        dir,
    );
    std::fs::read(dir.join("a.tar")).expect("the archive")
}

#[test]
fn maps_that_cannot_be_are_typed_errors() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    let v00 = |pairs: &[(&'static str, &'static str)]| [&[("GNU.sparse.size", "100")][..], pairs].concat();
    let v01 = |map: &'static str| vec![("GNU.sparse.size", "100"), ("GNU.sparse.map", map)];
    let v10 = vec![("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100")];
    let blocks = |text: &str| {
        let mut block = text.as_bytes().to_vec();
        block.resize(block.len().next_multiple_of(512), 0);
        block
    };
    let (offset, numbytes) = ("GNU.sparse.offset", "GNU.sparse.numbytes");
    let huge = "18446744073709551615";
    for (records, body, expected) in [
        (v00(&[(offset, "1"), (offset, "2")]), vec![], SparseError::Half { index: 0 }),
        (v00(&[(numbytes, "1")]), vec![], SparseError::Half { index: 0 }),
        (v00(&[(offset, "1"), (numbytes, "1"), (offset, "9")]), vec![0], SparseError::Half { index: 1 }),
        (v00(&[(offset, "x")]), vec![], SparseError::Number { index: 0 }),
        (
            v00(&[(offset, "5"), (numbytes, "5"), (offset, "4"), (numbytes, "1")]),
            vec![0; 6],
            SparseError::Order { index: 1 },
        ),
        (vec![(offset, "1"), (numbytes, "1")], vec![0], SparseError::NoSize),
        (v01("0,10,5,10"), vec![0; 20], SparseError::Order { index: 1 }),
        (v01("0,10,20,81"), vec![0; 91], SparseError::PastEnd { index: 1, size: 100 }),
        (v01("0,10,20,10"), vec![0; 19], SparseError::Data { mapped: 20, stored: 19 }),
        (v01("0"), vec![], SparseError::Half { index: 0 }),
        (v01("0,-1"), vec![], SparseError::Number { index: 0 }),
        (
            vec![("GNU.sparse.size", huge), ("GNU.sparse.map", "18446744073709551615,18446744073709551615")],
            vec![],
            SparseError::PastEnd { index: 0, size: u64::MAX },
        ),
        (v10.clone(), blocks("2\n0\n1\n"), SparseError::Number { index: 1 }),
        (v10.clone(), blocks("99999999999999999999\n"), SparseError::Number { index: 0 }),
        (v10.clone(), [format!("{huge}\n").into_bytes(), b"0\n".repeat(246)].concat(), SparseError::TooLong),
        (v10.clone(), blocks("1\n0\n1\n"), SparseError::Data { mapped: 1, stored: 0 }),
        (v10.clone(), vec![], SparseError::TooLong),
        (v10.clone(), blocks(&format!("1\n{}", "1".repeat(600))), SparseError::Number { index: 0 }),
        (v10[..2].to_vec(), blocks("0\n"), SparseError::NoSize),
        (
            vec![("GNU.sparse.major", "2"), ("GNU.sparse.size", "1")],
            vec![],
            SparseError::Version { major: 2, minor: 0 },
        ),
        (vec![("GNU.sparse.major", "0"), ("GNU.sparse.size", "1")], vec![], SparseError::NoMap),
    ] {
        let archive = pax_sparse(&records, &body, dir);
        let error = read_bytes(archive).expect_err("the map is wrong");
        let TarError::Sparse { source, .. } = &error else { panic!("{records:?}: {error}") };
        assert_eq!(*source, expected, "{records:?}");
        assert!(!error.to_string().contains('\n'));
    }
    // A count is only a count: what is there is what takes memory.
    let many = format!("{}\n{}", 1 << 21, "0\n0\n".repeat(1 << 21));
    let error = read_bytes(pax_sparse(&v10, &blocks(&many), dir)).expect_err("too many");
    assert!(matches!(error, TarError::Sparse { source: SparseError::TooMany { limit: 1_048_576 }, .. }), "{error}");
    // And a sound one, so that the others fail for what they say.
    let archive = pax_sparse(&v10, &[blocks("2\n0\n3\n97\n3\n"), b"abcxyz".to_vec()].concat(), dir);
    let contents = read_bytes(archive).expect("a sound archive");
    let data = contents.data("m");
    assert_eq!(data.ranges.as_deref(), Some(&[0..3, 97..100][..]));
    assert_eq!(contents.bytes(data), [&b"abc"[..], &[0; 94], b"xyz"].concat());
}

#[test]
fn what_is_not_understood_is_refused() {
    let scratch = tempfile::tempdir().expect("a directory");
    for (records, what) in [
        (("SUN.holesdata", " 0 1024 2048"), "a sparse file in the form of Solaris"),
        (("GNU.volume.offset", "1024"), "a further volume of an archive in several volumes"),
    ] {
        let error = read_bytes(pax_sparse(&[records], &[], scratch.path())).expect_err("not supported");
        assert!(matches!(error, TarError::Unsupported { what: w, .. } if w == what), "{error}");
    }
    // The second volume of two, and the first, in which a file is cut off.
    std::fs::write(scratch.path().join("file"), noise(30_000, 1)).expect("a file");
    run_words("tar --format=gnu -M -L 20 -cf v1 -f v2 -f v3 file", scratch.path());
    let read = |name: &str| read_all(TarInput::Path(&scratch.path().join(name)), options());
    let error = read("v1").expect_err("cut off");
    assert!(matches!(&error, TarError::Truncated { member, part: "the content", .. } if member == b"file"), "{error}");
    assert_eq!(error.to_string(), r#"the archive ends early: the content of "file" is cut off"#);
    let error = read("v2").expect_err("a second volume");
    assert_eq!(error.to_string(), r#""file": a further volume of an archive in several volumes is not supported"#);
}

#[test]
fn files_that_tar_calls_sparse_may_be_whole() {
    let scratch = tempfile::tempdir().expect("a directory");
    let archive = pax_sparse(&[("GNU.sparse.size", "5"), ("GNU.sparse.map", "0,2,2,3")], b"hello", scratch.path());
    let contents = read_bytes(archive).expect("an archive");
    let MemberKind::File(data) = &contents.get("m").kind else { panic!("a file") };
    assert_eq!((data.size, &data.ranges), (5, &None));
    assert_eq!(contents.bytes(data), b"hello");
}
