//! Maps of indirect blocks: every word checked before it is used, and cleared where it cannot stay.

use daxkit_format::ext4::indirect::{root_word, span};

use super::extents::Write;
use crate::code::Code;
use crate::image::Image;
use crate::state::BlockMap;

/// What a map must be like.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'i> {
    pub(crate) image: &'i Image,
    pub(crate) meta: Option<&'i BlockMap>,
    /// Blocks of the file beyond which nothing may be.
    pub(crate) limit: u64,
}

/// What a walk tells.
pub(crate) trait Seen {
    /// A block of the map itself.
    fn node(&mut self, block: u64);

    /// A block of content.
    fn block(&mut self, logical: u64, physical: u64);

    /// A word that cannot stay.
    fn wrong(&mut self, code: Code, logical: u64, what: u64);
}

struct Walk<'w, 'i> {
    rules: Rules<'i>,
    seen: &'w mut dyn Seen,
    per_block: u32,
    write: Option<&'w mut Write<'w>>,
    /// Blocks of the map that were read: a map that leads back to itself ends.
    nodes: std::collections::HashSet<u64>,
}

/// Walks the map in the 60 bytes of `i_block`.
pub(crate) fn walk(rules: Rules<'_>, root: &[u8], seen: &mut dyn Seen) {
    let mut root = root.to_vec();
    run(rules, &mut root, seen, None);
}

/// Clears the words that cannot stay. Blocks are given to `write`; the root is changed in place.
pub(crate) fn prune(rules: Rules<'_>, root: &mut [u8], seen: &mut dyn Seen, write: &mut dyn FnMut(u64, &[u8])) {
    run(rules, root, seen, Some(write));
}

fn run<'w>(rules: Rules<'_>, root: &mut [u8], seen: &'w mut dyn Seen, write: Option<&'w mut Write<'w>>) {
    let per_block = rules.image.geo.block_size / 4;
    let mut walk = Walk { rules, seen, per_block, write, nodes: std::collections::HashSet::new() };
    for (index, word) in root.as_chunks_mut::<4>().0.iter_mut().enumerate().take(15) {
        let (first, level) = root_word(index, per_block);
        walk.word(word, first, level);
    }
}

impl Walk<'_, '_> {
    fn word(&mut self, word: &mut [u8; 4], logical: u64, level: u8) {
        let block = u64::from(u32::from_le_bytes(*word));
        if block == 0 {
            return;
        }
        let image = self.rules.image;
        let on_meta = || {
            level > 0 && image.geo.cluster_ratio == 1 && self.rules.meta.is_some_and(|m| m.get(image.cluster(block)))
        };
        let wrong = if !image.is_block(block, 1) || logical >= self.rules.limit {
            Some(Code::InodeIllegalBlock)
        } else if on_meta() {
            Some(Code::InodeMetadataBlock)
        } else if level > 0 && !self.nodes.insert(block) {
            Some(Code::InodeIllegalBlock)
        } else {
            None
        };
        if let Some(code) = wrong {
            self.seen.wrong(code, logical, block);
            if self.write.is_some() {
                *word = [0; 4];
            }
            return;
        }
        if level == 0 {
            self.seen.block(logical, block);
            return;
        }
        self.seen.node(block);
        let Ok(mut bytes) = image.block(block) else {
            self.seen.wrong(Code::Unreadable, logical, block);
            return;
        };
        let before = self.write.is_some().then(|| bytes.clone());
        let step = span(level - 1, self.per_block);
        for (index, word) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            if *word != [0; 4] {
                self.word(word, logical + index as u64 * step, level - 1);
            }
        }
        if let Some(write) = &mut self.write
            && before.is_some_and(|before| before != bytes)
        {
            write(block, &bytes);
        }
    }
}
