//! A tree while it is put together from layers: names come in any order, replace each other, vanish again.
//!
//! Names and inodes are apart, as in a file system. A path is resolved inside the tree as if its root were the root of a
//! running system: symbolic links on the way are followed, and nothing leads out. Parents that nothing has described yet are made
//! and may be described later.
//!
//! Layers: a name knows the last layer that spoke of it. A whiteout takes away what lower layers brought, whatever its place in its
//! own layer's stream; an opaque directory hides all that lower layers brought below it.

mod children;
mod resolve;

pub(crate) use children::Children;

use super::draft_error::DraftError;
use super::extra::Extra;
use super::roots::Origin;
use super::tree::{Attributes, DataRanges, Kind, Time, XattrSet};
use daxkit_format::ext4::inode::Timestamp;
use hashbrown::HashTable;
use resolve::components;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A name of the draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// An inode of the draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InodeId(pub(crate) u32);

/// A hard link whose target has not come yet.
const PENDING: InodeId = InodeId(u32::MAX);

pub(crate) struct Name {
    pub(crate) parent: NameId,
    pub(crate) inode: InodeId,
    at: u32,
    /// The last layer that spoke of it.
    layer: u16,
    /// For a directory: what layers below this one brought beneath it is hidden.
    pub(crate) opaque: u16,
    len: u8,
    dead: bool,
    /// An inode was created under this name, and that was meant.
    pub(crate) is_birth: bool,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) struct DraftInode {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) atime: Time,
    pub(crate) ctime: Time,
    pub(crate) mtime: Time,
    /// Length of a file, device number (major in the upper half), index of a symlink's target.
    pub(crate) value: u64,
    /// Index into the sets; `u32::MAX` for none.
    pub(crate) xattrs: u32,
    /// Where the bytes of a file are.
    pub(crate) origin: Origin,
    /// Nothing has described this directory yet.
    pub(crate) implied: bool,
    /// More than one name was made for it.
    pub(crate) linked: bool,
}

impl DraftInode {
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            atime: self.atime.into(),
            ctime: self.ctime.into(),
            mtime: self.mtime.into(),
        }
    }
}

/// What there is to say of a new inode.
#[derive(Debug, Clone)]
pub(crate) struct NewInode {
    pub(crate) kind: NewKind,
    pub(crate) attributes: Attributes,
    pub(crate) xattrs: XattrSet,
    pub(crate) extra: Extra,
}

/// The part of a new inode that depends on its type.
#[derive(Debug, Clone)]
pub(crate) enum NewKind {
    File { size: u64, origin: Origin, ranges: Option<DataRanges> },
    Dir,
    Symlink(Vec<u8>),
    Device(Kind, (u32, u32)),
    Fifo,
    Socket,
}

pub(crate) const NO_SET: u32 = u32::MAX;

type Interned = HashMap<u64, Vec<u32>, BuildHasherDefault<DefaultHasher>>;

/// The draft.
pub(crate) struct Draft {
    pub(crate) names: Vec<Name>,
    pub(crate) inodes: Vec<DraftInode>,
    arena: Vec<u8>,
    index: HashTable<u32>,
    hasher: BuildHasherDefault<DefaultHasher>,
    targets: Vec<Box<[u8]>>,
    sets: Vec<XattrSet>,
    set_ids: Interned,
    pub(crate) ranges: HashMap<InodeId, DataRanges>,
    pub(crate) extras: HashMap<InodeId, Extra>,
    /// Names without an inode yet, with the paths they are links to.
    pending: Vec<(NameId, Box<[u8]>)>,
    /// Directories of lower layers that this layer put something into and did not describe, with the time of what came first.
    entered: HashMap<NameId, Time>,
    layer: u16,
    /// Whether the name under which an inode comes first says where it was created: a recipe's does, the order of an archive does not.
    pub(crate) births: bool,
}

impl Draft {
    pub(crate) const ROOT: NameId = NameId(0);

