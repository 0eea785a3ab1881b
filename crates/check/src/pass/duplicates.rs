//! Blocks that several claim: who they are.

use daxkit_device::RangeSet;
use std::collections::HashMap;

use super::Context;
use super::claims::Claims;
use crate::code::Code;
use crate::finding::{At, Datum, Finding};
use crate::repair::Fix;
use crate::state::Kind;

/// Names of owners that a finding says.
const MOST_NAMES: usize = 5;

/// Claims of clusters that were claimed twice.
struct List<'c, 'i> {
    cx: &'c Context<'i>,
    twice: &'c RangeSet,
    /// Cluster, inode, and whether it is a block of attributes, which inodes may share.
    claims: Vec<(u64, u32, bool)>,
    last: Option<u64>,
    attributes: bool,
}

impl List<'_, '_> {
    fn add(&mut self, ino: u32, first: u64, len: u64) {
        let (from, count) = self.cx.image.clusters(first, len);
        let mut at = from..from + count;
        // Blocks that follow each other in a cluster are one claim.
        if self.cx.image.geo.cluster_ratio > 1 {
            if self.last == Some(from) {
                at.start += 1;
            }
            self.last = Some(from + count - 1);
        }
        while let Some(range) = self.twice.next_in(at.clone()) {
            self.claims.extend(range.clone().map(|cluster| (cluster, ino, self.attributes)));
            at.start = range.end;
        }
    }
}

impl Claims for List<'_, '_> {
    fn own(&mut self, ino: u32, first: u64, len: u64) {
        self.last = None;
        self.attributes = self.cx.has_inode(ino).is_some_and(|inode| inode.file_acl() == first);
        self.add(ino, first, len);
        self.attributes = false;
        self.last = None;
    }

    fn content(&mut self, ino: u32, _: u64, first: u64, len: u64) {
        self.add(ino, first, len);
    }
}

impl Context<'_> {
    /// Findings for all that has to be done so that each block belongs to one.
    pub(crate) fn duplicates(&self, twice: &[(u64, u64)]) -> Vec<Finding> {
        let mut set = RangeSet::default();
        for (first, len) in twice {
            set.insert(*first..first + len);
        }
        let mut list = List { cx: self, twice: &set, claims: Vec::new(), last: None, attributes: false };
        for group in 0..self.inodes.groups() {
            for (ino, known, _) in self.inodes.of_group(group) {
                if known.kind != Kind::Free || ino == 1 {
                    list.last = None;
                    self.list_claims(ino, &mut list);
                }
            }
        }
        let mut claims = list.claims;
        claims.sort_unstable();
        // A block of attributes that several inodes use is claimed once, and so is a cluster of which several blocks are bad.
        claims.dedup_by(|a, b| a.0 == b.0 && ((a.2 && b.2) || (a.1 == 1 && b.1 == 1)));
        self.owners(&claims)
    }

    fn owners(&self, claims: &[(u64, u32, bool)]) -> Vec<Finding> {
        // For each inode that has to give way: the clusters, whether it keeps its first claim, and who else is there.
        let mut ways: HashMap<u32, (Vec<u64>, bool, Vec<String>)> = HashMap::new();
        for chunk in claims.chunk_by(|a, b| a.0 == b.0) {
            let Some((cluster, first, _)) = chunk.first().copied() else { continue };
            let meta = self.meta.get(cluster);
            if chunk.len() < 2 && !meta {
                continue;
            }
            // The list of bad blocks may name what the file system uses.
            let mut named: Vec<u32> = chunk.iter().map(|(_, ino, _)| *ino).collect();
            named.dedup();
            let mut others: Vec<String> = named.iter().map(|ino| format!("inode:{ino}")).collect();
            if meta {
                others.insert(0, "metadata".to_owned());
            }
            for ino in &named {
                let own = chunk.iter().filter(|(_, i, _)| i == ino).count();
                let keeps = !meta && *ino == first;
                if keeps && own < 2 {
                    continue;
                }
                let way = ways.entry(*ino).or_insert_with(|| (Vec::new(), keeps, Vec::new()));
                way.0.push(cluster);
                way.1 &= keeps;
                for other in others.iter().filter(|o| **o != format!("inode:{ino}") || own > 1) {
                    if way.2.len() < MOST_NAMES && !way.2.contains(other) {
                        way.2.push(other.clone());
                    }
                }
            }
        }
        let mut ways: Vec<_> = ways.into_iter().collect();
        ways.sort_unstable();
        let ratio = u64::from(self.image.geo.cluster_ratio);
        let base = self.image.geo.first_data_block;
        let finding = |(ino, (clusters, keeps, others)): (u32, (Vec<u64>, bool, Vec<String>))| {
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for cluster in &clusters {
                let at = base + cluster * ratio;
                match ranges.last_mut() {
                    Some((_, last)) if *last + 1 == at => *last = at + ratio - 1,
                    _ => ranges.push((at, at + ratio - 1)),
                }
            }
            Finding::new(Code::BlocksShared, At::Inode(ino, ""))
                .stored(Datum::Ranges(ranges.clone()))
                .observed(format!("its own, not that of {}", others.join(", ")))
                .fix(Fix::Clone(ino, keeps, ranges))
        };
        ways.into_iter().map(finding).collect()
    }
}
