//! Quota files and the orphan file.

use super::DumpError;
use super::cover::Cover;
use super::fields::{fields, plain};
use super::image::{Geometry, Image};
use super::inodes::Subject;
use super::maps::Run;
use daxkit_format::ext4::orphan;
use daxkit_format::ext4::quota::{self, QuotaKind, TREE_DEPTH, TREE_ROOT};
use daxkit_format::field::{Object, Structure};
use std::collections::BTreeMap;

/// Tree blocks remembered in order to know what their children are. Children of others are printed in hexadecimal.
const MAX_TREE: usize = 1 << 16;

impl Image<'_> {
    /// A quota file: blocks of 1 KiB, a head, a tree of references, and leaves. Parents lie before their children in every
    /// file that the kernel or e2fsprogs wrote; a child met first is printed in hexadecimal.
    pub(super) fn quota(&mut self, geo: &Geometry, kind: QuotaKind, runs: &[Run]) -> Result<(), DumpError> {
        let geo = *geo;
        let place = Object::Quota(kind, None);
        let mut depths = BTreeMap::from([(u64::from(TREE_ROOT), 0)]);
        self.each_block(&geo, runs, &mut |image, logical, block, bytes| {
            writeln!(image.out, "{place} block {logical} @{block}")?;
            let mut cover = Cover::new(bytes);
            let per_block = bytes.len() / quota::BLOCK_SIZE;
            for i in 0..per_block {
                let number = logical * per_block as u64 + i as u64;
                let base = i * quota::BLOCK_SIZE;
                let part = bytes.get(base..base + quota::BLOCK_SIZE).unwrap_or_default();
                if number == 0 {
                    fields(image.out, &mut cover, Structure::DqHeader, base, 8, &plain)?;
                    fields(image.out, &mut cover, Structure::DqInfo, base + 8, 24, &plain)?;
                    continue;
                }
                match depths.get(&number).copied() {
                    Some(depth) if depth < TREE_DEPTH => {
                        for (at, word) in (0usize..).zip(part.as_chunks::<4>().0) {
                            let child = u32::from_le_bytes(*word);
                            if child == 0 {
                                continue;
                            }
                            writeln!(image.out, "  tree {number} ref {at} block {child}")?;
                            cover.mark(base + at * 4..base + at * 4 + 4);
                            if depths.len() < MAX_TREE {
                                depths.entry(u64::from(child)).or_insert(depth + 1);
                            }
                        }
                    }
                    Some(_) => image.quota_leaf(&mut cover, number, base)?,
                    None => {}
                }
            }
            cover.rest(image.out, "  ", "", 0)
        })
    }

    fn quota_leaf(&mut self, cover: &mut Cover<'_>, number: u64, base: usize) -> Result<(), DumpError> {
        let head = cover.bytes().get(base..base + 16).is_some_and(|b| b.iter().any(|x| *x != 0));
        if head {
            writeln!(self.out, "  leaf {number}")?;
            fields(self.out, cover, Structure::DqDataHeader, base, 16, &plain)?;
        }
        for slot in 0..quota::ENTRIES_PER_BLOCK {
            let at = base + 16 + slot * 72;
            if cover.bytes().get(at..at + 72).is_some_and(|b| b.iter().any(|x| *x != 0)) {
                writeln!(self.out, "  leaf {number} slot {slot}")?;
                fields(self.out, cover, Structure::DqBlk, at, 72, &plain)?;
            }
        }
        Ok(())
    }

    pub(super) fn orphans(&mut self, geo: &Geometry, s: &Subject, runs: &[Run]) -> Result<(), DumpError> {
        let geo = *geo;
        let seed = s.seed;
        self.each_block(&geo, runs, &mut |image, logical, block, bytes| {
            writeln!(image.out, "orphan/block:{logical} @{block}")?;
            let mut cover = Cover::new(bytes);
            let tail = bytes.len().saturating_sub(8);
            for (i, word) in (0usize..).zip(bytes.get(..tail).unwrap_or_default().as_chunks::<4>().0) {
                let ino = u32::from_le_bytes(*word);
                if ino != 0 {
                    writeln!(image.out, "  slot {i} inode {ino}")?;
                    cover.mark(i * 4..i * 4 + 4);
                }
            }
            let fits = seed.is_some_and(|s| orphan::verify_block(s, block, bytes));
            if fits && cover.take(tail + 4..tail + 8) {
                writeln!(image.out, "  .ob_checksum ok")?;
            }
            fields(image.out, &mut cover, Structure::OrphanBlockTail, tail, 8, &plain)?;
            cover.rest(image.out, "  ", "", 0)
        })
    }
}