    /// A root directory that nothing has described yet, and the first layer.
    pub(crate) fn new() -> Self {
        let root = Name {
            parent: Self::ROOT,
            inode: InodeId(0),
            at: 0,
            layer: 0,
            opaque: 0,
            len: 0,
            dead: false,
            is_birth: false,
        };
        let mut draft = Self {
            names: vec![root],
            inodes: Vec::new(),
            arena: Vec::new(),
            index: HashTable::new(),
            hasher: BuildHasherDefault::default(),
            targets: Vec::new(),
            sets: Vec::new(),
            set_ids: HashMap::default(),
            ranges: HashMap::new(),
            extras: HashMap::new(),
            pending: Vec::new(),
            entered: HashMap::new(),
            layer: 0,
            births: false,
        };
        draft.inodes.push(implied_dir(Time::from(Timestamp::default())));
        draft
    }

    /// Begins another layer.
    pub(crate) fn next_layer(&mut self) -> Result<(), DraftError> {
        self.layer = self.layer.checked_add(1).ok_or(DraftError::TooMany { what: "layers" })?;
        Ok(())
    }

    /// Ends a layer: hard links find their targets, and what it hides is no longer known.
    pub(crate) fn end_layer(&mut self) -> Result<(), DraftError> {
        self.find_targets()?;
        for (name, mtime) in std::mem::take(&mut self.entered) {
            let parent = self.name(name).map(|n| n.parent);
            if parent.is_some_and(|parent| self.opaque_at(parent) == self.layer) {
                self.forget(name, mtime);
            }
        }
        Ok(())
    }

    fn find_targets(&mut self) -> Result<(), DraftError> {
        // A link may lead to a link that is itself waiting, so as long as any finds its target the others are asked again.
        loop {
            let waiting = std::mem::take(&mut self.pending);
            let before = waiting.len();
            for (name, target) in waiting {
                if self.inode_of(name) != PENDING || self.is_gone(name) {
                    continue;
                }
                match self.lookup(&target) {
                    Some(found) if self.inode_of(found) != PENDING => self.join(name, found)?,
                    _ => self.pending.push((name, target)),
                }
            }
            if self.pending.is_empty() {
                return Ok(());
            }
            if self.pending.len() == before {
                break;
            }
        }
        let (name, target) = self.pending.swap_remove(0);
        Err(DraftError::NoTarget { path: self.path(name), target: target.into() })
    }

    fn name(&self, id: NameId) -> Option<&Name> {
        self.names.get(id.0 as usize)
    }

    fn inode_of(&self, id: NameId) -> InodeId {
        self.name(id).map_or(PENDING, |n| n.inode)
    }

    pub(crate) fn inode(&self, id: InodeId) -> Option<&DraftInode> {
        self.inodes.get(id.0 as usize)
    }

    pub(crate) fn kind(&self, id: NameId) -> Option<Kind> {
        self.inode(self.inode_of(id)).map(|i| i.kind)
    }

    pub(crate) fn bytes(&self, n: &Name) -> &[u8] {
        self.arena.get(n.at as usize..n.at as usize + usize::from(n.len)).unwrap_or_default()
    }

    pub(crate) fn target(&self, inode: &DraftInode) -> &[u8] {
        self.targets.get(inode.value as usize).map_or(&[], |t| t)
    }

    pub(crate) fn set(&self, id: u32) -> Option<&XattrSet> {
        self.sets.get(id as usize)
    }

