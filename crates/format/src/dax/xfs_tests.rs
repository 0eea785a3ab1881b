//! Tests of XFS's rules, one row per row of the tables they implement.

use super::super::fileattr::{Caller, SetCall, set};
use super::super::xfs_flags::PAIRS;
use super::*;
use FileKind::{Directory, Regular, Special, Symlink};

const G: Geometry = Geometry {
    ag_blocks: 1 << 20,
    rt_extent: Some(16),
    v3_inodes: true,
    reflink: true,
    bigtime: true,
    block_size: 4096,
};
const NO_RT: Geometry = Geometry { rt_extent: None, ..G };
const V4: Geometry = Geometry { v3_inodes: false, reflink: false, bigtime: false, ..G };
const CLEAN: Attrs = Attrs { flags: DiFlags::empty(), flags2: DiFlags2::empty(), extsize: 0, cowextsize: 0, projid: 0 };

fn f(flags: DiFlags) -> Attrs {
    Attrs { flags, ..CLEAN }
}

fn f2(flags2: DiFlags2) -> Attrs {
    Attrs { flags2, ..CLEAN }
}

#[test]
fn the_bits_on_disk() {
    assert_eq!(DiFlags2::ANY.bits(), 0x1f);
    assert_eq!(DiFlags2::DAX.bits(), 1);
    assert_eq!((DiFlags::REALTIME.bits(), DiFlags::FILESTREAM.bits()), (1, 0x4000));
    // Every flag survives the way to user space and back on the type that may have it.
    for (x, d) in PAIRS {
        let kind = if to_di_flags(Regular, DiFlags::empty(), x).is_empty() { Directory } else { Regular };
        assert_eq!(to_xflags(d, DiFlags2::empty()), x);
        let back = to_di_flags(kind, DiFlags::empty(), x);
        assert_eq!(back, if d == DiFlags::PREALLOC { DiFlags::empty() } else { d });
    }
    assert_eq!(to_xflags(DiFlags::empty(), DiFlags2::all()), XFlags::DAX | XFlags::COWEXTSIZE);
}

#[test]
fn inheritance_row_by_row() {
    let hint = |flags, extsize| Attrs { extsize, ..f(flags) };
    let cow = |cowextsize| Attrs { cowextsize, ..f2(DiFlags2::COWEXTSIZE) };
    let project = Attrs { projid: 7, ..f(DiFlags::PROJINHERIT) };
    let rows = [
        ("RTINHERIT", G, f(DiFlags::RTINHERIT), f(DiFlags::RTINHERIT), f(DiFlags::REALTIME)),
        ("RTINHERIT, no realtime device", NO_RT, f(DiFlags::RTINHERIT), f(DiFlags::RTINHERIT), CLEAN),
        ("EXTSZINHERIT", G, hint(DiFlags::EXTSZINHERIT, 8), hint(DiFlags::EXTSZINHERIT, 8), hint(DiFlags::EXTSIZE, 8)),
        ("EXTSZINHERIT, too large", G, hint(DiFlags::EXTSZINHERIT, 1 << 20), CLEAN, CLEAN),
        ("EXTSZINHERIT, zero", G, hint(DiFlags::EXTSZINHERIT, 0), CLEAN, CLEAN),
        (
            "EXTSZINHERIT, not in realtime extents: only the file drops it",
            G,
            hint(DiFlags::EXTSZINHERIT | DiFlags::RTINHERIT, 8),
            hint(DiFlags::EXTSZINHERIT | DiFlags::RTINHERIT, 8),
            f(DiFlags::REALTIME),
        ),
        ("PROJINHERIT", G, project, project, Attrs { projid: 7, ..CLEAN }),
        ("a project alone", G, Attrs { projid: 7, ..CLEAN }, CLEAN, CLEAN),
        ("NOATIME", G, f(DiFlags::NOATIME), f(DiFlags::NOATIME), f(DiFlags::NOATIME)),
        ("NODUMP", G, f(DiFlags::NODUMP), f(DiFlags::NODUMP), f(DiFlags::NODUMP)),
        ("SYNC", G, f(DiFlags::SYNC), f(DiFlags::SYNC), f(DiFlags::SYNC)),
        ("NODEFRAG", G, f(DiFlags::NODEFRAG), f(DiFlags::NODEFRAG), f(DiFlags::NODEFRAG)),
        ("NOSYMLINKS", G, f(DiFlags::NOSYMLINKS), CLEAN, CLEAN),
        ("FILESTREAM", G, f(DiFlags::FILESTREAM), f(DiFlags::FILESTREAM), f(DiFlags::FILESTREAM)),
        ("IMMUTABLE", G, f(DiFlags::IMMUTABLE), CLEAN, CLEAN),
        ("APPEND", G, f(DiFlags::APPEND), CLEAN, CLEAN),
        ("PREALLOC", G, f(DiFlags::PREALLOC), CLEAN, CLEAN),
        ("COWEXTSIZE", G, cow(8), cow(8), cow(8)),
        ("COWEXTSIZE, too large", G, cow(1 << 20), CLEAN, CLEAN),
        ("COWEXTSIZE, no reflink", Geometry { reflink: false, ..G }, cow(8), CLEAN, CLEAN),
        ("DAX", G, f2(DiFlags2::DAX), f2(DiFlags2::DAX), f2(DiFlags2::DAX)),
        ("DAX on version 4", V4, f2(DiFlags2::DAX), CLEAN, CLEAN),
        ("REFLINK", G, f2(DiFlags2::REFLINK), CLEAN, CLEAN),
        ("BIGTIME, NREXT64", G, f2(DiFlags2::BIGTIME | DiFlags2::NREXT64), CLEAN, CLEAN),
    ];
    for (name, g, parent, dir, file) in rows {
        let of = |kind| inherited(&g, &Sysctls::default(), kind, &parent);
        assert_eq!(of(Directory), dir, "{name}: directory");
        assert_eq!(of(Regular), file, "{name}: file");
        for kind in [Symlink, Special] {
            assert_eq!(of(kind), Attrs { projid: file.projid, ..CLEAN }, "{name}: {kind:?}");
        }
    }
}

