//! Names made, linked, moved and removed, against a model in memory, e2fsck, debugfs and the kernel.

#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod kernel;
mod large;
mod model;
mod orphans;
mod rules;
mod session;
#[path = "../common/tree.rs"]
mod tree;
mod trouble;

use std::path::Path;

use common::Rng;
use daxkit_format::ext4::inode_flags::InodeFlags;
use model::Model;
use session::{Script, Session, adopt, assert_clean, assert_kernel_agrees, assert_same};

/// Whether the kernel here mounts images with a feature that not every kernel is built for.
fn kernel_has(feature: &str) -> bool {
    Path::new("/sys/fs/ext4/features").join(feature).exists()
}

struct Case {
    name: &'static str,
    mke2fs: &'static str,
    size: &'static str,
    block_size: usize,
    rounds: usize,
    /// Operations a round.
    ops: usize,
    plain: bool,
    /// Made with debugfs before.
    setup: &'static str,
    kernel: bool,
}

const CASE: Case = Case {
    name: "default",
    mke2fs: "-t ext4 -b 4096",
    size: "64M",
    block_size: 4096,
    rounds: 3,
    ops: 4000,
    plain: false,
    setup: "",
    kernel: true,
};

/// Directories have the shapes that the features ask for, so that those were tested.
fn assert_shapes(volume: &daxkit_volume::Volume, model: &Model, case: &Case) {
    let (mut hashed, mut inline) = (0, 0);
    for nr in &model.dirs {
        let flags = volume.inode(daxkit_volume::InodeNr(*nr)).expect("there").flags();
        hashed += usize::from(flags.contains(InodeFlags::INDEX));
        inline += usize::from(flags.contains(InodeFlags::INLINE_DATA));
    }
    let whole = case.mke2fs.contains("^dir_index") || case.mke2fs.contains("ext2") || case.block_size > 4096;
    assert!(hashed > 0 || whole, "{}: no hashed directory", case.name);
    assert_eq!(inline > 20, case.mke2fs.contains("inline_data"), "{}: {inline} inline directories", case.name);
}

/// Random operations; each must answer what the model predicts, and one that fails must change nothing.
fn random(case: &Case, seed: u64) {
    println!("{}: seed {seed}", case.name);
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), case.name, case.mke2fs, None, case.size);
    if !case.setup.is_empty() {
        common::debugfs_write(&image, case.setup);
    }
    let mut session = Session::open(&image);
    let mut model = Model::new(case.block_size);
    adopt(&session.volume, &mut model);
    let mut script = Script { rng: Rng(seed), growth: 75, plain: case.plain, max_name: 255 };
    let (mut done, mut failed) = (0, 0);
    for round in 0..case.rounds {
        script.growth = [75, 50, 30][round % 3];
        for n in 0..case.ops {
            let op = script.next(&model);
            let expected = model.predict(&op);
            let before = (expected.is_err() && n % 16 == 0).then(|| session.state());
            let result = session.apply(&op);
            let answer = result.as_ref().map(|_| ()).map_err(|e| e.errno());
            assert_eq!(answer, expected, "{} seed {seed}, round {round}, {n}: {op:?}: {result:?}", case.name);
            match result {
                Ok(made) => {
                    model.apply(&op, made);
                    done += 1;
                }
                Err(_) => {
                    failed += 1;
                    if let Some(before) = before {
                        assert_eq!(session.state(), before, "{op:?} failed, and changed something");
                    }
                }
            }
        }
        if round == 0 {
            assert_shapes(&session.volume, &model, case);
        }
        let what = format!("{} seed {seed}, round {round}", case.name);
        assert_same(&session.volume, &model, &what);
        session.commit();
        assert_clean(&image);
        assert_same(&session.volume, &model, &what);
    }
    assert!(done > case.ops && failed > case.ops / 20, "{done} done, {failed} failed");
    let Session { volume, device, .. } = session;
    drop(device);
    if case.kernel {
        // Quotas it may not be able to keep, so it only reads.
        assert_kernel_agrees(&image, &volume, "ro");
    }
    drop(volume);
    assert_clean(&image);
}

