//! Breaking an image: bytes of its metadata changed, by chance or field by field, with checksums made right or left stale.

use daxkit_device::{BlockDevice, MemoryDevice};
use daxkit_format::field::Place;
use daxkit_volume::{Edit, GroupNr, InodeNr, OpenOptions, Volume, seal_freely};
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

/// Numbers by chance, the same for a seed.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64) as usize;
        from.get(index).expect("not empty")
    }
}

/// Where the metadata of an image is.
pub(crate) struct Targets {
    /// Blocks that hold metadata.
    blocks: Vec<u64>,
    /// Inodes in use.
    inodes: Vec<u64>,
    /// Directories and how many blocks they have.
    dirs: Vec<(u64, u64)>,
    groups: u32,
    block_size: u64,
}

fn open(bytes: &[u8]) -> (Arc<MemoryDevice>, Volume) {
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let options = OpenOptions { ignore_checksums: true, replay: false, ..OpenOptions::default() };
    let volume = Volume::open(Arc::clone(&device) as Arc<dyn BlockDevice>, &options).expect("a sound image opens");
    (device, volume)
}

impl Targets {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (_, volume) = open(bytes);
        let geometry = *volume.geometry();
        let mut blocks = BTreeSet::new();
        for group in 0..geometry.groups_count {
            let desc = volume.group_desc(GroupNr(group)).expect("a descriptor");
            blocks.extend([desc.block_bitmap(), desc.inode_bitmap()]);
        }
        let first = u64::from(geometry.block_size == 1024);
        blocks.extend(first..first + 2);
        let (mut inodes, mut dirs) = (Vec::new(), Vec::new());
        for nr in 1..=u64::from(geometry.inodes_count) {
            let inode = volume.inode_unverified(InodeNr(nr)).expect("an inode");
            if inode.i_links_count.get() == 0 && nr > 11 {
                continue;
            }
            inodes.push(nr);
            blocks.insert(volume.inode_location(InodeNr(nr)).expect("a place").0.get());
            blocks.extend(volume.metadata_blocks(&inode).filter_map(Result::ok).map(|(block, _)| block.get()));
            if inode.file_acl() != 0 {
                blocks.insert(inode.file_acl());
            }
            if inode.is_dir() && !inode.has_inline_data() {
                let mut count = 0;
                for run in volume.extents(&inode).filter_map(Result::ok) {
                    blocks.extend(run.physical.get()..run.physical.get() + run.len);
                    count += run.len;
                }
                dirs.push((nr, count));
            }
        }
        Self {
            blocks: blocks.into_iter().collect(),
            inodes,
            dirs,
            groups: geometry.groups_count,
            block_size: geometry.block_size.into(),
        }
    }
}

/// One change of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    /// Where, in words.
    pub(crate) place: String,
    /// What is written there.
    pub(crate) edits: Vec<(u64, Vec<u8>)>,
    /// Checksums follow.
    pub(crate) sealed: bool,
}

/// Values that are wrong in interesting ways.
fn value(chance: &mut Chance, old: u64) -> u64 {
    match chance.below(10) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old ^ (1 << chance.below(32)),
        5 => 1 << chance.below(33),
        6 => chance.below(64),
        7 => chance.below(4096),
        8 => old.wrapping_mul(2),
        _ => chance.next(),
    }
}

const INODE_FIELDS: &[&str] = &[
    "i_mode",
    "i_size_lo",
    "i_links_count",
    "i_blocks_lo",
    "i_flags",
    "i_file_acl_lo",
    "i_size_high",
    "i_dtime",
    "i_extra_isize",
    "i_generation",
    "i_obso_faddr",
    "l_i_blocks_high",
    "l_i_file_acl_high",
    "i_uid",
    "i_projid",
];
const SUPER_FIELDS: &[&str] = &[
    "s_free_blocks_count_lo",
    "s_free_inodes_count",
    "s_last_orphan",
    "s_journal_inum",
    "s_feature_compat",
    "s_state",
    "s_flags",
    "s_min_extra_isize",
    "s_want_extra_isize",
    "s_reserved_gdt_blocks",
    "s_def_hash_version",
    "s_feature_ro_compat",
    "s_inodes_count",
    "s_r_blocks_count_lo",
];
const GROUP_FIELDS: &[&str] = &[
    "bg_free_blocks_count_lo",
    "bg_free_inodes_count_lo",
    "bg_used_dirs_count_lo",
    "bg_flags",
    "bg_itable_unused_lo",
    "bg_checksum",
    "bg_block_bitmap_csum_lo",
    "bg_inode_bitmap_csum_lo",
];