#[test]
fn the_sysctls() {
    let all = DiFlags::NOATIME | DiFlags::NODUMP | DiFlags::SYNC | DiFlags::NODEFRAG | DiFlags::NOSYMLINKS;
    let off = Sysctls {
        inherit_noatime: false,
        inherit_nodump: false,
        inherit_sync: false,
        inherit_nodefrag: false,
        inherit_nosymlinks: false,
    };
    let of = |s: Sysctls| inherited(&G, &s, Regular, &f(all)).flags;
    assert_eq!(of(off), DiFlags::empty());
    assert_eq!(of(Sysctls { inherit_nosymlinks: true, ..Sysctls::default() }), all);
    for (sysctls, flag) in [
        (Sysctls { inherit_noatime: true, ..off }, DiFlags::NOATIME),
        (Sysctls { inherit_nodump: true, ..off }, DiFlags::NODUMP),
        (Sysctls { inherit_sync: true, ..off }, DiFlags::SYNC),
        (Sysctls { inherit_nodefrag: true, ..off }, DiFlags::NODEFRAG),
        (Sysctls { inherit_nosymlinks: true, ..off }, DiFlags::NOSYMLINKS),
    ] {
        assert_eq!(of(sysctls), flag);
    }
}

#[test]
fn the_verifier() {
    let no_reflink = Geometry { reflink: false, ..G };
    let rows = [
        ("DAX on a file", G, Regular, f2(DiFlags2::DAX), Ok(())),
        ("DAX on a device: accepted", G, Special, f2(DiFlags2::DAX), Ok(())),
        ("REFLINK without the feature", no_reflink, Regular, f2(DiFlags2::REFLINK), Err(BadFlags::NoReflink)),
        ("COWEXTSIZE without the feature", no_reflink, Regular, f2(DiFlags2::COWEXTSIZE), Err(BadFlags::NoReflink)),
        ("REFLINK on a directory", G, Directory, f2(DiFlags2::REFLINK), Err(BadFlags::ReflinkKind)),
        (
            "REFLINK and REALTIME",
            G,
            Regular,
            Attrs { flags: DiFlags::REALTIME, ..f2(DiFlags2::REFLINK) },
            Err(BadFlags::ReflinkRealtime),
        ),
        ("a hint without its flag", G, Regular, Attrs { extsize: 4, ..CLEAN }, Err(BadFlags::Extsize)),
        ("a flag without its hint", G, Regular, f(DiFlags::EXTSIZE), Err(BadFlags::Extsize)),
        ("COWEXTSIZE without its hint", G, Regular, f2(DiFlags2::COWEXTSIZE), Err(BadFlags::Cowextsize)),
        (
            "BIGTIME without the feature",
            Geometry { bigtime: false, ..G },
            Regular,
            f2(DiFlags2::BIGTIME),
            Err(BadFlags::NoBigtime),
        ),
        ("version 4 has no second flags", V4, Regular, f2(DiFlags2::REFLINK), Ok(())),
    ];
    for (name, g, kind, attrs, expected) in rows {
        assert_eq!(verify(&g, kind, &attrs), expected, "{name}");
    }
    assert!(scrub_minds_dax(Special, DiFlags2::DAX) && scrub_minds_dax(Symlink, DiFlags2::DAX));
    assert!(!scrub_minds_dax(Directory, DiFlags2::DAX) && !scrub_minds_dax(Special, DiFlags2::REFLINK));
}

