//! Targets for the rules and tables: fields by name, maps, windows of 2 MiB, the DAX flag.

use daxkit_format::dax::FileKind;
use daxkit_format::dax::ext4::{Creation, create, dax_compatible, inherited, mask_flags};
use daxkit_format::ext4::indirect;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{Access, structures};
use daxkit_format::pmd::{self, FileExtent, PmdGeometry};

use super::input::Input;

/// Every field of one structure as text, written back over itself.
pub(crate) fn fields(data: &[u8]) {
    let mut input = Input(data);
    let info = &structures()[usize::from(input.u8()) % structures().len()];
    let before = input.0;
    for field in info.structure.fields() {
        let access = Access::find(info.structure, field.name).expect("every field is found by its name");
        let Some(text) = access.get_text(before) else { continue };
        let mut after = before.to_vec();
        if let Err(error) = access.set_text(&mut after, &text) {
            panic!("{}.{} is shown as {text:?}, which is refused: {error}", info.name, field.name);
        }
        assert_eq!(after, before, "{}.{} is shown as {text:?}, which reads otherwise", info.name, field.name);
        let mut scratch = before.to_vec();
        let _ = access.set_text(&mut scratch, &String::from_utf8_lossy(input.0));
    }
}

pub(crate) fn indirect_map(data: &[u8]) {
    let mut input = Input(data);
    let (logical, per_block) = (input.u64(), input.u32());
    let _ = indirect::span(input.u8(), per_block);
    if let Some(path) = indirect::path(logical, per_block) {
        assert!(path.root < 15 && usize::from(path.depth) <= path.entries.len());
        assert!(path.entries.iter().all(|entry| *entry == 0 || *entry < per_block));
    }
}

pub(crate) fn pmd_windows(data: &[u8]) {
    let mut input = Input(data);
    let (block_size, offset, size) = (input.u32(), input.u64(), input.u64());
    let shift = input.u8() % 4;
    let Some(geometry) = PmdGeometry::new(1 << (10 + shift), offset).or_else(|| PmdGeometry::new(block_size, offset))
    else {
        return;
    };
    let mut extents = Vec::new();
    while !input.0.is_empty() {
        let (logical, physical, len) = (input.u64(), input.u64(), input.u32());
        extents.push(FileExtent { logical, physical, len: len.into(), written: input.u8() & 1 != 0 });
    }
    extents.sort_by_key(|e| e.logical);
    let mut next = 0;
    for run in pmd::windows(geometry, size, extents.iter().copied()) {
        assert_eq!(run.first, next, "windows follow each other");
        assert_ne!(run.count, 0);
        next += run.count;
    }
    let sum = pmd::summary(geometry, size, extents.iter().copied());
    assert_eq!(sum.windows, size / pmd::PMD_SIZE);
    let parts = [sum.mappable, sum.hole, sum.unwritten, sum.mixed, sum.discontiguous, sum.split, sum.misaligned];
    assert_eq!(parts.iter().sum::<u64>(), sum.windows, "every whole window is of one kind");
}

pub(crate) fn dax_rules(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.pick(&[FileKind::Directory, FileKind::Regular, FileKind::Symlink, FileKind::Special]);
    let (old, new) = (InodeFlags::from_bits_retain(input.u32()), InodeFlags::from_bits_retain(input.u32()));
    let options = input.u8();
    assert_eq!(mask_flags(kind, mask_flags(kind, old)), mask_flags(kind, old));
    assert!(old.contains(inherited(kind, old)), "nothing is inherited that the directory has not");
    if matches!(kind, FileKind::Symlink | FileKind::Special) {
        assert!(!inherited(kind, old).contains(InodeFlags::DAX));
    }
    let made = create(&Creation {
        kind,
        parent: old,
        encrypt: options & 1 != 0,
        extents: options & 2 != 0,
        inline_data: options & 4 != 0,
    });
    if let Ok(made) = made {
        let dax_file = made.flags.contains(InodeFlags::DAX) && kind == FileKind::Regular;
        assert!(!(dax_file && made.may_inline), "a file with the DAX flag is never inline");
    }
    if !old.contains(InodeFlags::DAX) && !new.contains(InodeFlags::DAX) {
        assert!(dax_compatible(kind, old, new, options & 8 != 0), "without the flag nothing excludes it");
    }
}
