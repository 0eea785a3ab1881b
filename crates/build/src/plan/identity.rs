//! UUID and hash seed of a reproducible image, derived from what goes into it.
//!
//! The hash seed comes from the tree without the files' bytes, because it decides how many blocks a directory has; the UUID from
//! all of it. Changing one byte of one file changes the UUID.

use crate::params::{Identity, Params};
use crate::source::{Extra, Kind, NodeId, Placement, Tree};
use blake3::Hasher;

/// A digest of everything but the files' bytes.
#[must_use]
pub fn tree_digest(params: &Params, tree: &Tree) -> [u8; 32] {
    let mut h = Hasher::new();
    let mut number = |n: u64| {
        h.update(&n.to_le_bytes());
    };
    for n in [
        u64::from(params.block_size),
        u64::from(params.cluster_size),
        if params.sized_by_content { 0 } else { params.blocks_count },
        u64::from(params.features.compat.bits()),
        u64::from(params.features.incompat.bits()),
        u64::from(params.features.ro_compat.bits()),
        u64::from(params.inode_size),
        params.data_offset,
        params.time.seconds as u64,
        tree.len() as u64,
    ] {
        number(n);
    }
    bytes(&mut h, &params.label);
    for path in &params.dax_paths {
        bytes(&mut h, path);
    }
    for set in tree.xattr_sets() {
        h.update(&(set.list.len() as u64).to_le_bytes());
        for (name, value) in &set.list {
            bytes(&mut h, name);
            bytes(&mut h, value);
        }
    }
    for id in tree.ids() {
        node(&mut h, tree, id);
    }
    // Nothing for what is not there: an image without wishes has the identity it always had.
    for (id, extra) in tree.extras() {
        wishes(&mut h, id, extra);
    }
    for path in &params.order {
        bytes(&mut h, path);
    }
    *h.finalize().as_bytes()
}

fn bytes(h: &mut Hasher, b: &[u8]) {
    h.update(&(b.len() as u64).to_le_bytes());
    h.update(b);
}

fn node(h: &mut Hasher, tree: &Tree, id: NodeId) {
    let kind = tree.kind(id);
    let mtime = tree.mtime(id);
    let (major, minor) = tree.device(id);
    let mut record = [0u8; 64];
    let fields = [
        kind as u64 | u64::from(tree.mode(id)) << 8 | u64::from(tree.parent(id).0) << 32,
        u64::from(tree.uid(id)) | u64::from(tree.gid(id)) << 32,
        tree.size(id),
        mtime.seconds as u64,
        u64::from(mtime.nanos) | u64::from(tree.primary(id).0) << 32,
        u64::from(major) | u64::from(minor) << 32,
        tree.xattr_set_id(id).map_or(u64::MAX, u64::from),
        tree.data_ranges(id).map_or(u64::MAX, |r| r.len() as u64),
    ];
    for (slot, f) in record.chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&f.to_le_bytes());
    }
    h.update(&record);
    bytes(h, tree.name(id));
    if kind == Kind::Symlink {
        bytes(h, tree.symlink_target(id));
    }
    for r in tree.data_ranges(id).unwrap_or_default() {
        h.update(&r.start.to_le_bytes());
        h.update(&r.end.to_le_bytes());
    }
}

fn wishes(h: &mut Hasher, id: NodeId, extra: &Extra) {
    let Extra { flags, dax, unwritten, placement, mapping, htree_levels, created, own_times } = extra;
    let mut numbers = vec![
        u64::from(id.0),
        u64::from(flags.bits()),
        dax.map_or(2, u64::from),
        *mapping as u64,
        u64::from(*htree_levels),
        u64::from(*own_times),
        created.map_or(u64::MAX, |t| t.seconds as u64),
        created.map_or(u64::MAX, |t| u64::from(t.nanos)),
        unwritten.len() as u64,
    ];
    numbers.extend(unwritten.iter().flat_map(|r| [r.start, r.end]));
    match placement {
        Placement::Best => numbers.push(0),
        Placement::Block(block) => numbers.extend([1, *block]),
        Placement::Align { align, skew } => numbers.extend([2, *align, *skew]),
        Placement::Fragments { pieces, gap } => numbers.extend([3, *pieces, *gap]),
        Placement::TreeDepth(depth) => numbers.extend([4, u64::from(*depth)]),
        Placement::Extents(list) => {
            numbers.extend([5, list.len() as u64]);
            numbers.extend(list.iter().flat_map(|e| [e.logical, e.physical, e.len, u64::from(e.unwritten)]));
        }
    }
    for n in numbers {
        h.update(&n.to_le_bytes());
    }
}

/// The sum of the digests of all pieces of content, in any order: each piece is hashed with its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentSum(pub [u64; 4]);

impl ContentSum {
    /// Adds the piece of file `id` that begins at `offset`.
    pub fn add(&mut self, id: NodeId, offset: u64, piece: &[u8]) {
        let mut h = Hasher::new();
        h.update(&id.0.to_le_bytes());
        h.update(&offset.to_le_bytes());
        h.update(piece);
        let digest = h.finalize();
        for (sum, word) in self.0.iter_mut().zip(digest.as_bytes().chunks_exact(8)) {
            let word = word.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
            *sum = sum.wrapping_add(word);
        }
    }

    /// Adds what another thread has summed.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a = a.wrapping_add(b));
    }
}

/// The hash seed, as bytes.
#[must_use]
pub fn hash_seed(params: &Params, tree_digest: &[u8; 32]) -> [u8; 16] {
    match params.identity {
        Identity::Given { hash_seed, .. } | Identity::FromContent { hash_seed: Some(hash_seed), .. } => hash_seed,
        Identity::FromContent { hash_seed: None, .. } => uuid_from("daxkit directory hash seed", tree_digest, &[]),
    }
}

/// The UUID.
#[must_use]
pub fn uuid(params: &Params, tree_digest: &[u8; 32], content: &ContentSum) -> [u8; 16] {
    match params.identity {
        Identity::Given { uuid, .. } | Identity::FromContent { uuid: Some(uuid), .. } => uuid,
        Identity::FromContent { uuid: None, .. } => {
            let sum: Vec<u8> = content.0.iter().flat_map(|w| w.to_le_bytes()).collect();
            uuid_from("daxkit file system uuid", tree_digest, &sum)
        }
    }
}

/// A UUID of version 8 (custom, RFC 9562).
fn uuid_from(purpose: &str, digest: &[u8; 32], more: &[u8]) -> [u8; 16] {
    let mut h = Hasher::new_derive_key(purpose);
    h.update(digest);
    h.update(more);
    let mut out = [0u8; 16];
    h.finalize_xof().fill(&mut out);
    let [.., a, _, b, _, _, _, _, _, _, _] = &mut out;
    *a = *a & 0x0f | 0x80;
    *b = *b & 0x3f | 0x80;
    out
}
