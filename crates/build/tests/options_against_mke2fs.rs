//! Options against real mke2fs: the same feature words are taken and refused, the same sizes make the same number of blocks.
//!
//! Oracle: `mke2fs -n` of e2fsprogs 1.47, with a configuration file of its own, so that the host's does not matter.

use daxkit_build::options::{Content, Facts, Request, Resolved, Target, makeable_names, resolve};
use daxkit_format::ext4::features::{Feature, Features, NAMES};
use daxkit_format::ext4::inode::Timestamp;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const CONFIG: &str = "\
[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext3 = {
		features = has_journal
	}
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
	small = {
		inode_ratio = 4096
	}
	floppy = {
		inode_ratio = 8192
	}
";

struct Oracle {
    dir: tempfile::TempDir,
    image: PathBuf,
}

impl Oracle {
    fn new(len: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("mke2fs.conf"), CONFIG).expect("a configuration file");
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(len).expect("its length");
        Self { dir, image }
    }

    fn run(&self, args: &[&str], image: &Path, size: Option<&str>) -> Output {
        Command::new("mke2fs")
            .env("MKE2FS_CONFIG", self.dir.path().join("mke2fs.conf"))
            .env("LC_ALL", "C")
            .args(["-n", "-F"])
            .args(args)
            .arg(image)
            .args(size)
            .output()
            .expect("the oracle mke2fs (package e2fsprogs) must be there")
    }

    fn takes(&self, fs_type: &str, words: &str) -> bool {
        self.run(&["-q", "-t", fs_type, "-b", "4096", "-O", words], &self.image, None).status.success()
    }
}

fn facts(len: Option<u64>) -> Facts {
    Facts {
        target: len.map(|len| Target { len, can_grow: true }),
        sector_size: 512,
        content: None,
        now: Timestamp { seconds: 0, nanos: 0 },
        random_uuid: [1; 16],
        random_seed: [2; 16],
        caller: (0, 0),
        journal_device: None,
        processors: 1,
    }
}

fn ours(fs_type: &str, words: &str) -> Result<Resolved, String> {
    let request = Request {
        fs_type: Some(fs_type.to_owned()),
        block_size: Some("4096".to_owned()),
        features: vec![words.to_owned()],
        ..Request::default()
    };
    resolve(&request, &facts(Some(LEN))).map_err(|e| e.to_string())
}

const LEN: u64 = 32 << 20;
const TYPES: [&str; 3] = ["ext2", "ext3", "ext4"];

/// What we refuse and `mke2fs -n` takes.
fn stricter_on_purpose(words: &str, error: &str) -> bool {
    // mke2fs itself refuses this, but only after it has begun to write.
    (words.contains("orphan_file") && error.contains("-O orphan_file: needs a journal"))
        // Bits by number.
        || (words.contains("FEATURE_") && error.contains("unknown word"))
}

