//! Archives that are cut off, damaged or made to do harm: an error or a clean prefix comes out, in bounded time and memory.

mod tar_common;

use daxkit_build::source::{Member, MemberKind, Notice, TarError, TarInput};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use tar_common::*;

/// The content file holds what the members say, and their maps are in order.
fn assert_sound(contents: &Contents) {
    let len = contents.content.file.metadata().expect("metadata").len();
    for member in &contents.members {
        let (MemberKind::File(data) | MemberKind::HardLink(_, Some(data))) = &member.kind else { continue };
        let mut stored = data.size;
        if let Some(ranges) = &data.ranges {
            let mut last = 0;
            stored = 0;
            for (nr, range) in ranges.iter().enumerate() {
                assert!(range.start < range.end && range.end <= data.size && (nr == 0 || range.start > last));
                last = range.end;
                stored += range.end - range.start;
            }
        }
        assert!(data.at.checked_add(stored).is_some_and(|end| end <= len), "{data:?} in {len}");
        assert!(member.xattrs.list.is_sorted_by(|a, b| a.0 < b.0));
    }
}

/// Whatever happens, it is said in one line.
fn assert_one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Archives with everything in them.
fn archives(scratch: &Path) -> Vec<(String, Vec<u8>)> {
    must_be_root();
    let root = scratch.join("tree");
    fs::create_dir(&root).expect("a directory");
    fs::write(root.join("file"), noise(700, 1)).expect("a file");
    fs::write(root.join("n".repeat(200)), "x").expect("a file");
    fs::hard_link(root.join("file"), root.join("hard")).expect("a link");
    std::os::unix::fs::symlink("t".repeat(150), root.join("link")).expect("a link");
    let sparse = fs::File::create(root.join("sparse")).expect("a file");
    for nr in 0..6u64 {
        sparse.write_all_at(b"data", nr * 300_000 + 8192).expect("written");
    }
    sparse.sync_all().expect("blocks have places");
    run_words("setfattr -n user.a -v value file", &root);
    run_words("setfacl -m u:1:rwx,g:2:r file", &root);
    let mut archives = Vec::new();
    for command in [
        "tar -S --format=posix --sparse-version=1.0 --xattrs --acls --numeric-owner -cf ../a .",
        "tar -S --format=posix --sparse-version=0.0 -cf ../a .",
        "tar -S --format=posix --sparse-version=0.1 -cf ../a .",
        "tar -S --format=gnu --incremental -cf ../a .",
        "bsdtar --format=pax --xattrs --acls --fflags -cf ../a .",
        "bsdtar --format=gnutar -cf ../a file link",
        "tar --format=ustar -cf ../a file hard",
        "tar --format=v7 -cf ../a file hard",
    ] {
        run_words(command, &root);
        let mut bytes = fs::read(scratch.join("a")).expect("the archive");
        // Of the zeroes that fill the last record two blocks are enough.
        let end = bytes.iter().rposition(|b| *b != 0).expect("something") + 1;
        bytes.truncate(end.next_multiple_of(512) + 1024);
        archives.push((command.to_owned(), bytes));
    }
    archives
}

