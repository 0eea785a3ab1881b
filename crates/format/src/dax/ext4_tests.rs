//! Tests of ext4's rules, one row per row of the tables they implement.

use super::super::fileattr::{Caller, SetCall, set};
use super::*;
use FileKind::{Directory, Regular, Special, Symlink};

type F = InodeFlags;

const CLEAN: F = F::empty();

#[test]
fn the_masks_are_the_kernels_numbers() {
    for (name, mask, bits) in [
        ("EXT4_DAX_FL", F::DAX, 0x0200_0000),
        ("EXT4_FL_INHERITED", INHERITED, 0x6201_C4CF),
        ("EXT4_REG_FLMASK", REG_FLMASK, 0x9FFC_FFFF),
        ("EXT4_OTHER_FLMASK", OTHER_FLMASK, 0x0000_00C0),
        ("EXT4_FL_USER_MODIFIABLE", USER_MODIFIABLE, 0x624B_C0FF),
        ("EXT4_FL_USER_VISIBLE", USER_VISIBLE, 0x725B_DFFF),
        ("EXT4_DAX_MUT_EXCL", DAX_MUT_EXCL, 0x1010_4800),
    ] {
        assert_eq!(mask.bits(), bits, "{name}");
    }
}

#[test]
fn what_a_child_inherits() {
    for (kind, bits) in [(Directory, 0x6201_C4CF), (Regular, 0x0200_C4CF), (Symlink, 0xC0), (Special, 0xC0)] {
        assert_eq!(inherited(kind, F::all()).bits(), bits, "{kind:?}");
        assert_eq!(inherited(kind, CLEAN), CLEAN);
        assert_eq!(inherited(kind, F::DAX).contains(F::DAX), kind.can_hold_dax());
    }
}

#[test]
fn creation() {
    let c = Creation { kind: Regular, parent: F::DAX, encrypt: false, extents: true, inline_data: true };
    let made = |at_decision, flags, may_inline| Ok(Created { at_decision, flags, may_inline });
    let e = F::EXTENTS;
    let rows = [
        ("a file gets the flag and never becomes inline", c, made(F::DAX, F::DAX | e, false)),
        ("a directory may be inline with it", Creation { kind: Directory, ..c }, made(F::DAX, F::DAX | e, true)),
        ("a symlink gets extents but no flag", Creation { kind: Symlink, ..c }, made(CLEAN, e, true)),
        ("a device gets neither", Creation { kind: Special, ..c }, made(CLEAN, CLEAN, true)),
        ("without the flag a file may be inline", Creation { parent: CLEAN, ..c }, made(CLEAN, e, true)),
        ("without the feature nothing is", Creation { parent: CLEAN, inline_data: false, ..c }, made(CLEAN, e, false)),
        ("without extents", Creation { extents: false, ..c }, made(F::DAX, F::DAX, false)),
        (
            "encrypted: known before S_DAX is decided",
            Creation { parent: CLEAN, encrypt: true, ..c },
            made(F::ENCRYPT, F::ENCRYPT | e, false),
        ),
        ("encrypted with the flag", Creation { encrypt: true, ..c }, Err(Errno::EOPNOTSUPP)),
        ("encrypted directory with the flag", Creation { kind: Directory, encrypt: true, ..c }, Err(Errno::EOPNOTSUPP)),
        (
            "encrypted symlink: no flag to be in the way",
            Creation { kind: Symlink, encrypt: true, ..c },
            made(F::ENCRYPT, F::ENCRYPT | e, false),
        ),
    ];
    for (name, creation, expected) in rows {
        assert_eq!(create(&creation), expected, "{name}");
    }
}

fn target(kind: FileKind, flags: F) -> SetTarget {
    SetTarget {
        kind,
        flags,
        projid: 0,
        s_dax: false,
        verity_in_progress: false,
        quota_file: false,
        has_entries: false,
        cap_sys_resource: true,
        has_journal: true,
        casefold: true,
        project: true,
        mode: DaxMode::Inode,
    }
}