fn target(kind: FileKind, attrs: Attrs) -> SetTarget {
    SetTarget {
        kind,
        attrs,
        s_dax: false,
        has_extents: false,
        geometry: G,
        mode: DaxMode::Inode,
        data_dax: true,
        rt_dax: true,
        read_only: false,
        shutdown: false,
    }
}

/// A whole FSSETXATTR call, both halves.
fn call(t: &SetTarget, xflags: XFlags, kernel: Kernel) -> SetOutcome {
    let old = FileAttr::from_xflags(to_xflags(t.attrs.flags, t.attrs.flags2), 0, 0, 0);
    let call = SetCall::FsSetXattr { xflags, extsize: 0, cowextsize: 0, projid: 0 };
    let failed =
        |errno| SetOutcome { result: Err(errno), flags: t.attrs.flags, flags2: t.attrs.flags2, dontcache: false };
    set(&call, &Caller::ROOT, t.kind, &old).map_or_else(failed, |attr| fileattr_set(t, &attr, call.is_fsx(), kernel))
}

#[test]
fn set_calls() {
    let t = target(Regular, CLEAN);
    let new = Kernel::LATEST;
    let einval = Err(Errno::EINVAL);
    let reflink = target(Regular, f2(DiFlags2::REFLINK));
    let rt = XFlags::REALTIME;
    let s_dax = SetTarget { s_dax: true, ..t };
    let v4 = SetTarget { geometry: V4, ..t };
    let rows = [
        ("DAX on a file", t, XFlags::DAX, new, Ok(())),
        ("DAX on a directory", target(Directory, CLEAN), XFlags::DAX, new, Ok(())),
        ("DAX where no device can", SetTarget { data_dax: false, ..t }, XFlags::DAX, new, Ok(())),
        ("DAX on a device: refused before XFS is asked", target(Special, CLEAN), XFlags::DAX, new, einval),
        ("anything on a device", target(Special, CLEAN), XFlags::NODUMP, new, Err(Errno::ENOTTY)),
        ("read-only", SetTarget { read_only: true, shutdown: true, ..t }, XFlags::DAX, new, Err(Errno::EROFS)),
        ("shut down", SetTarget { shutdown: true, ..t }, XFlags::DAX, new, Err(Errno::EIO)),
        ("REALTIME on an empty file", t, rt, new, Ok(())),
        ("REALTIME on a file with data", SetTarget { has_extents: true, ..t }, rt, new, einval),
        ("REALTIME, S_DAX, both devices can", s_dax, rt, new, Ok(())),
        ("REALTIME, S_DAX, one cannot", SetTarget { rt_dax: false, ..s_dax }, rt, new, einval),
        ("REALTIME without the device", SetTarget { geometry: NO_RT, ..t }, rt, new, einval),
        ("DAX on version 4", v4, XFlags::DAX, new, einval),
        ("something else on version 4", v4, XFlags::NODUMP, new, Ok(())),
        ("DAX on a reflinked file, 6.1", reflink, XFlags::DAX, Kernel(6, 1), einval),
        ("DAX on a reflinked file, 6.2", reflink, XFlags::DAX, Kernel(6, 2), Ok(())),
        ("something else on a reflinked file, 6.1", reflink, XFlags::NODUMP, Kernel(6, 1), Ok(())),
    ];
    for (name, t, xflags, kernel, expected) in rows {
        let out = call(&t, xflags, kernel);
        assert_eq!(out.result, expected, "{name}");
        if expected.is_err() {
            assert_eq!((out.flags, out.flags2), (t.attrs.flags, t.attrs.flags2), "{name}");
        } else {
            assert_eq!(out.flags2.contains(DiFlags2::DAX), xflags.contains(XFlags::DAX), "{name}");
        }
    }
    // Reflink survives every call but one that moves the file to the realtime device.
    assert_eq!(call(&reflink, XFlags::DAX, new).flags2, DiFlags2::REFLINK | DiFlags2::DAX);
    assert_eq!(call(&reflink, rt, new).flags2, DiFlags2::empty());
}

