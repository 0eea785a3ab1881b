//! SIZE auto over many trees and options: sound, complete, the reserve is free, and a group less would not do.

mod common;

use common::{e2fsck_clean, recipe_source};
use daxkit_build::auto_size::{Reserve, Search};
use daxkit_build::options::{self, Content, Facts, PmemAlign, Request};
use daxkit_build::params::Params;
use daxkit_build::plan::{Needs, Plan};
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{Kind, Reader, Source};
use daxkit_build::write::write_image;
use daxkit_device::{BlockDevice, FileDevice, FileOptions};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_volume::{OpenOptions, Volume};
use std::sync::Arc;

/// The trees, by name.
fn trees() -> Vec<(&'static str, String)> {
    let files = |n: u64, size: &dyn Fn(u64) -> u64| -> String {
        let item =
            |i: u64| format!("[[file]]\npath = \"/d{}/f{i}\"\nsize = {}\npattern = \"offset\"\n", i % 7, size(i));
        (0..n).map(item).collect()
    };
    let mut many_xattrs = String::new();
    for i in 0..60 {
        let value = "v".repeat(200 + i);
        many_xattrs
            .push_str(&format!("[[file]]\npath = \"/x{i}\"\ntext = \"x\"\nxattrs = {{ \"user.a\" = \"{value}\" }}\n"));
    }
    let links: String =
        (0..40).map(|i| format!("[[symlink]]\npath = \"/l{i}\"\ntarget = \"{}\"\n", "t".repeat(20 + i * 5))).collect();
    let deep: String = (1..60).map(|i| format!("[[dir]]\npath = \"{}\"\n", "/deep".repeat(i))).collect();
    let filled = |count: u32, kind: &str, size: u32| {
        let size = if size > 0 { format!(", size = {size}") } else { String::new() };
        format!("[[dir]]\npath = \"/many\"\nentries = {{ count = {count}, kind = \"{kind}\"{size} }}\n")
    };
    let sparse = "[[file]]\npath = \"/s\"\nsize = \"3G\"\ndata = [{ at = \"1M\", len = \"64K\", pattern = \"offset\" }, \
                  { at = \"2G\", len = \"1M\", pattern = \"offset\" }]\n";
    vec![
        ("empty", String::new()),
        ("one byte", "[[file]]\npath = \"/a\"\ntext = \"x\"\n".to_owned()),
        ("small files", files(400, &|i| i * 37 % 9000)),
        ("block sized", files(300, &|_| 4096)),
        ("windows", files(5, &|i| (2 << 20) * (i + 1))),
        ("windows and tails", files(9, &|i| (2 << 20) + 777 * i + i * 300_000)),
        ("one large", files(1, &|_| 150 << 20)),
        ("large and small", files(120, &|i| if i % 40 == 0 { 9 << 20 } else { i * 300 })),
        ("hashed directory", filled(6000, "file", 0)),
        ("links", filled(30_000, "link", 10)),
        ("directories", filled(500, "dir", 0)),
        ("attributes", many_xattrs),
        ("symbolic links", links),
        ("deep", deep),
        ("sparse", sparse.to_owned()),
    ]
}

/// Options, by name.
fn options_list() -> Vec<(&'static str, Request, Reserve)> {
    let base = || Request { reproducible: true, threads: Some(2), ..Request::default() };
    let features = |list: &str| Request { features: vec![list.to_owned()], ..base() };
    let typed = |t: &str| Request { fs_type: Some(t.to_owned()), ..base() };
    let block = |b: &str| Request { block_size: Some(b.to_owned()), ..base() };
    vec![
        ("default", base(), Reserve::Bytes(0)),
        ("10 percent free", base(), Reserve::Percent(10.0)),
        ("20 MiB free", base(), Reserve::Bytes(20 << 20)),
        ("blocks of 1 KiB", block("1024"), Reserve::Bytes(0)),
        ("blocks of 64 KiB", Request { page_size: Some("65536".to_owned()), ..block("65536") }, Reserve::Bytes(0)),
        ("ext2", typed("ext2"), Reserve::Bytes(0)),
        ("ext3", typed("ext3"), Reserve::Percent(3.0)),
        ("bigalloc", features("bigalloc"), Reserve::Bytes(0)),
        ("no journal, meta_bg", features("^has_journal,meta_bg,^resize_inode"), Reserve::Bytes(0)),
        ("quota, orphan_file", features("quota,orphan_file"), Reserve::Bytes(1 << 20)),
        ("inline_data", features("inline_data"), Reserve::Bytes(0)),
        ("unaligned", Request { pmem_align: Some(PmemAlign::None), ..base() }, Reserve::Bytes(0)),
        ("128 MiB steps", Request { pmem_align: Some(PmemAlign::Mib128), ..base() }, Reserve::Bytes(0)),
        ("behind 1 MiB", Request { extended: vec!["offset=1048576".to_owned()], ..base() }, Reserve::Bytes(0)),
        ("small groups", Request { blocks_per_group: Some("4096".to_owned()), ..base() }, Reserve::Bytes(0)),
    ]
}

