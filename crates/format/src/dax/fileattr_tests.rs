//! Tests of the generic half of the set calls: one row per check, in their order.

use super::*;

fn fsx(xflags: XFlags) -> SetCall {
    SetCall::FsSetXattr { xflags, extsize: 0, cowextsize: 0, projid: 0 }
}

#[test]
fn the_bits_of_user_space() {
    for (flag, bits) in [
        (XFlags::REALTIME, 1),
        (XFlags::PREALLOC, 2),
        (XFlags::IMMUTABLE, 8),
        (XFlags::APPEND, 0x10),
        (XFlags::SYNC, 0x20),
        (XFlags::NOATIME, 0x40),
        (XFlags::NODUMP, 0x80),
        (XFlags::RTINHERIT, 0x100),
        (XFlags::PROJINHERIT, 0x200),
        (XFlags::NOSYMLINKS, 0x400),
        (XFlags::EXTSIZE, 0x800),
        (XFlags::EXTSZINHERIT, 0x1000),
        (XFlags::NODEFRAG, 0x2000),
        (XFlags::FILESTREAM, 0x4000),
        (XFlags::DAX, 0x8000),
        (XFlags::COWEXTSIZE, 0x10000),
        (XFlags::HASATTR, 0x8000_0000),
    ] {
        assert_eq!(flag.bits(), bits);
    }
    assert_eq!(InodeFlags::DAX.bits(), 0x0200_0000);
    assert_eq!(to_flags(XFlags::all()), COMMON_FL);
    assert_eq!(to_xflags(InodeFlags::all()), XFlags::COMMON);
}

#[test]
fn both_calls_overwrite_the_dax_bit_and_keep_what_they_do_not_carry() {
    let old = FileAttr::from_flags(InodeFlags::DAX | InodeFlags::TOPDIR | InodeFlags::SYNC, 5);
    // FSSETXATTR without the bit clears it; the FL bits it cannot carry stay.
    let new = set(&fsx(XFlags::NODUMP), &Caller::ROOT, FileKind::Directory, &old).unwrap();
    assert_eq!(new.flags, InodeFlags::NODUMP | InodeFlags::TOPDIR);
    assert_eq!((new.xflags, new.projid), (XFlags::NODUMP, 0));
    // So does SETFLAGS; the xflags, hints and project it cannot carry stay.
    let old = FileAttr::from_xflags(XFlags::DAX | XFlags::EXTSIZE | XFlags::HASATTR, 4096, 0, 7);
    let new = set(&SetCall::SetFlags(InodeFlags::NOATIME), &Caller::ROOT, FileKind::Regular, &old).unwrap();
    assert_eq!(new.flags, InodeFlags::NOATIME);
    assert_eq!(new.xflags, XFlags::NOATIME | XFlags::EXTSIZE | XFlags::HASATTR);
    assert_eq!((new.extsize, new.projid), (4096, 7));
    // And each can set it.
    let clean = FileAttr::default();
    for call in [SetCall::SetFlags(InodeFlags::DAX), fsx(XFlags::DAX)] {
        let new = set(&call, &Caller::ROOT, FileKind::Regular, &clean).unwrap();
        assert!(new.flags.contains(InodeFlags::DAX) && new.xflags.contains(XFlags::DAX));
    }
}

#[test]
fn the_checks_before_the_attributes_in_their_order() {
    let mut caller = Caller {
        argument_readable: false,
        mount_writable: false,
        has_method: false,
        owner_or_capable: false,
        ..Caller::ROOT
    };
    type Mend = fn(&mut Caller);
    let steps: [(Errno, Mend); 4] = [
        (Errno::EFAULT, |c| c.argument_readable = true),
        (Errno::EROFS, |c| c.mount_writable = true),
        (Errno::ENOTTY, |c| c.has_method = true),
        (Errno::EPERM, |c| c.owner_or_capable = true),
    ];
    let ask = |c: &Caller| set(&fsx(XFlags::DAX), c, FileKind::Symlink, &FileAttr::default());
    for (errno, mend) in steps {
        assert_eq!(ask(&caller), Err(errno));
        mend(&mut caller);
    }
    assert_eq!(ask(&caller), Err(Errno::EINVAL));
}