/// A whole SETFLAGS call, both halves.
fn call(t: &SetTarget, flags: F) -> SetOutcome {
    let old = fileattr_get(t.kind, t.flags, t.projid);
    match set(&SetCall::SetFlags(flags), &Caller::ROOT, t.kind, &old) {
        Ok(attr) => fileattr_set(t, &attr),
        Err(errno) => SetOutcome { result: Err(errno), flags: t.flags, dontcache: false, migrate: None },
    }
}

#[test]
fn exclusions_and_their_numbers() {
    let t = target(Regular, CLEAN);
    let with = |flags| target(Regular, flags);
    let no = Err(Errno::EOPNOTSUPP);
    let rows = [
        ("set on a clean file", t, F::DAX, Ok(())),
        ("set on a verity file", with(F::VERITY), F::DAX, no),
        ("set on an encrypted file", with(F::ENCRYPT), F::DAX, no),
        ("set on a journalled file", with(F::JOURNAL_DATA), F::JOURNAL_DATA | F::DAX, no),
        ("set while journalling goes away", with(F::JOURNAL_DATA), F::DAX, no),
        ("set on an inline file", with(F::INLINE_DATA), F::DAX, no),
        ("set while verity is being enabled", SetTarget { verity_in_progress: true, ..t }, F::DAX, no),
        ("verity in progress is no matter otherwise", SetTarget { verity_in_progress: true, ..t }, F::SYNC, Ok(())),
        ("journal a file with the flag", with(F::DAX), F::DAX | F::JOURNAL_DATA, no),
        ("journal while the flag goes away", with(F::DAX), F::JOURNAL_DATA, no),
        ("both at once on a clean file", t, F::DAX | F::JOURNAL_DATA, Ok(())),
        ("a file with both: keep both", with(F::DAX | F::JOURNAL_DATA), F::DAX | F::JOURNAL_DATA, no),
        ("a file with both: keep one", with(F::DAX | F::JOURNAL_DATA), F::DAX, no),
        ("a file with both: keep the other", with(F::DAX | F::JOURNAL_DATA), F::JOURNAL_DATA, no),
        ("a file with both: clear both", with(F::DAX | F::JOURNAL_DATA), CLEAN, Ok(())),
        ("an inline directory", target(Directory, F::INLINE_DATA), F::DAX, Ok(())),
        ("an inline directory that has it", target(Directory, F::INLINE_DATA | F::DAX), F::DAX, Ok(())),
        ("an encrypted directory", target(Directory, F::ENCRYPT), F::DAX, no),
        (
            "journal without the capability",
            SetTarget { cap_sys_resource: false, ..with(F::DAX) },
            F::DAX | F::JOURNAL_DATA,
            Err(Errno::EPERM),
        ),
        ("clear the flag", with(F::DAX), CLEAN, Ok(())),
    ];
    for (name, t, flags, expected) in rows {
        let out = call(&t, flags);
        assert_eq!(out.result, expected, "{name}");
        if expected.is_err() {
            assert_eq!((out.flags, out.dontcache), (t.flags, false), "{name}");
        }
    }
    assert_eq!(call(&t, F::DAX | F::JOURNAL_DATA).flags, F::DAX | F::JOURNAL_DATA);
}

#[test]
fn busy_comes_after_the_other_flags_are_committed() {
    let t = SetTarget { s_dax: true, ..target(Regular, CLEAN) };
    let out = call(&t, F::JOURNAL_DATA | F::NOATIME | F::DAX);
    assert_eq!(out.result, Err(Errno::EBUSY));
    assert_eq!(out.flags, F::NOATIME | F::DAX);
    assert!(out.dontcache);
    // Without a journal the bit stays as it is, and the call succeeds.
    let out = call(&SetTarget { has_journal: false, ..target(Regular, CLEAN) }, F::JOURNAL_DATA);
    assert_eq!((out.result, out.flags), (Ok(()), CLEAN));
}