#[test]
fn setflags_carries_few_flags() {
    let t = target(Regular, CLEAN);
    let ask = |flags| fileattr_set(&t, &FileAttr::from_flags(flags, 0), false, Kernel::LATEST);
    assert_eq!(ask(InodeFlags::DAX | InodeFlags::SYNC).flags2, DiFlags2::DAX);
    for flags in [InodeFlags::EXTENTS, InodeFlags::JOURNAL_DATA, InodeFlags::DAX | InodeFlags::CASEFOLD] {
        assert_eq!(ask(flags).result, Err(Errno::EOPNOTSUPP));
        assert!(!ask(flags).dontcache);
    }
}

#[test]
fn who_is_not_cached_any_more() {
    let t = target(Regular, CLEAN);
    for (name, t, xflags, expected) in [
        ("it toggles", t, XFlags::DAX, true),
        ("it goes", target(Regular, f2(DiFlags2::DAX)), XFlags::empty(), true),
        ("it stays", target(Regular, f2(DiFlags2::DAX)), XFlags::DAX, false),
        ("another toggles", t, XFlags::SYNC, false),
        ("a directory", target(Directory, CLEAN), XFlags::DAX, false),
        ("dax=always", SetTarget { mode: DaxMode::Always, ..t }, XFlags::DAX, false),
        ("dax=never", SetTarget { mode: DaxMode::Never, ..t }, XFlags::DAX, false),
        ("a call that then fails", SetTarget { read_only: true, ..t }, XFlags::DAX, true),
        ("another", SetTarget { geometry: V4, ..t }, XFlags::DAX, true),
    ] {
        assert_eq!(call(&t, xflags, Kernel::LATEST).dontcache, expected, "{name}");
    }
}

#[test]
fn s_dax_row_by_row() {
    let base = DaxInputs {
        config_fs_dax: true,
        mode: DaxMode::Always,
        kind: Regular,
        flags: DiFlags::empty(),
        flags2: DiFlags2::DAX,
        block_size: 4096,
        page_size: 4096,
        data_dax: true,
        rt_dax: true,
        kernel: Kernel(6, 1),
    };
    let inode = DaxInputs { mode: DaxMode::Inode, ..base };
    let none = DiFlags2::empty();
    let reflink = DiFlags2::DAX | DiFlags2::REFLINK;
    let rt = DiFlags::REALTIME;
    use DaxReason::*;
    let rows = [
        ("1 not built", DaxInputs { config_fs_dax: false, ..base }, 1, NotBuilt, false),
        ("1 dax=never", DaxInputs { mode: DaxMode::Never, kind: Directory, ..base }, 1, MountNever, false),
        ("2 not a regular file", DaxInputs { kind: Directory, flags2: reflink, ..base }, 2, NotRegular, false),
        ("3 reflink up to 6.1", DaxInputs { flags2: reflink, block_size: 1024, ..base }, 3, Reflink, false),
        ("3 not since 6.2", DaxInputs { flags2: reflink, kernel: Kernel(6, 2), ..inode }, 7, FlagSet, true),
        ("4 block size", DaxInputs { block_size: 1024, data_dax: false, ..base }, 4, BlockSize, false),
        ("5 data device", DaxInputs { data_dax: false, ..base }, 5, Device, false),
        ("5 realtime device", DaxInputs { flags: rt, rt_dax: false, ..base }, 5, Device, false),
        ("5 the other device is no matter", DaxInputs { flags: rt, data_dax: false, ..base }, 6, MountAlways, true),
        ("6 dax=always without the flag", DaxInputs { flags2: none, ..base }, 6, MountAlways, true),
        ("7 the flag", inode, 7, FlagSet, true),
        ("7 no flag", DaxInputs { flags2: none, ..inode }, 7, FlagClear, false),
    ];
    for (name, inputs, row, reason, s_dax) in rows {
        assert_eq!(should_enable_dax(&inputs), DaxDecision { s_dax, row, reason }, "{name}");
    }
}