fn facts(source: &Source) -> Facts {
    let tree = source.tree();
    let inodes: Vec<_> = tree.ids().filter(|id| tree.primary(*id) == *id).collect();
    let files = inodes.iter().copied().filter(|id| tree.kind(*id) == Kind::File);
    let content = Content { inodes: inodes.len() as u64, bytes: files.map(|id| tree.size(id)).sum(), newest: None };
    Facts {
        target: None,
        sector_size: 512,
        content: Some(content),
        now: Timestamp::default(),
        random_uuid: [1; 16],
        random_seed: [2; 16],
        caller: (0, 0),
        journal_device: None,
        processors: 2,
    }
}

/// Makes the image and holds it against its promises; the share of windows that can be mapped.
fn check(what: &str, text: &str, request: &Request, reserve: Reserve) -> Option<f64> {
    let block_size = request.block_size.as_deref().map_or(4096, |b| b.parse().expect("a number"));
    let source = recipe_source(text, block_size);
    let tree = source.tree();
    let facts = facts(&source);
    let at = |blocks: u64| options::resolve(&Request { blocks: Some(blocks), ..request.clone() }, &facts);
    let resolve = |blocks| at(blocks).map(|resolved| resolved.params);
    let align = request.pmem_align.unwrap_or_default().bytes();
    let search = Search { resolve: &resolve, tree, reserve, align };
    let needs = |p: &Params| Needs::new(p, tree, Default::default());
    let sample = search.sample().unwrap_or_else(|e| panic!("{what}: {e}"));
    let blocks = search.smallest(&needs(&sample).expect("needs")).unwrap_or_else(|e| panic!("{what}: {e}"));
    let p = resolve(blocks).expect("resolved");
    let plan =
        Plan::of_needs(&p, tree, needs(&p).expect("needs")).unwrap_or_else(|e| panic!("{what}: {blocks} blocks: {e}"));

    // One group less, or where there is one group a step less, does not do: no space, or no room for what it wants free.
    let bs = u64::from(p.block_size);
    let group = u64::from(plan.geometry.blocks_per_group);
    let step = (align / bs).max(1);
    let less = if plan.geometry.groups > 1 { group.max(step) } else { step };
    let wanted = |p: &Params| match reserve {
        Reserve::Bytes(n) => n.div_ceil(bs),
        Reserve::Percent(percent) => (p.blocks_count as f64 * percent / 100.0).ceil() as u64,
    };
    if let Some(smaller) = blocks.checked_sub(less).filter(|n| *n > 0)
        && let Ok(p) = resolve(smaller)
        && p.journal.is_some() == plan.params.journal.is_some()
        && let Ok(plan_of_less) = Plan::new(&p, tree, Default::default())
    {
        let free = plan_of_less.free.free();
        let windows = |plan: &Plan| plan.report(tree).content.map_or(0, |c| c.pmd.mappable);
        let enough = free >= wanted(&p) && windows(&plan_of_less) == windows(&plan);
        assert!(!enough, "{what}: {blocks} blocks, but {smaller} would do as well, with {free} free");
    }
    assert!(plan.free.free() >= wanted(&p), "{what}: {} free, {} wanted", plan.free.free(), wanted(&p));

    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    let offset = p.data_offset;
    let device = FileDevice::create(&image, blocks * bs).expect("an image file");
    write_image(&plan, &source, &device, &NoProgress).unwrap_or_else(|e| panic!("{what}: {e}"));
    drop(device);
    e2fsck_clean(&image, &format!("{what} (offset {offset})"));

    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(&image, FileOptions::read_only()).expect("open"));
    let volume = Volume::open(device, &OpenOptions::default()).expect("a file system");
    let mut reader = Reader::new(&source).expect("a reader");
    for id in tree.ids().filter(|id| tree.kind(*id) == Kind::File && tree.size(*id) <= 16 << 20) {
        let mut expected = vec![0; tree.size(id) as usize];
        reader.read_whole(id, &mut expected).expect("content");
        let inode = volume.resolve(&tree.path(id), false).expect("there");
        assert!(volume.read_file(&inode, 0..tree.size(id)).expect("read") == expected, "{what}: content differs");
    }
    let names = volume.walk(volume.root().expect("root")).filter(Result::is_ok).count();
    assert!(names + 1 >= tree.len(), "{what}: {names} names of {}", tree.len());
    plan.report(tree).content.and_then(|c| c.pmd.share)
}

#[test]
fn every_tree_gets_the_smallest_image_by_default() {
    for (name, text) in trees() {
        let (options, request, reserve) = options_list().swap_remove(0);
        let share = check(&format!("{name}, {options}"), &text, &request, reserve);
        // No fault maps 2 MiB of holes.
        let expected = if name == "sparse" { 0.0 } else { 1.0 };
        assert!(share.is_none_or(|s| s == expected), "{name}: {share:?} of the windows can be mapped");
    }
}

#[test]
fn every_choice_of_options_gets_the_smallest_image() {
    let trees = trees();
    for (i, (options, request, reserve)) in options_list().into_iter().enumerate() {
        // Each choice over three trees, so that all pairs of a tree and some options occur somewhere.
        for k in 0..3 {
            let (name, text) = &trees[(i * 2 + k * 5 + 1) % trees.len()];
            check(&format!("{name}, {options}"), text, &request, reserve);
        }
    }
}