#[test]
fn the_checks_of_the_attributes() {
    use FileKind::{Directory, Regular, Special, Symlink};
    let user = Caller { cap_linux_immutable: false, ..Caller::ROOT };
    let inside = Caller { init_user_ns: false, ..Caller::ROOT };
    let project = |projid| SetCall::FsSetXattr { xflags: XFlags::empty(), extsize: 0, cowextsize: 0, projid };
    let hint = |xflags| SetCall::FsSetXattr { xflags, extsize: 4096, cowextsize: 4096, projid: 0 };
    let ok = Ok(());
    let rows = [
        ("immutable needs the capability", fsx(XFlags::IMMUTABLE), user, Regular, Err(Errno::EPERM)),
        ("append needs the capability", SetCall::SetFlags(InodeFlags::APPEND), user, Regular, Err(Errno::EPERM)),
        ("with it both go", fsx(XFlags::IMMUTABLE | XFlags::APPEND), Caller::ROOT, Regular, ok),
        (
            "the capability is looked at first",
            fsx(XFlags::IMMUTABLE | XFlags::EXTSZINHERIT),
            user,
            Regular,
            Err(Errno::EPERM),
        ),
        ("project inside a namespace", project(3), inside, Regular, Err(Errno::EINVAL)),
        ("PROJINHERIT inside a namespace", fsx(XFlags::PROJINHERIT), inside, Directory, Err(Errno::EINVAL)),
        ("neither changes", project(0), inside, Regular, ok),
        ("project outside", project(3), Caller::ROOT, Regular, ok),
        ("invalid project", project(u32::MAX), Caller::ROOT, Regular, Err(Errno::EINVAL)),
        ("EXTSIZE on a file", hint(XFlags::EXTSIZE), Caller::ROOT, Regular, ok),
        ("EXTSIZE on a directory", hint(XFlags::EXTSIZE), Caller::ROOT, Directory, Err(Errno::EINVAL)),
        ("EXTSZINHERIT on a directory", hint(XFlags::EXTSZINHERIT), Caller::ROOT, Directory, ok),
        ("EXTSZINHERIT on a file", hint(XFlags::EXTSZINHERIT), Caller::ROOT, Regular, Err(Errno::EINVAL)),
        ("COWEXTSIZE on both", hint(XFlags::COWEXTSIZE), Caller::ROOT, Directory, ok),
        ("COWEXTSIZE on neither", hint(XFlags::COWEXTSIZE), Caller::ROOT, Special, Err(Errno::EINVAL)),
        ("DAX on a file", fsx(XFlags::DAX), Caller::ROOT, Regular, ok),
        ("DAX on a directory", fsx(XFlags::DAX), Caller::ROOT, Directory, ok),
        ("DAX on a symlink", fsx(XFlags::DAX), Caller::ROOT, Symlink, Err(Errno::EINVAL)),
        ("DAX on a device", SetCall::SetFlags(InodeFlags::DAX), Caller::ROOT, Special, Err(Errno::EINVAL)),
    ];
    for (name, call, caller, kind, expected) in rows {
        assert_eq!(set(&call, &caller, kind, &FileAttr::default()).map(|_| ()), expected, "{name}");
    }
}

#[test]
fn a_hint_of_zero_turns_its_flags_off() {
    let new = set(
        &fsx(XFlags::EXTSIZE | XFlags::COWEXTSIZE | XFlags::DAX),
        &Caller::ROOT,
        FileKind::Regular,
        &FileAttr::default(),
    );
    assert_eq!(new.map(|n| n.xflags), Ok(XFlags::DAX));
}