fn place(targets: &Targets, chance: &mut Chance) -> String {
    let field = |chance: &mut Chance, fields: &[&str]| (*chance.pick(fields)).to_owned();
    match chance.below(16) {
        0 => format!("super.{}", field(chance, SUPER_FIELDS)),
        1 => format!("group.{}.{}", chance.below(targets.groups.into()), field(chance, GROUP_FIELDS)),
        2..=6 => format!("inode:{}.{}", chance.pick(&targets.inodes), field(chance, INODE_FIELDS)),
        7 => {
            let words = format!("i_block+{:#x}", chance.below(15) * 4);
            format!("inode:{}.{words}", chance.pick(&targets.inodes))
        }
        8..=11 if !targets.dirs.is_empty() => {
            let (dir, blocks) = chance.pick(&targets.dirs);
            let within = if chance.below(2) == 0 { 64 } else { targets.block_size };
            let offset = chance.below(within) & !3;
            format!("inode:{dir}/block:{}+{offset:#x}", chance.below(*blocks))
        }
        _ => {
            let within = if chance.below(2) == 0 { 128 } else { targets.block_size };
            format!("block:{}+{:#x}", chance.pick(&targets.blocks), chance.below(within))
        }
    }
}

/// Breaks an image at a few places. Returns what was done.
pub(crate) fn mutate(bytes: &mut [u8], targets: &Targets, chance: &mut Chance) -> Vec<Mutation> {
    let count = 1 + chance.below(3);
    let mut done = Vec::new();
    while (done.len() as u64) < count {
        let (device, volume) = open_any(bytes);
        let Some(volume) = volume else { break };
        let name = place(targets, chance);
        let sealed = chance.below(4) != 0;
        let Ok(parsed) = Place::from_str(&name) else { panic!("{name} is no place") };
        let Ok(located) = volume.locate(&parsed) else { continue };
        let width = [1, 2, 4].into_iter().nth(chance.below(3) as usize).unwrap_or(4);
        let len = match &located.field {
            Some(_) => (located.named.end - located.named.start).min(if name.contains('+') { 4 } else { 8 }),
            None => width.min(located.named.end - located.named.start),
        };
        let mut old = vec![0; len as usize];
        device.read_at(located.named.start, &mut old).expect("memory is readable");
        let before = old.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let new = value(chance, before).to_le_bytes();
        let new = new.get(..len as usize).expect("at most eight").to_vec();
        if new == old {
            continue;
        }
        let edit = Edit { offset: located.named.start, bytes: new };
        let mut edits = vec![edit.clone()];
        if sealed && let Ok(more) = seal_freely(&*device, &located.seals, &[edit]) {
            edits.extend(more);
        }
        for edit in &edits {
            device.write_at(edit.offset, &edit.bytes).expect("memory is writable");
        }
        bytes.copy_from_slice(&device.to_vec());
        let edits = edits.into_iter().map(|edit| (edit.offset, edit.bytes)).collect();
        done.push(Mutation { place: name, edits, sealed });
    }
    done
}

/// Writes a value at a place, and makes the checksums over it right. Returns what was written; `None` when the place is not there.
pub(crate) fn change(bytes: &mut [u8], name: &str, value: &[u8], sealed: bool) -> Option<Vec<(u64, Vec<u8>)>> {
    let (device, volume) = open_any(bytes);
    let located = volume?.locate(&Place::from_str(name).ok()?).ok()?;
    let edit = Edit { offset: located.named.start, bytes: value.to_vec() };
    let mut edits = vec![edit.clone()];
    if sealed && let Ok(more) = seal_freely(&*device, &located.seals, &[edit]) {
        edits.extend(more);
    }
    for edit in &edits {
        device.write_at(edit.offset, &edit.bytes).ok()?;
    }
    bytes.copy_from_slice(&device.to_vec());
    Some(edits.into_iter().map(|edit| (edit.offset, edit.bytes)).collect())
}

pub(crate) fn open_any(bytes: &[u8]) -> (Arc<MemoryDevice>, Option<Volume>) {
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let options = OpenOptions { ignore_checksums: true, catastrophic: true, replay: false, ..OpenOptions::default() };
    let volume = Volume::open(Arc::clone(&device) as Arc<dyn BlockDevice>, &options).ok();
    (device, volume)
}