#[test]
fn the_other_checks_in_their_order() {
    let t = target(Regular, CLEAN);
    let rows = [
        ("a bit nobody sees", t, F::EA_INODE, Err(Errno::EOPNOTSUPP)),
        ("a bit seen but not settable is dropped", t, F::INDEX | F::SYNC, Ok(())),
        ("a directory's bit on a file", t, F::TOPDIR, Err(Errno::EOPNOTSUPP)),
        ("a file's bit on a symlink", target(Symlink, CLEAN), F::SYNC, Err(Errno::EOPNOTSUPP)),
        ("a symlink's own", target(Symlink, CLEAN), F::NOATIME, Ok(())),
        ("immutable stays alone", target(Regular, F::IMMUTABLE), F::IMMUTABLE | F::DAX, Err(Errno::EPERM)),
        ("immutable again", target(Regular, F::IMMUTABLE), F::IMMUTABLE, Ok(())),
        ("immutable goes, another comes", target(Regular, F::IMMUTABLE), F::DAX, Ok(())),
        (
            "immutable and hashed refuses all",
            target(Directory, F::IMMUTABLE | F::INDEX),
            F::IMMUTABLE | F::INDEX,
            Err(Errno::EPERM),
        ),
        ("quota file", SetTarget { quota_file: true, ..t }, F::DAX, Err(Errno::EPERM)),
        (
            "quota is looked at before DAX",
            SetTarget { quota_file: true, ..target(Regular, F::ENCRYPT) },
            F::DAX,
            Err(Errno::EPERM),
        ),
        (
            "casefold without the feature",
            SetTarget { casefold: false, ..target(Directory, CLEAN) },
            F::CASEFOLD,
            Err(Errno::EOPNOTSUPP),
        ),
        (
            "casefold of a full directory",
            SetTarget { has_entries: true, ..target(Directory, CLEAN) },
            F::CASEFOLD,
            Err(Errno::ENOTEMPTY),
        ),
        ("casefold of an empty one", target(Directory, CLEAN), F::CASEFOLD, Ok(())),
        // A regular file never may have it, so it can only lose it.
        ("casefold of a file", target(Regular, F::CASEFOLD), CLEAN, Err(Errno::ENOTDIR)),
        ("DAX on a symlink ends in the generic half", target(Symlink, CLEAN), F::DAX, Err(Errno::EINVAL)),
    ];
    for (name, t, flags, expected) in rows {
        assert_eq!(call(&t, flags).result, expected, "{name}");
    }
    let project = SetTarget { projid: 4, ..target(Regular, F::IMMUTABLE) };
    let attr = FileAttr::from_flags(F::IMMUTABLE, 5);
    assert_eq!(fileattr_set(&project, &attr).result, Err(Errno::EPERM));
    assert_eq!(fileattr_set(&SetTarget { project: false, ..project }, &attr).result, Ok(()));
}

#[test]
fn what_a_set_call_changes() {
    let t = target(Regular, F::EXTENTS | F::HUGE_FILE | F::NODUMP);
    let out = call(&t, F::EXTENTS | F::DAX);
    assert_eq!(
        out,
        SetOutcome { result: Ok(()), flags: F::EXTENTS | F::HUGE_FILE | F::DAX, dontcache: true, migrate: None }
    );
    let out = call(&t, F::NODUMP);
    assert_eq!((out.flags, out.dontcache, out.migrate), (t.flags, false, Some(false)));
    assert_eq!(call(&target(Regular, CLEAN), F::EXTENTS).migrate, Some(true));
    assert_eq!(ignored_xflags(XFlags::REALTIME | XFlags::EXTSIZE | XFlags::DAX), XFlags::REALTIME | XFlags::EXTSIZE);
    // PROJINHERIT is hidden on files, so that what a get call reports can be set again.
    assert_eq!(fileattr_get(Regular, F::PROJINHERIT | F::EA_INODE | F::DAX, 1).flags, F::DAX);
}