    /// Path of a name, for messages.
    pub(crate) fn path(&self, id: NameId) -> Vec<u8> {
        let mut up = Vec::new();
        let mut at = id;
        while at != Self::ROOT
            && let Some(n) = self.name(at)
        {
            up.push(self.bytes(n));
            at = n.parent;
        }
        let mut path = Vec::new();
        for name in up.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    fn hash(&self, parent: NameId, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent.0, name))
    }

    /// The living child of a directory, whatever layer it is of.
    fn child(&self, parent: NameId, name: &[u8]) -> Option<NameId> {
        let same = |i: &u32| self.names.get(*i as usize).is_some_and(|n| n.parent == parent && self.bytes(n) == name);
        self.index.find(self.hash(parent, name), same).map(|i| NameId(*i))
    }

    /// The child of a directory beneath which layers below `opaque` are hidden.
    fn visible_child(&self, parent: NameId, name: &[u8], opaque: u16) -> Option<NameId> {
        self.child(parent, name).filter(|c| self.name(*c).is_some_and(|n| n.layer >= opaque))
    }

    /// Takes a name away, and all beneath it with it: what cannot be reached is not there.
    pub(crate) fn kill(&mut self, id: NameId) {
        let Some(n) = self.names.get(id.0 as usize) else { return };
        let hash = self.hash(n.parent, self.bytes(n));
        if let Ok(entry) = self.index.find_entry(hash, |i| *i == id.0) {
            entry.remove();
        }
        if let Some(n) = self.names.get_mut(id.0 as usize) {
            n.dead = true;
        }
    }

    /// Whether a name or a directory above it was taken away.
    fn is_gone(&self, id: NameId) -> bool {
        let mut at = id;
        loop {
            match self.name(at) {
                Some(n) if !n.dead && at == Self::ROOT => return false,
                Some(n) if !n.dead => at = n.parent,
                _ => return true,
            }
        }
    }

    fn add_name(&mut self, parent: NameId, name: &[u8], inode: InodeId) -> Result<NameId, DraftError> {
        let too_many = || DraftError::TooMany { what: "names" };
        let id = u32::try_from(self.names.len()).ok().filter(|n| *n < u32::MAX - 1).ok_or_else(too_many)?;
        let at = u32::try_from(self.arena.len()).map_err(|_| DraftError::TooMany { what: "bytes of names" })?;
        let len = u8::try_from(name.len()).map_err(|_| {
            let mut path = self.path(parent);
            path.push(b'/');
            path.extend_from_slice(name);
            DraftError::NameTooLong { path, len: name.len() }
        })?;
        self.arena.extend_from_slice(name);
        let is_birth = self.births && inode != PENDING;
        self.names.push(Name { parent, inode, at, layer: self.layer, opaque: 0, len, dead: false, is_birth });
        let hash = self.hash(parent, name);
        let Self { index, names, arena, hasher, .. } = self;
        index.insert_unique(hash, id, |i| {
            names.get(*i as usize).map_or(0, |n| {
                let name = arena.get(n.at as usize..n.at as usize + usize::from(n.len)).unwrap_or_default();
                hasher.hash_one((n.parent.0, name))
            })
        });
        Ok(NameId(id))
    }

    fn add_inode(&mut self, inode: DraftInode) -> Result<InodeId, DraftError> {
        let too_many = DraftError::TooMany { what: "inodes" };
        let id = u32::try_from(self.inodes.len()).ok().filter(|n| *n < u32::MAX - 1).ok_or(too_many)?;
        self.inodes.push(inode);
        Ok(InodeId(id))
    }

    /// Sets of attributes are kept once.
    pub(crate) fn intern(&mut self, set: XattrSet) -> u32 {
        if set.list.is_empty() {
            return NO_SET;
        }
        let mut hasher = DefaultHasher::new();
        set.hash(&mut hasher);
        let same_hash = self.set_ids.entry(hasher.finish()).or_default();
        if let Some(id) = same_hash.iter().find(|id| self.sets.get(**id as usize) == Some(&set)) {
            return *id;
        }
        let id = self.sets.len() as u32;
        same_hash.push(id);
        self.sets.push(set);
        id
    }

    /// Puts something at a path: a directory over a directory describes it anew, anything else replaces what is there.
    pub(crate) fn put(&mut self, path: &[u8], new: NewInode) -> Result<NameId, DraftError> {
        if let NewKind::Symlink(target) = &new.kind {
            // The kernel reads a target up to its first zero byte, and `e2fsck` clears a link whose length says otherwise.
            if target.is_empty() || target.contains(&0) {
                return Err(DraftError::BadTarget { path: path.to_vec(), target: target.clone() });
            }
        }
        let mtime = Time::from(new.attributes.mtime);
        let Some((dir, last)) = self.parent_of(path, mtime)? else {
            if !matches!(new.kind, NewKind::Dir) {
                return Err(DraftError::RootNotDir);
            }
            self.describe(Self::ROOT, new);
            return Ok(Self::ROOT);
        };
        let existing = self.visible_child(dir.name, last, dir.opaque);
        if let Some(old) = existing
            && matches!(new.kind, NewKind::Dir)
            && self.kind(old) == Some(Kind::Dir)
        {
            self.describe(old, new);
            return Ok(old);
        }
        if let Some(old) = self.child(dir.name, last) {
            self.kill(old);
        }
        let inode = self.new_inode(new)?;
        self.add_name(dir.name, last, inode)
    }

    fn new_inode(&mut self, new: NewInode) -> Result<InodeId, DraftError> {
        let NewInode { kind, attributes: a, xattrs, extra } = new;
        let (kind, value, origin, ranges) = match kind {
            NewKind::File { size, origin, ranges } => (Kind::File, size, origin, ranges),
            NewKind::Dir => (Kind::Dir, 0, Origin::NOWHERE, None),
            NewKind::Symlink(target) => {
                self.targets.push(target.into_boxed_slice());
                (Kind::Symlink, self.targets.len() as u64 - 1, Origin::NOWHERE, None)
            }
            NewKind::Device(kind, (major, minor)) => {
                (kind, u64::from(major) << 32 | u64::from(minor), Origin::NOWHERE, None)
            }
            NewKind::Fifo => (Kind::Fifo, 0, Origin::NOWHERE, None),
            NewKind::Socket => (Kind::Socket, 0, Origin::NOWHERE, None),
        };
        let xattrs = self.intern(xattrs);
        let inode = self.add_inode(DraftInode {
            kind,
            mode: a.mode & 0o7777,
            uid: a.uid,
            gid: a.gid,
            atime: a.atime.into(),
            ctime: a.ctime.into(),
            mtime: a.mtime.into(),
            value,
            xattrs,
            origin,
            implied: false,
            linked: false,
        })?;
        if let Some(ranges) = ranges {
            self.ranges.insert(inode, ranges);
        }
        if !extra.is_empty() {
            self.extras.insert(inode, extra);
        }
        Ok(inode)
    }

    /// Gives a directory other attributes; what it holds stays.
    fn describe(&mut self, dir: NameId, new: NewInode) {
        let layer = self.layer;
        if let Some(n) = self.names.get_mut(dir.0 as usize) {
            n.layer = layer;
        }
        self.entered.remove(&dir);
        let id = self.inode_of(dir);
        if let Some(i) = self.inodes.get_mut(id.0 as usize) {
            i.implied = false;
        }
        self.redescribe(dir, new.attributes, new.xattrs, new.extra);
    }

    /// Whether a name is a directory's.
    pub(crate) fn is_dir(&self, name: NameId) -> bool {
        self.kind(name) == Some(Kind::Dir)
    }

    /// What a name already says of its inode.
    pub(crate) fn described(&self, name: NameId) -> (Attributes, XattrSet, Extra) {
        let id = self.inode_of(name);
        let attributes = self.inode(id).map_or_else(
            || Attributes {
                mode: 0,
                uid: 0,
                gid: 0,
                atime: Timestamp::default(),
                ctime: Timestamp::default(),
                mtime: Timestamp::default(),
            },
            DraftInode::attributes,
        );
        let xattrs = self.inode(id).and_then(|i| self.set(i.xattrs)).cloned().unwrap_or_default();
        (attributes, xattrs, self.extras.get(&id).cloned().unwrap_or_default())
    }

    /// Dates the root, as long as nothing has described it.
    pub(crate) fn date_root(&mut self, time: Timestamp) {
        let root = self.inode_of(Self::ROOT);
        if let Some(i) = self.inodes.get_mut(root.0 as usize).filter(|i| i.implied) {
            (i.atime, i.ctime, i.mtime) = (time.into(), time.into(), time.into());
        }
    }

    /// Gives the inode behind a name other attributes; its type and content stay.
    pub(crate) fn redescribe(&mut self, name: NameId, a: Attributes, xattrs: XattrSet, extra: Extra) {
        let xattrs = self.intern(xattrs);
        let id = self.inode_of(name);
        if let Some(i) = self.inodes.get_mut(id.0 as usize) {
            (i.mode, i.uid, i.gid) = (a.mode & 0o7777, a.uid, a.gid);
            (i.atime, i.ctime, i.mtime) = (a.atime.into(), a.ctime.into(), a.mtime.into());
            i.xattrs = xattrs;
        }
        if extra.is_empty() {
            self.extras.remove(&id);
        } else {
            self.extras.insert(id, extra);
        }
    }

    /// Makes `path` another name of what `target` names, now or when it comes. The target's first bytes may come with the link
    /// (`content`), as some archives have it.
    pub(crate) fn link(&mut self, path: &[u8], target: &[u8], mtime: Time) -> Result<NameId, DraftError> {
        components(target)?;
        let found = self.lookup(target);
        let Some((dir, last)) = self.parent_of(path, mtime)? else { return Err(DraftError::RootNotDir) };
        if let (Some(found), Some(here)) = (found, self.visible_child(dir.name, last, dir.opaque))
            && (here == found || self.inode_of(here) != PENDING && self.inode_of(here) == self.inode_of(found))
        {
            // An archive that names a file twice links it to itself.
            let layer = self.layer;
            if let Some(n) = self.names.get_mut(here.0 as usize) {
                n.layer = layer;
            }
            return Ok(here);
        }
        if let Some(old) = self.child(dir.name, last) {
            self.kill(old);
        }
        let name = self.add_name(dir.name, last, PENDING)?;
        match found {
            Some(found) if self.inode_of(found) != PENDING => self.join(name, found)?,
            _ => self.pending.push((name, target.into())),
        }
        Ok(name)
    }

    /// Gives a waiting name the inode of another.
    fn join(&mut self, name: NameId, target: NameId) -> Result<(), DraftError> {
        if self.kind(target) == Some(Kind::Dir) {
            return Err(DraftError::LinkToDir { path: self.path(name), target: self.path(target) });
        }
        let inode = self.inode_of(target);
        if let Some(n) = self.names.get_mut(name.0 as usize) {
            n.inode = inode;
        }
        if let Some(i) = self.inodes.get_mut(inode.0 as usize) {
            i.linked = true;
        }
        Ok(())
    }

    /// Gives the file behind a name other content.
    pub(crate) fn set_content(&mut self, name: NameId, size: u64, origin: Origin, ranges: Option<DataRanges>) {
        let id = self.inode_of(name);
        let Some(i) = self.inodes.get_mut(id.0 as usize).filter(|i| i.kind == Kind::File) else { return };
        (i.value, i.origin) = (size, origin);
        self.ranges.remove(&id);
        if let Some(ranges) = ranges {
            self.ranges.insert(id, ranges);
        }
    }

    /// Takes away what lower layers brought under this name.
    pub(crate) fn whiteout(&mut self, path: &[u8]) {
        let Some(name) = self.lookup(path).filter(|n| *n != Self::ROOT) else { return };
        let layer = self.layer;
        match self.names.get_mut(name.0 as usize) {
            Some(n) if n.layer < layer => return self.kill(name),
            // This layer has brought it again: of a directory what lies beneath goes, and what lower layers said of it.
            Some(n) => n.opaque = layer,
            None => {}
        }
        if let Some(mtime) = self.entered.get(&name) {
            self.forget(name, *mtime);
        }
    }

    /// Forgets what lower layers said of a directory that this layer has not described.
    fn forget(&mut self, dir: NameId, mtime: Time) {
        let id = self.inode_of(dir);
        self.extras.remove(&id);
        if let Some(i) = self.inodes.get_mut(id.0 as usize) {
            *i = implied_dir(mtime);
        }
    }

    /// Hides everything that lower layers brought beneath a directory.
    pub(crate) fn opaque(&mut self, path: &[u8], mtime: Time) -> Result<(), DraftError> {
        // As if something inside was named, so that the directory is there.
        let inside = [path, b"/x"].concat();
        if let Some((dir, _)) = self.parent_of(&inside, mtime)?
            && let Some(n) = self.names.get_mut(dir.name.0 as usize)
        {
            n.opaque = self.layer;
        }
        Ok(())
    }
}

/// A directory that is only known to be there.
fn implied_dir(mtime: Time) -> DraftInode {
    DraftInode {
        kind: Kind::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        atime: mtime,
        ctime: mtime,
        mtime,
        value: 0,
        xattrs: NO_SET,
        origin: Origin::NOWHERE,
        implied: true,
        linked: false,
    }
}
