//! SIZE auto: the content is there and whole, the reserve is free, whole 2 MiB windows can be mapped by one fault, and a file system
//! that is a block group smaller does not do.

use super::bench::Bench;
use super::fixtures::{bytes, set_times};
use super::snapshot::{self, Snapshot, set_xattr};
use super::tools::{note, output, told};
use super::tree_compare::{Allow, compare};
use super::{oracle, readers};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// A tree and options.
struct Case {
    tree: &'static str,
    args: &'static [&'static str],
    /// Free bytes that are asked for beside the content.
    reserve: Reserve,
}

enum Reserve {
    None,
    Bytes(u64),
    Percent(u64),
}

const fn case(tree: &'static str, args: &'static [&'static str]) -> Case {
    Case { tree, args, reserve: Reserve::None }
}

const fn reserving(tree: &'static str, args: &'static [&'static str], reserve: Reserve) -> Case {
    Case { tree, args, reserve }
}

const MIB: u64 = 1 << 20;

const CASES: &[Case] = &[
    case("empty", &[]),
    case("empty", &["-b", "1024", "-t", "ext2", "--pmem-align", "none"]),
    case("empty", &["-b", "65536", "--page-size", "65536"]),
    reserving("empty", &["--reserve", "300M"], Reserve::Bytes(300 * MIB)),
    reserving("empty", &["--reserve", "50%", "-J", "size=4"], Reserve::Percent(50)),
    case("tiny", &["-O", "inline_data"]),
    case("tiny", &["--pmem-align", "128M"]),
    case("small", &[]),
    case("small", &["-b", "1024"]),
    case("small", &["-b", "1024", "-t", "ext3", "--pmem-align", "none"]),
    case("small", &["-b", "2048", "-O", "^has_journal,quota"]),
    case("small", &["-O", "inline_data", "--pmem-align", "none"]),
    case("small", &["-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"]),
    case("small", &["-O", "orphan_file,quota,project"]),
    reserving("small", &["-m", "0", "--reserve", "7M"], Reserve::Bytes(7 * MIB)),
    reserving("small", &["-t", "ext2", "--reserve", "20%"], Reserve::Percent(20)),
    case("large", &[]),
    case("large", &["-b", "1024"]),
    case("large", &["-b", "1024", "-t", "ext2"]),
    case("large", &["-t", "ext3", "-J", "size=8"]),
    case("large", &["-O", "bigalloc,^resize_inode"]),
    case("large", &["-O", "^flex_bg,^resize_inode,^has_journal", "-g", "8192"]),
    case("large", &["-b", "65536", "--page-size", "65536", "-O", "^has_journal"]),
    case("large", &["-E", "offset=1048576"]),
    case("large", &["-E", "offset=1048576", "--pmem-align", "none"]),
    case("large", &["-O", "sparse_super2", "-i", "4096"]),
    reserving("large", &["--reserve", "1G"], Reserve::Bytes(1024 * MIB)),
    reserving("large", &["-O", "bigalloc,^resize_inode", "-C", "65536", "--reserve", "10%"], Reserve::Percent(10)),
    case("windows", &[]),
    case("windows", &["--pmem-align", "none", "-O", "^has_journal"]),
    case("windows", &["--pmem-align", "128M", "-J", "size=16"]),
    case("windows", &["-b", "1024"]),
    case("sparse", &[]),
    case("sparse", &["-b", "1024", "-t", "ext2"]),
    case("sparse", &["-O", "bigalloc,^resize_inode"]),
    case("pieces", &[]),
    case("pieces", &["-b", "1024", "--pmem-align", "none"]),
    case("xattrs", &[]),
    case("xattrs", &["-b", "1024", "-I", "128"]),
    case("xattrs", &["-O", "ea_inode", "-I", "1024"]),
    case("symlinks", &["-b", "1024"]),
    case("symlinks", &["-t", "ext2"]),
    case("deep", &[]),
    case("deep", &["-b", "1024", "-N", "3000", "--pmem-align", "none"]),
    case("wide", &["-b", "1024"]),
    case("wide", &["-O", "large_dir,casefold"]),
    case("links", &["-O", "^metadata_csum,uninit_bg"]),
];

fn write(path: impl AsRef<Path>, len: usize) {
    let path = path.as_ref();
    fs::write(path, bytes(path.as_os_str().len() as u64, len)).expect("write");
}

fn make(tree: &str, at: &Path) {
    fs::create_dir(at).expect("mkdir");
    match tree {
        "empty" => {}
        "tiny" => write(at.join("f"), 5),
        "small" => (0..2000).for_each(|i| write(at.join(format!("f{i}")), i * 7 % 9001)),
        "large" => [40 << 20, (90 << 20) + 1, 65_000].into_iter().enumerate().for_each(|(i, len)| {
            write(at.join(format!("f{i}")), len);
        }),
        "windows" => (0..12).for_each(|i| write(at.join(format!("f{i}")), (2 << 20) * (i % 4) + 4096 * i)),
        "sparse" => {
            let file = File::create(at.join("sparse")).expect("create");
            file.set_len(5 << 30).expect("length");
            (0..300).for_each(|i| file.write_all_at(&bytes(i, 5000), i * (13 << 20) + 77).expect("write"));
            File::create(at.join("hole")).expect("create").set_len(3 << 30).expect("length");
        }
        "pieces" => {
            let file = File::create(at.join("pieces")).expect("create");
            (0..6000).for_each(|i| file.write_all_at(&bytes(i, 4096), i * 12_288).expect("write"));
        }
        "xattrs" => (0..400).for_each(|i| {
            let path = at.join(format!("f{i}"));
            write(&path, i);
            set_xattr(&path, "user.one", &bytes(i as u64, 20 + i));
            set_xattr(&path, "user.same", &bytes(1, 300));
        }),
        "symlinks" => (0..1500).for_each(|i| symlink("t".repeat(1 + i % 900), at.join(format!("l{i}"))).expect("link")),
        "deep" => {
            let mut dir = at.to_owned();
            for i in 0..40 {
                dir.push(format!("{i}{}", "d".repeat(50)));
                fs::create_dir(&dir).expect("mkdir");
                write(dir.join("f"), i * 100);
            }
        }
        "wide" => {
            (0..6000).for_each(|i| write(at.join(format!("a name of some length that takes room {i}")), 0));
            (0..300).for_each(|i| fs::create_dir(at.join(format!("d{i}"))).expect("mkdir"));
        }
        "links" => {
            write(at.join("f"), 100_000);
            (0..3000).for_each(|i| fs::hard_link(at.join("f"), at.join(format!("l{i}"))).expect("link"));
        }
        other => panic!("no tree {other}"),
    }
    set_times(at, 1_400_000_000, 0);
}

/// What the tool says of an image it makes or plans.
fn document(bench: &Bench, args: &[&str]) -> Result<Value, String> {
    let mut command = bench.mkfs(&[&["--json"], args].concat());
    let out = output(&mut command);
    match out.status.code() {
        Some(0) => Ok(serde_json::from_slice(&out.stdout).expect("JSON")),
        Some(1) => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        _ => panic!("{}", told(&command, &out)),
    }
}

fn number(document: &Value, path: &str) -> u64 {
    document.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {document}"))
}

/// Of how many windows how many can be mapped by one fault.
fn windows(document: &Value) -> (u64, u64) {
    (number(document, "/plan/content/pmd/mappable"), number(document, "/plan/content/pmd/windows"))
}

/// What came of looking for something smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Smaller {
    /// It does not hold the content.
    NoSpace,
    /// It holds the content without the reserve.
    NoReserve,
    /// It holds the content, and fewer windows can be mapped.
    NoWindows,
    /// It has no journal, which was not asked for.
    NoJournal,
    /// It leaves a few blocks of those that are kept for the maps of files that free space in several runs might split.
    NoSplits,
    /// There is no smaller file system with these options, or none that is looked for: 64 blocks are the least.
    Nothing,
}

/// Fewest blocks that are looked for.
const LEAST: u64 = 64;

/// An image whose size was found, and what is known of it.
struct Sized<'a> {
    case: &'a Case,
    bench: Bench,
    source: Snapshot,
    made: Value,
    total: u64,
    block: u64,
}