/// The kernel answers every operation as we do, and leaves the same tree, down to the flags and sizes of directories.
fn beside_the_kernel(mke2fs: &str, block_size: usize, ops: usize, seed: u64) {
    println!("{mke2fs}: seed {seed}");
    let dir = common::scratch();
    let image = session::mke2fs(dir.path(), "ours", mke2fs, None, "64M");
    let theirs = dir.path().join("theirs");
    common::copy(&image, &theirs);
    let mut session = Session::open(&image);
    let mut model = Model::new(block_size);
    adopt(&session.volume, &mut model);
    let mut script = Script { rng: Rng(seed), growth: 60, plain: false, max_name: 255 };
    {
        let mount = common::Mount::new(&theirs, &dir.path().join("mnt"), "");
        let kernel = kernel::Kernel::new(&mount.path);
        for n in 0..ops {
            let mut op = script.next(&model);
            if let model::Op::Make { uid, gid, .. } = &mut op {
                (*uid, *gid) = (0, 0);
            }
            let result = session.apply(&op);
            let answer = result.as_ref().map(|_| ()).map_err(|e| e.errno().number());
            assert_eq!(
                answer,
                kernel.apply(&model, &op),
                "{mke2fs} seed {seed}, {n}: {op:?}: {result:?} (ours, the kernel's)"
            );
            if let Ok(made) = result {
                model.apply(&op, made);
            }
        }
    }
    session.commit();
    assert_clean(&image);
    let (ours, kernels) = (&session.volume, common::open(&theirs));
    tree::assert_same(&tree::of_volume(ours), &tree::of_volume(&kernels), mke2fs, |_| false, false);
    let mut hashed = 0;
    for path in model.listing().keys() {
        let [a, b] = [ours, &kernels].map(|v| v.resolve(&[b"/", path.as_slice()].concat(), false).expect("there"));
        let what = format!("{mke2fs} seed {seed}: /{}", path.escape_ascii());
        // Targets that mke2fs and debugfs keep in the inode Linux puts into a block.
        if !a.is_symlink() {
            assert_eq!(a.flags(), b.flags(), "{what}");
        }
        assert_eq!(a.i_extra_isize.get(), b.i_extra_isize.get(), "{what}");
        if a.is_dir() {
            assert_eq!(a.size(), b.size(), "{what}");
            hashed += usize::from(a.flags().bits() & 0x1000 != 0);
        }
    }
    assert!(hashed > 1 || mke2fs.contains("^dir_index"), "{hashed} hashed directories");
}

#[test]
fn the_kernel_answers_as_we_do() {
    for (n, (mke2fs, block_size)) in [
        ("-t ext4 -b 1024", 1024),
        ("-t ext4 -b 4096", 4096),
        ("-t ext3 -b 1024 -I 128", 1024),
        ("-t ext4 -b 1024 -O ^dir_index", 1024),
        ("-t ext4 -b 1024 -O inline_data", 1024),
        ("-t ext4 -b 1024 -O inline_data -I 1024", 1024),
        ("-t ext4 -b 2048 -O ^metadata_csum", 2048),
    ]
    .into_iter()
    .enumerate()
    {
        beside_the_kernel(mke2fs, block_size, 2500, 77 + n as u64);
    }
}

macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        $(#[test]
        fn $name() {
            random(&Case { name: stringify!($name), ..$case }, 0x9e37_79b9_7f4a_7c15 ^ stringify!($name).len() as u64);
        })*
    };
}

cases! {
    default_image: CASE;
    small_blocks: Case { mke2fs: "-t ext4 -b 1024", block_size: 1024, ops: 8000, ..CASE };
    without_index: Case { mke2fs: "-t ext4 -b 1024 -O ^dir_index", block_size: 1024, ops: 1500, ..CASE };
    without_checksums: Case { mke2fs: "-t ext4 -b 1024 -O ^metadata_csum,^64bit,uninit_bg", block_size: 1024, ..CASE };
    without_types: Case { mke2fs: "-t ext4 -b 1024 -O ^filetype", block_size: 1024, ..CASE };
    large_dir: Case { mke2fs: "-t ext4 -b 1024 -O large_dir", block_size: 1024, ..CASE };
    ext2: Case { mke2fs: "-t ext2 -b 1024", block_size: 1024, ..CASE };
    ext3: Case { mke2fs: "-t ext3 -b 2048 -I 128", block_size: 2048, ..CASE };
    orphan_file: Case { mke2fs: "-t ext4 -b 4096 -O orphan_file", ..CASE };
    bigalloc: Case { mke2fs: "-t ext4 -b 4096 -O bigalloc -C 16384", ops: 2500, ..CASE };
    big_blocks: Case { mke2fs: "-t ext4 -b 65536", block_size: 65536, size: "256M", kernel: false, ..CASE };
    inline_data: Case { mke2fs: "-t ext4 -b 1024 -O inline_data -I 256", block_size: 1024, ..CASE };
    inline_data_wide: Case { mke2fs: "-t ext4 -b 4096 -O inline_data -I 1024", ..CASE };
    quota: Case { mke2fs: "-t ext4 -b 4096 -O quota,project -E quotatype=usrquota:grpquota:prjquota", ..CASE };
    casefold: Case {
        mke2fs: "-t ext4 -b 1024 -O casefold -E encoding=utf8",
        block_size: 1024,
        plain: true,
        setup: "mkdir folded\nset_inode_field folded flags 0x40080000\nmkdir also\nset_inode_field also flags 0x40080000\n",
        kernel: kernel_has("casefold"),
        ..CASE
    };
}
