//! Indexes of directories: their root and nodes, and where each leaf's names may lie.

use daxkit_format::ext4::casefold;
use daxkit_format::ext4::dx::{self, DxBlock, NODE_ENTRIES, ROOT_ENTRIES};
use daxkit_format::ext4::hash::{HashVersion, dirhashes};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::ext4::super_block::SuperFlags;
use std::collections::HashMap;

use super::{Context, Dir, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::image::Image;
use crate::repair::Fix;

/// What a block of an indexed directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The root, or a node: no names but `.` and `..`.
    Index,
    /// Names with hashes from the first to the last of these.
    Leaf(u32, u32),
}

/// An index that was read.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) roles: HashMap<u32, Role>,
    pub(crate) hash: Hasher,
}

/// How names are hashed in a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    version: Option<HashVersion>,
    seed: [u32; 4],
    folded: bool,
}

impl Hasher {
    /// For a directory whose root says `version`.
    pub(crate) fn new(image: &Image, dir: &Dir, version: u8) -> Self {
        let flags = SuperFlags::from_bits_retain(image.sb.s_flags.get());
        let version = HashVersion::resolve(version, flags.contains(SuperFlags::UNSIGNED_HASH)).ok();
        Self {
            version: version.filter(|v| *v != HashVersion::SipHash),
            seed: image.sb.hash_seed(),
            folded: image.has.casefold && dir.flags & InodeFlags::CASEFOLD.bits() != 0,
        }
    }

    /// Whether hashes can be computed.
    pub(crate) fn is_known(&self) -> bool {
        self.version.is_some()
    }

    /// The hashes of names; `None` where one cannot be computed without a key.
    pub(crate) fn of<const N: usize>(&self, names: &[&[u8]; N]) -> [Option<u32>; N] {
        let Some(version) = self.version else { return [None; N] };
        if self.folded {
            let one = |name| casefold::dirhash_casefold(name, version, &self.seed, false).ok().map(|h| h.hash);
            return names.map(one);
        }
        dirhashes(names, version, &self.seed).map(|hash| Some(hash.hash))
    }
}

/// What makes an index useless.
type Broken = (Code, u32, u64);

struct Reader<'r> {
    image: &'r Image,
    seed: Option<u32>,
    blocks: &'r dyn Fn(u32) -> Option<Vec<u8>>,
    count: u32,
    roles: HashMap<u32, Role>,
}

impl Reader<'_> {
    fn tail(&self) -> bool {
        self.image.has.metadata_csum
    }

    fn verify(&self, bytes: &[u8], offset: usize) -> bool {
        self.seed.is_none_or(|seed| dx::verify_block(seed, bytes, offset))
    }

    fn root(&mut self, most: u8, wants_siphash: bool) -> Result<u8, Broken> {
        let bytes = (self.blocks)(0).ok_or((Code::HtreeRoot, 0, 0))?;
        let root = DxBlock::parse_root(&bytes, self.tail()).map_err(|_| (Code::HtreeRoot, 0, 0))?;
        let info = root.root.ok_or((Code::HtreeRoot, 0, 0))?;
        let version = info.hash_version;
        let known = HashVersion::try_from(version).is_ok_and(|v| (v as u8) <= 2 || v == HashVersion::SipHash);
        if !known || (version == 6) != wants_siphash {
            return Err((Code::HtreeRoot, 0, version.into()));
        }
        if info.indirect_levels > most {
            return Err((Code::HtreeRoot, 0, info.indirect_levels.into()));
        }
        if !self.verify(&bytes, ROOT_ENTRIES) {
            return Err((Code::HtreeChecksum, 0, 0));
        }
        self.roles.insert(0, Role::Index);
        self.entries(&root, info.indirect_levels, 0, u32::MAX)?;
        Ok(version)
    }

    fn entries(&mut self, node: &DxBlock<'_>, levels: u8, first: u32, last: u32) -> Result<(), Broken> {
        let entries: Vec<(u32, u32)> = node.iter().collect();
        let mut before = 0;
        for (index, (hash, block)) in entries.iter().enumerate() {
            let hash = if index == 0 { first } else { *hash };
            if *block == 0 || *block >= self.count {
                return Err((Code::HtreeBlocks, *block, hash.into()));
            }
            if index > 0 && (hash < before || hash & !1 < first & !1) {
                return Err((Code::HtreeNode, *block, hash.into()));
            }
            before = hash;
            let end = entries.get(index + 1).map_or(last, |(next, _)| *next);
            let role = if levels == 0 { Role::Leaf(hash & !1, end | 1) } else { Role::Index };
            if self.roles.insert(*block, role).is_some() {
                return Err((Code::HtreeBlocks, *block, hash.into()));
            }
            if levels > 0 {
                let bytes = (self.blocks)(*block).ok_or((Code::HtreeNode, *block, 0))?;
                let node = DxBlock::parse_node(&bytes, self.tail()).map_err(|_| (Code::HtreeNode, *block, 0))?;
                if dx::entries_offset(&bytes) != Some(NODE_ENTRIES) || bytes.get(..4) != Some(&[0; 4]) {
                    return Err((Code::HtreeNode, *block, 0));
                }
                if !self.verify(&bytes, NODE_ENTRIES) {
                    return Err((Code::HtreeChecksum, *block, 0));
                }
                self.entries(&node, levels - 1, hash, end)?;
            }
        }
        Ok(())
    }
}

impl Context<'_> {
    /// Reads the index of a directory; `None`, and a finding, when it cannot be used.
    pub(crate) fn index(&self, local: &mut Local, dir: &Dir, blocks: &dyn Fn(u32) -> Option<Vec<u8>>) -> Option<Index> {
        let image = self.image;
        let mut reader = Reader {
            image,
            seed: super::inode_blocks::inode_seed(image, dir.ino, dir.generation),
            blocks,
            count: dir.blocks,
            roles: HashMap::new(),
        };
        let most = if image.has.large_dir { 2 } else { 1 };
        let both = InodeFlags::CASEFOLD.bits() | InodeFlags::ENCRYPT.bits();
        let found = reader.root(most, dir.flags & both == both).and_then(|version| {
            match (0..dir.blocks).find(|block| !reader.roles.contains_key(block)) {
                Some(block) => Err((Code::HtreeBlocks, block, 0)),
                None => Ok(version),
            }
        });
        match found {
            Ok(version) => Some(Index { roles: reader.roles, hash: Hasher::new(image, dir, version) }),
            Err((code, block, what)) => {
                local.find(self.no_index(code, dir.ino, block).stored(what));
                None
            }
        }
    }

    /// A finding after which a directory has no index.
    pub(crate) fn no_index(&self, code: Code, ino: u32, block: u32) -> Finding {
        Finding::new(code, At::Logical(ino, block.into())).fix(Fix::DropIndex(ino))
    }
}