fn compare(oracle: &Oracle, cases: &[(&str, String)]) {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((fs_type, words)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let theirs = oracle.takes(fs_type, words);
                    match (ours(fs_type, words), theirs) {
                        (Ok(_), true) | (Err(_), false) => {}
                        (Err(e), true) if stricter_on_purpose(words, &e) => {}
                        (Ok(_), false) => {
                            wrong.lock().unwrap().push(format!("-t {fs_type} -O {words}: only we take it"))
                        }
                        (Err(e), true) => {
                            wrong.lock().unwrap().push(format!("-t {fs_type} -O {words}: only we refuse it: {e}"))
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_single_feature_word_is_taken_or_refused_as_mke2fs_does() {
    let oracle = Oracle::new(LEN);
    let others =
        ["none", "^none", "clear", "default", "FEATURE_C12", "FEATURE_I20", "extent,", ",extent", "extent quota"];
    let mut cases = Vec::new();
    for fs_type in TYPES {
        for name in NAMES.iter().map(|(n, _)| *n) {
            cases.push((fs_type, name.to_owned()));
            cases.push((fs_type, format!("^{name}")));
        }
        cases.extend(others.map(|w| (fs_type, w.to_owned())));
    }
    compare(&oracle, &cases);
}

/// Each feature turned to what the type does not have by default, two at a time.
#[test]
fn every_pair_of_feature_words_is_taken_or_refused_as_mke2fs_does() {
    let oracle = Oracle::new(LEN);
    let mut cases = Vec::new();
    for fs_type in TYPES {
        let defaults = ours(fs_type, "").expect("the defaults").params.features;
        let words: Vec<String> = makeable_names().iter().map(|n| turned(n, &defaults)).collect();
        for (i, a) in words.iter().enumerate() {
            cases.extend(words.iter().skip(i + 1).map(|b| (fs_type, format!("{a},{b}"))));
        }
    }
    assert_eq!(cases.len(), 3 * 32 * 31 / 2);
    compare(&oracle, &cases);
}

fn turned(name: &str, defaults: &Features) -> String {
    let feature = Feature::by_name(name).expect("a feature");
    if defaults.has(feature) { format!("^{name}") } else { name.to_owned() }
}

/// Blocks mke2fs would use, and blocks of the last group it gives up.
fn their_blocks(output: &Output) -> Option<u64> {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let number = |before: &str, after: &str| -> Option<u64> {
        let start = text.find(before)? + before.len();
        let rest = text.get(start..)?;
        rest.get(..rest.find(after)?)?.trim().parse().ok()
    };
    let used = number("Creating filesystem with ", " ")?;
    Some(used + number("warning: ", " blocks unused").unwrap_or(0))
}

#[test]
fn sizes_make_as_many_blocks_as_with_mke2fs() {
    let mut wrong = Vec::new();
    for len in [10_000_001u64, 67_108_864, 67_109_000] {
        let oracle = Oracle::new(len);
        for size in [
            None,
            Some("8M"),
            Some("8192"),
            Some("0x2000"),
            Some("020000"),
            Some("9m"),
            Some("20481k"),
            Some("20481s"),
            Some("1G"),
            Some("1T"),
            Some("1.5M"),
            Some("10MiB"),
            Some("10MB"),
            Some("0"),
            Some("x"),
        ] {
            for block in ["1024", "2048", "4096", "4k", "-4096"] {
                let theirs = their_blocks(&oracle.run(&["-t", "ext4", "-b", block], &oracle.image, size));
                let request =
                    Request { size: size.map(str::to_owned), block_size: Some(block.to_owned()), ..Request::default() };
                let ours = resolve(&request, &facts(Some(len))).map(|r| r.params.blocks_count).ok();
                if ours != theirs {
                    wrong.push(format!("{len} bytes, -b {block}, SIZE {size:?}: we {ours:?}, mke2fs {theirs:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_option_at_a_time_is_taken_or_refused_as_mke2fs_does() {
    let oracle = Oracle::new(LEN);
    let mut wrong = Vec::new();
    let mut compare = |args: &[&str], request: Request| {
        let all = [&["-q", "-t", "ext4", "-b", "4096"], args].concat();
        let theirs = oracle.run(&all, &oracle.image, None).status.success();
        let request = Request { block_size: request.block_size.clone().or(Some("4096".to_owned())), ..request };
        match resolve(&request, &facts(Some(LEN))) {
            Ok(_) if !theirs => wrong.push(format!("{args:?}: only we take it")),
            Err(e) if theirs => wrong.push(format!("{args:?}: only we refuse it: {e}")),
            _ => {}
        }
    };
    let s = |text: &str| Some(text.to_owned());
    for v in ["0", "1", "512", "1023", "1024", "16k", "x", "67108864", "67108865"] {
        compare(&["-i", v], Request { inode_ratio: s(v), ..Request::default() });
    }
    for v in ["0", "64", "128", "256", "300", "4096", "8192"] {
        compare(&["-I", v], Request { inode_size: s(v), ..Request::default() });
    }
    for v in ["0", "1", "5000", "200000", "4294967295", "4294967296", "x"] {
        compare(&["-N", v], Request { inodes: s(v), ..Request::default() });
    }
    for v in ["0", "1", "3", "16", "2147483648", "4294967296", "x"] {
        compare(&["-G", v], Request { flex_bg_size: s(v), ..Request::default() });
    }
    for v in ["0", "7", "8", "248", "256", "8192", "32768", "32776", "x"] {
        compare(&["-g", v], Request { blocks_per_group: s(v), ..Request::default() });
    }
    for v in ["0", "-1", "1.5", "1e1", "50", "51", "x", "5%", "nan", "inf"] {
        compare(&["-m", v], Request { reserved_percent: s(v), ..Request::default() });
    }
    for v in [
        "random",
        "clear",
        "NULL",
        "time",
        "1",
        "01234567-89ab-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdef",
    ] {
        compare(&["-U", v], Request { uuid: s(v), ..Request::default() });
    }
    for v in ["linux", "FreeBSD", "lites", "0", "masix"] {
        compare(&["-o", v], Request { creator_os: s(v), ..Request::default() });
    }
    for v in ["continue", "remount-ro", "panic", "bogus"] {
        compare(&["-e", v], Request { errors: s(v), ..Request::default() });
    }
    for v in ["4096", "4", "8k", "64k", "1G", "1024", "x"] {
        compare(
            &["-O", "bigalloc", "-C", v],
            Request { features: vec!["bigalloc".to_owned()], cluster_size: s(v), ..Request::default() },
        );
        compare(&["-C", v], Request { cluster_size: s(v), ..Request::default() });
    }
    for v in [
        "size=4",
        "size=3",
        "size=1",
        "size=12",
        "size=64",
        "size=100000",
        "size=4x",
        "bogus",
        "size",
        "location=10M",
        "device",
    ] {
        compare(&["-J", v], Request { journal: vec![v.to_owned()], ..Request::default() });
    }
    for v in [
        "mmp_update_interval=5",
        "mmp_update_interval=x",
        "stride=16",
        "stride=x",
        "stripe_width=32",
        "stripe-width=32",
        "stride=16,stripe_width=33",
        "resize=10",
        "resize=8192",
        "resize=8193",
        "resize=1G",
        "resize=x",
        "lazy_itable_init",
        "lazy_itable_init=1",
        "lazy_journal_init",
        "assume_storage_prezeroed=1",
        "nodiscard",
        "discard",
        "quotatype=usrquota:grpquota",
        "quotatype=bogus",
        "quotatype",
        "offset=4096",
        "offset=1k",
        "packed_meta_blocks",
        "num_backup_sb=2",
        "num_backup_sb=3",
        "num_backup_sb=x",
        "hash_seed=1",
        "hash_seed=01234567-89ab-cdef-0123-456789abcdef",
        "root_owner",
        "root_owner=1:2",
        "root_owner=1",
        "root_owner=1:x",
        "test_fs",
        "no_copy_xattrs",
        "encoding=utf8",
        "encoding=utf8-12.1",
        "encoding=latin1",
        "encoding",
        "encoding_flags=strict",
        "encoding_flags=strict,encoding=utf8",
        "encoding=utf8,encoding_flags=bogus",
        "desc_size=64",
        "desc_size=100",
        "bogus",
        "bogus=1",
        "",
        ",",
        "stride=16,",
    ] {
        compare(&["-E", v], Request { extended: vec![v.to_owned()], ..Request::default() });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn inode_ratios_follow_the_size_as_with_mke2fs_conf() {
    let mut f = facts(None);
    f.content = Some(Content { inodes: 1, ..Content::default() });
    for (size, ratio) in [("2M", 8192), ("64M", 4096), ("1G", 16384), ("5T", 32768), ("16T", 65536)] {
        let request = Request { size: Some(size.to_owned()), ..Request::default() };
        let p = resolve(&request, &f).expect(size).params;
        assert_eq!(p.inodes, daxkit_build::params::InodeCount::Content { ratio }, "{size}");
        assert_eq!(p.block_size, 4096);
    }
}