#[test]
fn who_is_not_cached_any_more() {
    let t = target(Regular, CLEAN);
    for (name, t, flags, expected) in [
        ("it toggles", t, F::DAX, true),
        ("it stays", target(Regular, F::DAX), F::DAX, false),
        ("another toggles", t, F::SYNC, false),
        ("a directory", target(Directory, CLEAN), F::DAX, false),
        ("dax=always", SetTarget { mode: DaxMode::Always, ..t }, F::DAX, false),
        ("dax=never", SetTarget { mode: DaxMode::Never, ..t }, F::DAX, false),
    ] {
        assert_eq!(call(&t, flags).dontcache, expected, "{name}");
    }
}

#[test]
fn verity_encryption_and_moved_extents() {
    assert_eq!(begin_enable_verity(false, CLEAN), Ok(()));
    assert_eq!(begin_enable_verity(true, CLEAN), Err(Errno::EINVAL));
    assert_eq!(begin_enable_verity(false, F::DAX), Err(Errno::EINVAL));
    assert_eq!(set_encryption_context(false, false, CLEAN), Ok(()));
    assert_eq!(set_encryption_context(false, true, F::DAX), Err(Errno::EOPNOTSUPP));
    assert_eq!(set_encryption_context(true, true, F::DAX), Err(Errno::EINVAL));
    assert_eq!(set_encryption_context(true, false, CLEAN), Ok(()));
    assert_eq!(move_extent(true), Err(Errno::EOPNOTSUPP));
    assert_eq!(move_extent(false), Ok(()));
}

#[test]
fn row_3_when_data_is_journalled() {
    let d = JournalInputs::DEFAULT;
    let nodelalloc = JournalInputs { delalloc: false, ..d };
    let journal = JournalInputs { data: DataMode::Journal, delalloc: false, ..d };
    let none = JournalInputs { has_journal: false, ..journal };
    let rows = [
        ("no journal: the bit is nothing", none, Regular, F::JOURNAL_DATA, DataMode::Writeback),
        ("no journal: a directory", none, Directory, CLEAN, DataMode::Writeback),
        ("data=journal", journal, Regular, CLEAN, DataMode::Journal),
        ("data=journal, encrypted", journal, Regular, F::ENCRYPT, DataMode::Ordered),
        ("the bit with delayed allocation", d, Regular, F::JOURNAL_DATA, DataMode::Ordered),
        ("the bit without", nodelalloc, Regular, F::JOURNAL_DATA, DataMode::Journal),
        ("the bit without, encrypted", nodelalloc, Regular, F::JOURNAL_DATA | F::ENCRYPT, DataMode::Ordered),
        ("an attribute's inode", d, Regular, F::EA_INODE, DataMode::Journal),
        ("a directory", d, Directory, CLEAN, DataMode::Journal),
        ("an encrypted directory", d, Directory, F::ENCRYPT, DataMode::Journal),
        ("data=ordered", d, Regular, CLEAN, DataMode::Ordered),
        ("data=writeback", JournalInputs { data: DataMode::Writeback, ..d }, Regular, CLEAN, DataMode::Writeback),
    ];
    for (name, inputs, kind, flags, expected) in rows {
        assert_eq!(journal_mode(&inputs, kind, flags), expected, "{name}");
    }
}