impl<'a> Sized<'a> {
    fn new(case: &'a Case) -> Result<Self, String> {
        let bench = Bench::new();
        make(case.tree, &bench.path("tree"));
        let source = snapshot::settled(&bench.path("tree"))?;
        let made = document(&bench, &[case.args, &["-d", "tree", "image"]].concat())?;
        let (total, block) = (number(&made, "/plan/blocks"), number(&made, "/plan/block_size"));
        Ok(Self { case, bench, source, made, total, block })
    }

    fn reserve(&self, document: &Value) -> u64 {
        match self.case.reserve {
            Reserve::None => 0,
            Reserve::Bytes(bytes) => bytes,
            Reserve::Percent(percent) => number(document, "/plan/blocks") * self.block * percent / 100,
        }
    }

    /// The image is clean, holds the source, and has the reserve free. The free bytes.
    fn is_enough(&self) -> Result<u64, String> {
        let offset = number(&self.made, "/target/offset");
        let image = self.bench.path("image");
        if offset > 0 {
            // The readers want the file system at the start of the file.
            let whole = fs::read(&image).map_err(|e| e.to_string())?;
            fs::write(&image, &whole[offset as usize..]).map_err(|e| e.to_string())?;
        }
        oracle::clean(&image)?;
        let fields = oracle::dumpe2fs(&image)?;
        let field = |name: &str| fields.get(name).and_then(|v| v.parse::<u64>().ok()).ok_or(format!("no {name}"));
        if field("Block count")? != self.total {
            return Err(format!("dumpe2fs counts {} blocks, the plan {}", field("Block count")?, self.total));
        }
        let free = field("Free blocks")? * self.block;
        let reserve = self.reserve(&self.made);
        if free < reserve {
            return Err(format!("{free} bytes are free, {reserve} were asked for"));
        }
        let cluster = number(&self.made, "/plan/cluster_size");
        let allow = Allow::nothing(field("Inode size")? as u32, cluster);
        compare("daxkit-volume", &self.source, &readers::volume(&image)?, allow)?;
        Ok(free)
    }

