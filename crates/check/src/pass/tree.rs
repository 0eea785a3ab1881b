//! What all names together say: every directory below the root, every inode with as many names as it counts.

use std::collections::HashMap;
use std::iter::Peekable;
use std::slice::Iter;

use super::{Context, Dir, DirLink, Local};
use crate::code::Code;
use crate::finding::{At, Finding};
use crate::repair::{EntryFix, Fix, edit_inode};
use crate::state::{Kind, bits};

/// More links than this a directory does not count.
const MAX_LINKS: u32 = 65_000;

/// How a directory hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hangs {
    Unknown,
    OnTheWay,
    Below,
    Apart,
}

/// The parent of a directory, by a list that ascends, asked for directories that ascend.
fn parent_of(dir: u32, parents: &mut Peekable<Iter<'_, (u32, u32)>>) -> Option<u32> {
    while parents.next_if(|(child, _)| *child < dir).is_some() {}
    parents.peek().filter(|(child, _)| *child == dir).map(|(_, parent)| *parent)
}

impl Context<'_> {
    /// Directories: their names, their parents, their way to the root.
    pub(crate) fn tree(&self, dirs: &[Dir], found: &Local, local: &mut Local) {
        let parents = self.parents(found, local);
        let mut next = parents.iter().peekable();
        for (dir, target) in &found.dotdots {
            let parent = if *dir == 2 { Some(2) } else { parent_of(*dir, &mut next) };
            let Some(parent) = parent else { continue };
            if *target != 0 && *target != parent {
                local.find(
                    Finding::new(Code::DirParent, At::Inode(*dir, ""))
                        .stored(*target)
                        .observed(parent)
                        .fix(Fix::DotDot(*dir, parent)),
                );
            }
        }
        self.ways(dirs, &parents, &found.links, local);
        if !found.links.iter().any(|link| link.parent == 2 && link.is_lost_found)
            && self.inodes.get(2).kind == Kind::Dir
        {
            local.find(Finding::new(Code::LostFound, At::Inode(2, "")).fix(Fix::LostFound));
        }
    }

    /// The first name of each directory, ascending: the directory, and where the name is; others are findings. Counts names.
    fn parents(&self, found: &Local, local: &mut Local) -> Vec<(u32, u32)> {
        let mut parents: Vec<(u32, u32)> = Vec::with_capacity(found.links.len());
        for link in &found.links {
            if parents.last().is_some_and(|(child, _)| *child == link.child) {
                let fix = Fix::Entry(link.parent, link.logical, link.block, link.offset, EntryFix::Remove);
                local.find(
                    Finding::new(Code::EntryDirLink, At::Entry(link.parent, link.logical, link.offset))
                        .stored(link.child)
                        .fix(fix),
                );
                continue;
            }
            parents.push((link.child, link.parent));
            self.inodes.name(link.child);
            self.inodes.name(link.parent);
        }
        // `..` of the root leads to itself.
        self.inodes.name(2);
        parents
    }

    fn ways(&self, dirs: &[Dir], parents: &[(u32, u32)], links: &[DirLink], local: &mut Local) {
        let mut next = parents.iter().peekable();
        let up: Vec<Option<u32>> = dirs.iter().map(|dir| parent_of(dir.ino, &mut next)).collect();
        let mut ways = vec![Hangs::Unknown; dirs.len()];
        let mut path = Vec::new();
        // Neighbours mostly hang below the same directory.
        let mut last = (0, None);
        for (first, dir) in dirs.iter().enumerate() {
            path.clear();
            let (mut at, mut ino) = (first, dir.ino);
            let end = loop {
                if ino == 2 {
                    break Hangs::Below;
                }
                match ways.get(at).copied() {
                    Some(Hangs::Unknown) => {
                        if let Some(way) = ways.get_mut(at) {
                            *way = Hangs::OnTheWay;
                        }
                        path.push(at);
                        let Some(parent) = up.get(at).copied().flatten() else {
                            self.unconnected(local, Code::DirUnconnected, ino);
                            break Hangs::Apart;
                        };
                        if last.0 != parent {
                            last = (parent, dirs.binary_search_by_key(&parent, |dir| dir.ino).ok());
                        }
                        (at, ino) = (last.1.unwrap_or(usize::MAX), parent);
                    }
                    Some(Hangs::OnTheWay) => {
                        let from = path.iter().position(|on_it| *on_it == at).unwrap_or(0);
                        let lowest = path.get(from..).and_then(|part| part.iter().min()).and_then(|at| dirs.get(*at));
                        self.looped(local, links, lowest.map_or(ino, |dir| dir.ino));
                        break Hangs::Apart;
                    }
                    Some(way) => break way,
                    // The parent is no directory that can be read.
                    None => break Hangs::Apart,
                }
            };
            for at in &path {
                if let Some(way) = ways.get_mut(*at) {
                    *way = end;
                }
            }
        }
    }

    /// A directory that hangs below itself loses the name by which it does.
    fn looped(&self, local: &mut Local, links: &[DirLink], ino: u32) {
        let finding = Finding::new(Code::DirLoop, At::Inode(ino, ""));
        local.find(match links.iter().find(|link| link.child == ino) {
            Some(link) => finding.fix(Fix::Entry(link.parent, link.logical, link.block, link.offset, EntryFix::Remove)),
            None => finding.fix(Fix::Connect(ino)),
        });
    }

    fn unconnected(&self, local: &mut Local, code: Code, ino: u32) {
        local.find(Finding::new(code, At::Inode(ino, "")).fix(Fix::Connect(ino)));
    }

    /// Inodes and their names.
    pub(crate) fn links(&self, ea_inodes: &HashMap<u32, u64>) -> Local {
        let groups: Vec<u32> = (0..self.inodes.groups()).collect();
        let batches: Vec<&[u32]> = groups.chunks(64).collect();
        self.parallel(4, &batches, |local, batch| {
            for group in *batch {
                for (ino, known, names) in self.inodes.odd_of_group(*group) {
                    let own = known.bits & bits::RESERVED != 0 || self.image.is_own_inode(ino);
                    if known.kind == Kind::Free || known.bits & bits::DOOMED != 0 || own {
                        continue;
                    }
                    let uses = ea_inodes.get(&ino).copied();
                    if let Some(uses) = uses.filter(|_| known.bits & bits::EA_INODE != 0 && names == 0) {
                        self.value_inode(local, ino, uses, known.links);
                    } else {
                        self.link_count(local, ino, known.kind, known.bits, (known.links, names));
                    }
                }
            }
        })
    }

    /// An inode that holds the value of attributes.
    fn value_inode(&self, local: &mut Local, ino: u32, uses: u64, links: u16) {
        let Some(inode) = self.has_inode(ino) else { return };
        let stored = u64::from(inode.i_ctime.get()) << 32 | u64::from(inode.l_i_version.get());
        if stored != uses && uses > 0 {
            local.find(
                Finding::new(Code::XattrEaRefcount, At::Inode(ino, "l_i_version")).stored(stored).observed(uses).fix(
                    Fix::Inode(
                        ino,
                        |raw, n| {
                            edit_inode(raw, |inode| {
                                inode.i_ctime = ((n >> 32) as u32).into();
                                inode.l_i_version = (n as u32).into();
                            });
                        },
                        uses,
                    ),
                ),
            );
        }
        if links != 1 {
            self.wrong_links(local, ino, links, 1);
        }
    }

    fn link_count(&self, local: &mut Local, ino: u32, kind: Kind, known: u8, (links, names): (u16, u32)) {
        if kind == Kind::Dir {
            // Its own `.` alone: it hangs nowhere, which has been said.
            let subdirs_only = names <= 1 && ino != 2;
            if subdirs_only {
                return;
            }
            if names > MAX_LINKS {
                if !self.image.has.dir_nlink {
                    local.find(
                        Finding::new(Code::SuperDirNlink, At::Inode(ino, "i_links_count")).fix(Fix::Super(
                            |sb, _| sb.s_feature_ro_compat.set(sb.s_feature_ro_compat.get() | 0x20),
                            0,
                        )),
                    );
                }
                if links != 1 {
                    self.wrong_links(local, ino, links, 1);
                }
                return;
            }
            if links == 1 && known & bits::INDEXED != 0 {
                // Once the count has overflowed it stays so, which is no harm.
                return;
            }
        } else if names == 0 {
            let (code, fix) = match kind {
                Kind::File if known & bits::EMPTY != 0 => (Code::InodeUnattachedEmpty, Fix::Clear(ino)),
                _ => (Code::InodeUnattached, Fix::Connect(ino)),
            };
            return local.find(Finding::new(code, At::Inode(ino, "")).fix(fix));
        }
        if u32::from(links) != names {
            self.wrong_links(local, ino, links, names);
        }
    }

    fn wrong_links(&self, local: &mut Local, ino: u32, links: u16, names: u32) {
        let count = names.min(u32::from(u16::MAX));
        local.find(Finding::new(Code::InodeLinks, At::Inode(ino, "i_links_count")).stored(links).observed(names).fix(
            Fix::Inode(ino, |raw, n| edit_inode(raw, |inode| inode.i_links_count = (n as u16).into()), count.into()),
        ));
    }
}