#[test]
fn s_dax_row_by_row() {
    let base = DaxInputs {
        mode: DaxMode::Always,
        kind: Regular,
        flags: F::DAX,
        has_inline_data: false,
        journal: JournalInputs::DEFAULT,
        device: true,
        block_size: 4096,
        page_size: 4096,
    };
    let journal = JournalInputs { data: DataMode::Journal, delalloc: false, has_journal: true };
    let inode = DaxInputs { mode: DaxMode::Inode, ..base };
    use DaxReason::*;
    let rows = [
        ("1 dax=never", DaxInputs { mode: DaxMode::Never, kind: Directory, ..base }, 1, MountNever, false),
        ("2 not a regular file", DaxInputs { kind: Directory, journal, ..base }, 2, NotRegular, false),
        ("3 data journalling", DaxInputs { journal, has_inline_data: true, ..base }, 3, DataJournal, false),
        ("3 not with delayed allocation", DaxInputs { flags: F::DAX | F::JOURNAL_DATA, ..inode }, 9, FlagSet, true),
        ("4 inline data", DaxInputs { has_inline_data: true, flags: F::ENCRYPT, ..base }, 4, InlineData, false),
        ("5 encrypted", DaxInputs { flags: F::ENCRYPT | F::VERITY | F::DAX, ..base }, 5, Encrypted, false),
        ("5 encrypted on data=journal", DaxInputs { journal, flags: F::ENCRYPT, ..base }, 5, Encrypted, false),
        ("6 verity", DaxInputs { flags: F::VERITY | F::DAX, device: false, ..base }, 6, Verity, false),
        ("7 device", DaxInputs { device: false, ..base }, 7, Device, false),
        ("7 block size", DaxInputs { block_size: 1024, ..base }, 7, BlockSize, false),
        ("7 page size", DaxInputs { page_size: 65536, ..base }, 7, BlockSize, false),
        ("8 dax=always without the flag", DaxInputs { flags: CLEAN, ..base }, 8, MountAlways, true),
        ("8 dax=always with the flag", base, 8, MountAlways, true),
        ("9 the flag", inode, 9, FlagSet, true),
        ("9 no flag", DaxInputs { flags: CLEAN, ..inode }, 9, FlagClear, false),
    ];
    for (name, inputs, row, reason, s_dax) in rows {
        assert_eq!(should_enable_dax(&inputs), DaxDecision { s_dax, row, reason }, "{name}");
    }
}

#[test]
fn mount_and_remount() {
    let base = MountInputs {
        option: Some(DaxMode::Always),
        device: true,
        block_size: 4096,
        page_size: 4096,
        inline_data: false,
        data: DataMode::Ordered,
    };
    let good = |mode, shown| Ok(Mounted { mode, shown });
    let (always, inode, never) = (Some(DaxMode::Always), Some(DaxMode::Inode), Some(DaxMode::Never));
    let broken = MountInputs { device: false, block_size: 1024, inline_data: true, data: DataMode::Journal, ..base };
    let rows = [
        ("dax=always", base, good(DaxMode::Always, always)),
        ("no option", MountInputs { option: None, ..base }, good(DaxMode::Inode, None)),
        ("dax=always, no device", MountInputs { device: false, ..base }, Err(MountRefusal::Unsupported)),
        ("dax=always, block size", MountInputs { block_size: 2048, ..base }, Err(MountRefusal::Unsupported)),
        ("dax=always, inline_data", MountInputs { inline_data: true, ..base }, Err(MountRefusal::InlineData)),
        ("dax=always, data=journal", MountInputs { data: DataMode::Journal, ..base }, Err(MountRefusal::DataJournal)),
        ("dax=inode, no device", MountInputs { option: inode, ..broken }, good(DaxMode::Inode, inode)),
        ("dax=never, no device", MountInputs { option: never, ..broken }, good(DaxMode::Never, never)),
    ];
    for (name, inputs, expected) in rows {
        assert_eq!(mount(&inputs), expected, "{name}");
    }
    assert_eq!(MountRefusal::InlineData.errno(), Errno::EINVAL);

    let no = Err(Errno::EINVAL);
    for (name, shown, option, data, expected) in [
        ("the same", always, always, DataMode::Ordered, Ok(())),
        ("none", always, None, DataMode::Ordered, Ok(())),
        ("another", always, never, DataMode::Ordered, no),
        ("added", None, always, DataMode::Ordered, no),
        ("inode, which is in force but was not named", None, inode, DataMode::Ordered, no),
        ("inode, which was named", inode, inode, DataMode::Ordered, Ok(())),
        ("data=journal with dax=always", always, None, DataMode::Journal, no),
        ("data=journal without", inode, None, DataMode::Journal, Ok(())),
    ] {
        let mounted = Mounted { mode: shown.unwrap_or(DaxMode::Inode), shown };
        assert_eq!(remount(&mounted, option, data), expected, "{name}");
    }
}