    /// What a file system that is so many bytes shorter lacks.
    fn shorter_by(&self, step: u64) -> Result<Smaller, String> {
        let bytes = (self.total * self.block).saturating_sub(step);
        if bytes < LEAST * self.block {
            return Ok(Smaller::Nothing);
        }
        // A reserve goes with SIZE auto alone.
        let mut args = self.case.args.to_vec();
        if let Some(at) = args.iter().position(|a| *a == "--reserve") {
            args.drain(at..at + 2);
        }
        let size = format!("{}s", bytes / 512);
        let less = match document(&self.bench, &[&args[..], &["-F", "-d", "tree", "smaller", &size]].concat()) {
            Ok(less) => less,
            Err(error) if error.contains("no space") => return Ok(Smaller::NoSpace),
            Err(error) if error.contains("are half of the file system's") => return Ok(Smaller::Nothing),
            Err(error) => return Err(format!("{size}: {error}")),
        };
        let journal = |d: &Value| d.pointer("/plan/journal_blocks").is_some();
        let left = number(&less, "/plan/content/free_blocks") * self.block;
        if left < self.reserve(&less) {
            Ok(Smaller::NoReserve)
        } else if windows(&less).0 < windows(&self.made).0 {
            Ok(Smaller::NoWindows)
        } else if journal(&self.made) && !journal(&less) {
            Ok(Smaller::NoJournal)
        } else if left <= 4 * number(&less, "/plan/groups") * self.block && step == self.block {
            Ok(Smaller::NoSplits)
        } else {
            Err(format!("{} blocks, and {size} does as well: {left} bytes of it are free", self.total))
        }
    }

    /// What a group less, and the least step less, come to.
    fn is_not_more(&self) -> Result<(Option<Smaller>, Smaller), String> {
        let at = self.case.args.iter().position(|a| *a == "--pmem-align");
        let align = match at.map(|at| self.case.args[at + 1]) {
            None => 2 * MIB,
            Some("none") => self.block,
            Some("128M") => 128 * MIB,
            Some(other) => panic!("no alignment {other}"),
        };
        let per_group = number(&self.made, "/plan/blocks_per_group");
        let several = number(&self.made, "/plan/groups") > 1;
        let group = several.then(|| self.shorter_by((per_group * self.block).next_multiple_of(align))).transpose()?;
        Ok((group, self.shorter_by(align)?))
    }
}

/// Checks a case; in words, and what smaller ones lack.
fn check(case: &Case) -> Result<(String, (Option<Smaller>, Smaller)), String> {
    let sized = Sized::new(case)?;
    let free = sized.is_enough()?;
    let smaller = sized.is_not_more()?;
    let (mappable, all) = windows(&sized.made);
    let told = format!(
        "{} {}: {} KiB in {} groups, {} KiB free, {mappable} of {all} windows; without a group: {:?}, a step: {:?}",
        case.tree,
        case.args.join(" "),
        sized.total * sized.block / 1024,
        number(&sized.made, "/plan/groups"),
        free / 1024,
        smaller.0,
        smaller.1
    );
    // Windows of sparse files are not whole, and no page of 4 KiB maps blocks of another size.
    let whole = matches!(case.tree, "large" | "windows") && sized.block >= 4096;
    // One block of an indirect map tells of 1024 blocks after the first twelve, so every other window lies in two of them,
    // and `ext4_ind_map_blocks` never answers for more than one.
    let possible = if case.args.contains(&"ext3") { all / 2 } else { all };
    if whole && mappable != possible {
        return Err(format!("windows are left: {told}"));
    }
    Ok((told, smaller))
}

#[test]
fn sizes_are_enough_and_not_more() {
    let mut failures = Vec::new();
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    for case in CASES {
        match check(case) {
            Ok((told, (group, step))) => {
                note(&told);
                for (count, smaller) in counts.iter_mut().zip([group, Some(step)]) {
                    *count.entry(smaller).or_insert(0) += 1;
                }
                // A whole group less holds nothing, or has not even the reserve.
                if !matches!(group, None | Some(Smaller::NoSpace | Smaller::NoReserve)) {
                    failures.push(told);
                }
            }
            Err(failure) => failures.push(format!("{} {}: {failure}", case.tree, case.args.join(" "))),
        }
    }
    note(format!("{} sizes; a group less: {:?}; a step less: {:?}", CASES.len(), counts[0], counts[1]));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