#[test]
fn mount_and_remount() {
    let base = MountInputs {
        option: Some(DaxMode::Always),
        data_dax: true,
        rt_dax: false,
        block_size: 4096,
        page_size: 4096,
        reflink: false,
        partition: false,
        kernel: Kernel::LATEST,
    };
    let good = |mode, shown| Ok(Mounted { mode, shown, turned_off: None });
    let off = |reason| Ok(Mounted { mode: DaxMode::Never, shown: Some(DaxMode::Never), turned_off: Some(reason) });
    let always = good(DaxMode::Always, Some(DaxMode::Always));
    let reflink = MountInputs { reflink: true, ..base };
    let none = MountInputs { data_dax: false, ..base };
    let rows = [
        ("dax=always", base, always),
        ("no option", MountInputs { option: None, ..base }, good(DaxMode::Inode, None)),
        ("dax=inode shows nothing", MountInputs { option: Some(DaxMode::Inode), ..none }, good(DaxMode::Inode, None)),
        ("dax=never", MountInputs { option: Some(DaxMode::Never), ..none }, good(DaxMode::Never, Some(DaxMode::Never))),
        ("no device: never", none, off(DaxReason::Device)),
        ("only the realtime device", MountInputs { rt_dax: true, ..none }, always),
        ("block size: never", MountInputs { block_size: 1024, ..base }, off(DaxReason::BlockSize)),
        ("reflink before 6.0", MountInputs { kernel: Kernel(5, 19), ..reflink }, Err(Errno::EINVAL)),
        (
            "refused though it is off, until 5.16",
            MountInputs { kernel: Kernel(5, 16), data_dax: false, ..reflink },
            Err(Errno::EINVAL),
        ),
        (
            "turned off before reflink counts, since 5.17",
            MountInputs { kernel: Kernel(5, 17), data_dax: false, ..reflink },
            off(DaxReason::Device),
        ),
        ("reflink since 6.0", MountInputs { kernel: Kernel(6, 0), ..reflink }, always),
        ("reflink on a partition", MountInputs { partition: true, ..reflink }, Err(Errno::EINVAL)),
        ("a partition without reflink", MountInputs { partition: true, ..base }, always),
        (
            "turned off before the partition counts",
            MountInputs { partition: true, data_dax: false, ..reflink },
            off(DaxReason::Device),
        ),
    ];
    for (name, inputs, expected) in rows {
        assert_eq!(mount(&inputs), expected, "{name}");
        if let Ok(mounted) = expected {
            assert_eq!(remount(&mounted, Some(DaxMode::Always)), mounted.mode, "{name}");
        }
    }
}

#[test]
fn links_and_shared_blocks() {
    let dir = Attrs { projid: 3, ..f(DiFlags::PROJINHERIT) };
    assert_eq!(enter_directory(&dir, 3), Ok(()));
    assert_eq!(enter_directory(&dir, 4), Err(Errno::EXDEV));
    assert_eq!(enter_directory(&Attrs { projid: 3, ..CLEAN }, 4), Ok(()));
    assert_eq!((remap(true, true), remap(false, false)), (Ok(()), Ok(())));
    assert_eq!((remap(true, false), remap(false, true)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
}