/// A cut archive gives the first of its members, or an error; without an error it says that it has no end.
fn assert_prefix(what: &str, result: Result<Contents, TarError>, whole: &[Member]) {
    match result {
        Ok(contents) => {
            assert_sound(&contents);
            assert!(contents.members.len() <= whole.len(), "{what}");
            for (found, expected) in contents.members.iter().zip(whole) {
                // Where content lies depends on the medium, but not on the cut.
                assert_eq!(found, expected, "{what}");
            }
            let told = contents.notices.iter().any(|notice| matches!(notice, Notice::NoEnd { .. }));
            assert!(told || contents.members.len() == whole.len(), "{what}: the cut is not noticed");
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

#[test]
fn cut_archives_are_errors_or_prefixes() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    for (command, bytes) in archives(scratch.path()) {
        let path = scratch.path().join("cut");
        fs::write(&path, &bytes).expect("written");
        let by_path = read_path(&path).members;
        let as_stream = read_bytes(bytes.clone()).expect("a sound archive").members;
        let mut cuts: Vec<usize> = (0..=bytes.len()).step_by(512).collect();
        cuts.extend(
            noise(800, seed)
                .chunks(4)
                .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")) as usize % bytes.len()),
        );
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        let file = OpenOptions::new().write(true).open(&path).expect("it opens");
        let mut errors = 0;
        for cut in cuts {
            let what = format!("{command}: cut at {cut}");
            file.set_len(cut as u64).expect("it is cut");
            let result = read_all(TarInput::Path(&path), options());
            errors += usize::from(result.is_err());
            assert_prefix(&what, result, &by_path);
            assert_prefix(&what, read_bytes(&bytes[..cut]), &as_stream);
        }
        assert!(errors > 100, "{command}: {errors} errors");
    }
}

/// Gives the header in a block the checksum it should have.
fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn is_header(block: &[u8]) -> bool {
    let mut sealed = block.to_vec();
    seal(&mut sealed);
    sealed[148..154] == block[148..154] || block.get(257..262) == Some(b"ustar")
}

/// What came out of archives that were changed.
#[derive(Default)]
struct Outcomes {
    taken: usize,
    refused: usize,
}

impl Outcomes {
    fn count(&mut self, result: Result<Contents, TarError>) {
        match result {
            Ok(contents) => {
                self.taken += 1;
                assert_sound(&contents);
                contents.notices.iter().for_each(|notice| assert_one_line(&notice.to_string()));
            }
            Err(error) => {
                self.refused += 1;
                assert_one_line(&error.to_string());
            }
        }
    }
}

#[test]
fn every_byte_of_every_header_may_be_wrong() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = scratch.path().join("changed");
    let mut outcomes = Outcomes::default();
    for (_, bytes) in archives(scratch.path()) {
        fs::write(&path, &bytes).expect("written");
        let file = OpenOptions::new().write(true).open(&path).expect("it opens");
        for (start, block) in bytes.chunks(512).enumerate().map(|(nr, block)| (nr * 512, block)) {
            // Content is of no interest: headers are, and what may be an extended header's data or a map.
            let of_header = is_header(block);
            let zeroes = block.iter().rev().take_while(|b| **b == 0).count();
            if !of_header && !(64..508).contains(&zeroes) {
                continue;
            }
            for at in 0..512 {
                let mut changed = block.to_vec();
                changed[at] ^= [0xff, 0x01, 0x80, 0x10][at % 4];
                let mut forms = vec![changed];
                if of_header {
                    let mut sealed = forms[0].clone();
                    seal(&mut sealed);
                    forms.push(sealed);
                }
                for changed in forms {
                    file.write_all_at(&changed, start as u64).expect("written");
                    outcomes.count(read_all(TarInput::Path(&path), options()));
                    if at % 64 == 0 {
                        outcomes.count(read_bytes(fs::read(&path).expect("the archive")));
                    }
                }
            }
            file.write_all_at(block, start as u64).expect("written");
        }
    }
    let Outcomes { taken, refused } = outcomes;
    println!("{taken} taken, {refused} refused");
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

/// A header with its fields set by `change` and a checksum that fits.
fn header(typeflag: u8, size: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..4].copy_from_slice(b"name");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = typeflag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    seal(&mut block);
    block
}

/// A record of an extended header.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..).map(|digits| rest + digits).find(|len| rest + len.to_string().len() == *len).expect("a length");
    format!("{len} {key}={value}\n").into_bytes()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

const END: [u8; 1024] = [0; 1024];

fn error_of(bytes: Vec<u8>) -> TarError {
    let error = read_bytes(bytes).expect_err("it is wrong");
    assert_one_line(&error.to_string());
    error
}

#[test]
fn lengths_that_cannot_be_meant_take_no_memory() {
    for (typeflag, limit) in [(b'x', 8 << 20), (b'X', 8 << 20), (b'g', 8 << 20), (b'L', 1 << 20), (b'K', 1 << 20)] {
        let error = error_of([&header(typeflag, 0o77777777777, |_| ())[..], &END].concat());
        assert!(matches!(error, TarError::TooLong { limit: l, at: 0, .. } if l == limit), "{error}");
        let error = error_of(header(typeflag, limit, |_| ()));
        assert!(matches!(error, TarError::Truncated { at: 0, .. }), "{error}");
    }
    let negative = header(b'0', 0, |block| block[124..136].fill(0xff));
    assert!(matches!(error_of(negative), TarError::Range { field: "size", number: -1, .. }));
    let beyond = header(b'0', 0, |block| {
        block[124..136].fill(0);
        (block[124], block[128]) = (0x80, 0x80);
    });
    assert!(matches!(error_of(beyond), TarError::Field { field: "size", .. }));
    let most = header(b'0', 0, |block| {
        block[124..136].fill(0xff);
        (block[124], block[125], block[126], block[127], block[128]) = (0x80, 0, 0, 0, 0x7f);
    });
    assert!(matches!(error_of(most), TarError::Truncated { part: "the content", .. }));
}

#[test]
fn headers_without_end_take_no_memory() {
    // Extended headers before one member, each with records that stay.
    let records = record("SCHILY.xattr.user.a", "123").repeat(40_000);
    let extended = [header(b'x', records.len() as u64, |_| ()), padded(records)].concat();
    let error = error_of(extended.repeat(20));
    assert!(matches!(error, TarError::TooLong { what: "an extended header", .. }), "{error}");
    // Global headers that leave more than is meant for every member.
    let records = record("SCHILY.xattr.user.a", &"v".repeat(60_000));
    let global = [header(b'g', records.len() as u64, |_| ()), padded(records)].concat();
    let error = error_of(global.repeat(5));
    assert!(matches!(error, TarError::TooLong { limit: 65_536, .. }), "{error}");
    // Global headers that leave nothing may be any number.
    let comment = record("comment", "c");
    let comment = [header(b'g', comment.len() as u64, |_| ()), padded(comment)].concat();
    let contents = read_bytes([comment.repeat(2000), END.to_vec()].concat()).expect("an archive");
    assert_eq!(contents.members, []);
}

#[test]
fn notices_are_counted_and_not_kept() {
    let member = header(b'?', 0, |_| ());
    let contents = read_bytes([member.repeat(5000), END.to_vec()].concat()).expect("an archive");
    assert_eq!(contents.members.len(), 5000);
    assert_eq!(contents.notices.len(), 1001);
    assert_eq!(contents.notices[0].to_string(), r#"took "name" for a file: its type '?' is not known"#);
    assert_eq!(contents.notices[1000].to_string(), "4000 more notices of the same kinds");
    let extended = |nr| {
        let record = record(&format!("ACME{nr}"), "1");
        [header(b'x', record.len() as u64, |_| ()), padded(record)].concat()
    };
    let members: Vec<u8> = (0..500).flat_map(|nr| [extended(nr), header(b'0', 0, |_| ())].concat()).collect();
    let contents = read_bytes([members, END.to_vec()].concat()).expect("an archive");
    assert_eq!(contents.notices.len(), 256, "keywords are told of as long as they are few");
}

#[test]
fn headers_of_nothing_are_refused() {
    let extended = [header(b'x', 10, |_| ()), padded(record("path", "a"))].concat();
    assert!(matches!(error_of([&extended[..], &END].concat()), TarError::Dangling { at: 0 }));
    let file = header(b'0', 0, |_| ());
    let long = [header(b'L', 2, |_| ()), padded(b"a\0".to_vec())].concat();
    assert!(matches!(error_of([&file[..], &long, &END].concat()), TarError::Dangling { at: 512 }));
    let mut broken = file.clone();
    broken[0] ^= 1;
    assert!(matches!(error_of([&file[..], &broken, &END].concat()), TarError::Checksum { at: 512 }));
    assert!(matches!(error_of([&file[..], &noise(512, 1), &END].concat()), TarError::Checksum { at: 512 }));
    assert!(matches!(error_of([&broken[..], &END].concat()), TarError::NotTar));
    let star = header(b'S', 0, |_| ());
    assert!(matches!(error_of([&star[..], &END].concat()), TarError::Unsupported { .. }));
}

#[test]
fn what_is_left_out_takes_its_headers_along() {
    let extended = [header(b'x', 14, |_| ()), padded(record("path", "wrong"))].concat();
    for (typeflag, told) in
        [(b'V', None), (b'N', Some("old form of GNU tar")), (b'A', Some("Solaris")), (b'E', Some("Solaris"))]
    {
        let left_out = [header(typeflag, 3, |_| ()), padded(b"abc".to_vec())].concat();
        let contents = read_bytes([&extended[..], &left_out, &header(b'0', 0, |_| ()), &END].concat());
        let contents = contents.expect("an archive");
        assert_eq!(contents.members.len(), 1);
        assert_eq!(contents.members[0].path, b"name", "the record was the other's");
        let notices: Vec<_> = contents.notices.iter().map(ToString::to_string).collect();
        assert_eq!(notices.len(), usize::from(told.is_some()));
        assert!(notices.iter().zip(told).all(|(notice, told)| notice.contains(told)), "{notices:?}");
    }
    // The data of what has none is passed over, or is not there.
    let dir = [header(b'0', 3, |block| block[4] = b'/'), padded(b"abc".to_vec())].concat();
    let dumped = [header(b'D', 3, |_| ()), padded(b"Yx\0".to_vec())].concat();
    let sized = header(b'5', 4096, |_| ());
    let contents = read_bytes([&dir[..], &dumped, &sized, &END].concat()).expect("an archive");
    assert!(contents.members.iter().all(|member| member.kind == MemberKind::Dir));
    assert_eq!(contents.members.len(), 3);
}
