//! The tree in memory: 56 bytes a name, names and symlink targets in one arena, rare things in side tables sorted by id.
//!
//! Invariants: a node's parent has a lower id; the children of a directory have contiguous ids in the order of their
//! names' bytes; directories come in the order of their ids when one walks breadth first.

use super::extra::Extra;
use daxkit_format::ext4::inode::Timestamp;
use std::ops::Range;

/// A name in the tree.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Hash)]
pub struct NodeId(pub u32);

/// What a name stands for.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A time in 8 bytes: 34 bits of seconds since 1901 and 30 bits of nanoseconds, just what an inode can hold.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Hash)]
pub struct Time(u64);

impl From<Timestamp> for Time {
    fn from(t: Timestamp) -> Self {
        let seconds = t.seconds.clamp(Timestamp::MIN_SECONDS, Timestamp::MAX_SECONDS);
        // As the kernel does, a time out of range loses its fraction.
        let nanos = if seconds == t.seconds { t.nanos.min(999_999_999) } else { 0 };
        Self((seconds - Timestamp::MIN_SECONDS).cast_unsigned() << 30 | u64::from(nanos))
    }
}

impl From<Time> for Timestamp {
    fn from(t: Time) -> Self {
        Self { seconds: (t.0 >> 30).cast_signed() + Self::MIN_SECONDS, nanos: (t.0 & ((1 << 30) - 1)) as u32 }
    }
}

/// The extended attributes of an inode.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Hash, Default)]
pub struct XattrSet {
    /// Full name and value as the host gave it, sorted by name. ACLs are in the form of the system call.
    pub list: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an inode has whatever its type.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Attributes {
    /// Permission bits, suid, sgid and sticky; no type.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
}

/// No set of extended attributes.
pub(super) const NO_XATTRS: u32 = u32::MAX;
/// The node shares its inode with another one.
pub(super) const LINKED: u8 = 1 << 4;
/// The file has holes.
pub(super) const HOLES: u8 = 1 << 5;
const KIND: u8 = 0xf;

/// One name. `value` is the length of a file or of a symlink's target (which lies behind the name in the arena), first child
/// and count of a directory, or a device number.
#[derive(Copy, Clone)]
pub(super) struct Node {
    pub(super) value: u64,
    pub(super) atime: Time,
    pub(super) ctime: Time,
    pub(super) mtime: Time,
    pub(super) name_at: u32,
    pub(super) parent: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: u32,
    pub(super) mode: u16,
    pub(super) name_len: u8,
    pub(super) kind_flags: u8,
}

const _: () = assert!(size_of::<Node>() <= 56);

impl Node {
    /// A node without name and place; `value` is 0.
    pub(super) fn new(kind: Kind, a: &Attributes) -> Self {
        Self {
            value: 0,
            atime: a.atime.into(),
            ctime: a.ctime.into(),
            mtime: a.mtime.into(),
            name_at: 0,
            parent: 0,
            uid: a.uid,
            gid: a.gid,
            xattrs: NO_XATTRS,
            mode: a.mode & 0o7777,
            name_len: 0,
            kind_flags: kind as u8,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.kind_flags & KIND {
            0 => Kind::File,
            1 => Kind::Dir,
            2 => Kind::Symlink,
            3 => Kind::Char,
            4 => Kind::Block,
            5 => Kind::Fifo,
            _ => Kind::Socket,
        }
    }
}

/// A name that shares its inode.
#[derive(Copy, Clone)]
pub(super) struct Link {
    pub(super) id: u32,
    pub(super) primary: u32,
    pub(super) count: u32,
}

/// The ranges of a file that hold data.
pub(crate) type DataRanges = Box<[Range<u64>]>;

/// A tree of names.
#[derive(Clone)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) names: Vec<u8>,
    pub(super) dirs: Vec<u32>,
    pub(super) links: Vec<Link>,
    pub(super) holes: Vec<(u32, DataRanges)>,
    pub(super) sets: Vec<XattrSet>,
    pub(super) extras: Vec<(u32, Extra)>,
    /// First name of an inode, and the name it was created under where that is another one.
    pub(super) births: Vec<(u32, u32)>,
}

impl Tree {
    /// The root directory; its name is empty and it is its own parent.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree of nothing but a root directory.
    #[must_use]
    pub fn empty(root: &Attributes) -> Self {
        let mut node = Node::new(Kind::Dir, root);
        node.value = pack_children(1, 0);
        Self {
            nodes: vec![node],
            names: Vec::new(),
            dirs: vec![0],
            links: Vec::new(),
            holes: Vec::new(),
            sets: Vec::new(),
            extras: Vec::new(),
            births: Vec::new(),
        }
    }

    /// Gives the root directory another owner or other permissions than its source has.
    pub fn set_root(&mut self, owner: Option<(u32, u32)>, mode: Option<u16>) {
        if let Some(root) = self.nodes.first_mut() {
            (root.uid, root.gid) = owner.unwrap_or((root.uid, root.gid));
            root.mode = mode.map_or(root.mode, |mode| mode & 0o7777);
        }
    }

    // An id comes from this tree; one of another tree is a mistake of the program, and the index says so.
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Names in the tree, the root included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never true: there is a root.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All names in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self, id: NodeId) -> Kind {
        self.node(id).kind()
    }

    /// Permission bits with suid, sgid and sticky, without the type.
    #[must_use]
    pub fn mode(&self, id: NodeId) -> u16 {
        self.node(id).mode
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self, id: NodeId) -> u32 {
        self.node(id).uid
    }

    /// Group.
    #[must_use]
    pub fn gid(&self, id: NodeId) -> u32 {
        self.node(id).gid
    }

    /// Length of a file or of a symlink's target, else 0.
    #[must_use]
    pub fn size(&self, id: NodeId) -> u64 {
        let n = self.node(id);
        if matches!(n.kind(), Kind::File | Kind::Symlink) { n.value } else { 0 }
    }

    /// Last change of the content.
    #[must_use]
    pub fn mtime(&self, id: NodeId) -> Timestamp {
        self.node(id).mtime.into()
    }

    /// Last access.
    #[must_use]
    pub fn atime(&self, id: NodeId) -> Timestamp {
        self.node(id).atime.into()
    }

    /// Last change of the inode.
    #[must_use]
    pub fn ctime(&self, id: NodeId) -> Timestamp {
        self.node(id).ctime.into()
    }

    /// Its name; empty for the root.
    #[must_use]
    pub fn name(&self, id: NodeId) -> &[u8] {
        let n = self.node(id);
        let at = n.name_at as usize;
        &self.names[at..at + usize::from(n.name_len)]
    }

    /// The directory it lies in; the root's is the root.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> NodeId {
        NodeId(self.node(id).parent)
    }

    /// Its path inside the tree: `/a/b`, or `/`.
    #[must_use]
    pub fn path(&self, id: NodeId) -> Vec<u8> {
        let mut up = Vec::new();
        let mut at = id;
        while at != Self::ROOT {
            up.push(at);
            at = self.parent(at);
        }
        if up.is_empty() {
            return b"/".to_vec();
        }
        let mut path = Vec::with_capacity(up.iter().map(|i| self.name(*i).len() + 1).sum());
        for i in up.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(self.name(i));
        }
        path
    }

    /// The node of a path inside the tree. Repeated and trailing slashes do not matter; `.`, `..` and symlinks are not
    /// followed.
    #[must_use]
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        let mut at = Self::ROOT;
        for name in path.strip_prefix(b"/")?.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
            at = self.child(at, name)?;
        }
        Some(at)
    }

    /// The child of a directory that has this name.
    #[must_use]
    pub fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        let Range { start, end } = self.children(dir);
        let (mut low, mut high) = (start, end);
        while low < high {
            let mid = low + (high - low) / 2;
            match self.name(NodeId(mid)).cmp(name) {
                std::cmp::Ordering::Less => low = mid + 1,
                std::cmp::Ordering::Equal => return Some(NodeId(mid)),
                std::cmp::Ordering::Greater => high = mid,
            }
        }
        None
    }

    /// The ids of a directory's children, in the order of their names; empty for anything else.
    #[must_use]
    pub fn children(&self, id: NodeId) -> Range<u32> {
        let n = self.node(id);
        if n.kind() != Kind::Dir {
            return 0..0;
        }
        let start = (n.value >> 32) as u32;
        start..start + n.value as u32
    }

    /// All directories in order.
    pub fn dirs(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.dirs.iter().map(|d| NodeId(*d))
    }

    /// How many directories there are.
    #[must_use]
    pub const fn dir_count(&self) -> usize {
        self.dirs.len()
    }

    fn link(&self, id: NodeId) -> Option<&Link> {
        if self.node(id).kind_flags & LINKED == 0 {
            return None;
        }
        let i = self.links.binary_search_by_key(&id.0, |l| l.id).ok()?;
        self.links.get(i)
    }

    /// The first name of the inode: the id itself unless it is a further hard link.
    #[must_use]
    pub fn primary(&self, id: NodeId) -> NodeId {
        self.link(id).map_or(id, |l| NodeId(l.primary))
    }

    /// The directory that an inode was created in: that of its first name, unless the source knows that another name was
    /// there before.
    #[must_use]
    pub fn birthplace(&self, id: NodeId) -> NodeId {
        let primary = self.primary(id);
        let born = self.births.binary_search_by_key(&primary.0, |(p, _)| *p).ok();
        let name = born.and_then(|i| self.births.get(i)).map_or(primary, |(_, name)| NodeId(*name));
        self.parent(name)
    }

    /// How many names of the tree share the inode, itself included. The `.` and `..` of directories do not count.
    #[must_use]
    pub fn links(&self, id: NodeId) -> u32 {
        self.link(id).map_or(1, |l| l.count)
    }

    /// Where a symlink points to; empty for anything else.
    #[must_use]
    pub fn symlink_target(&self, id: NodeId) -> &[u8] {
        let n = self.node(id);
        if n.kind() != Kind::Symlink {
            return &[];
        }
        let at = n.name_at as usize + usize::from(n.name_len);
        &self.names[at..at + n.value as usize]
    }

    /// Major and minor number of a device node, else zeroes.
    #[must_use]
    pub fn device(&self, id: NodeId) -> (u32, u32) {
        let n = self.node(id);
        if matches!(n.kind(), Kind::Char | Kind::Block) { ((n.value >> 32) as u32, n.value as u32) } else { (0, 0) }
    }

    /// The extended attributes, if there are any.
    #[must_use]
    pub fn xattrs(&self, id: NodeId) -> Option<&XattrSet> {
        self.sets.get(self.node(id).xattrs as usize)
    }

    /// Which of [`Tree::xattr_sets`] it has.
    #[must_use]
    pub fn xattr_set_id(&self, id: NodeId) -> Option<u32> {
        let set = self.node(id).xattrs;
        (set != NO_XATTRS).then_some(set)
    }

    /// All different sets of extended attributes, in the order of their first use.
    #[must_use]
    pub fn xattr_sets(&self) -> &[XattrSet] {
        &self.sets
    }

    /// The ranges that hold data, sorted and apart, for a file in which the host reports holes; `None` when all of it is data.
    #[must_use]
    pub fn data_ranges(&self, id: NodeId) -> Option<&[Range<u64>]> {
        let id = self.primary(id);
        if self.node(id).kind_flags & HOLES == 0 {
            return None;
        }
        let i = self.holes.binary_search_by_key(&id.0, |(i, _)| *i).ok()?;
        self.holes.get(i).map(|(_, r)| &**r)
    }

    /// What it has beyond a host's file, if it has anything.
    #[must_use]
    pub fn extra(&self, id: NodeId) -> Option<&Extra> {
        if self.extras.is_empty() {
            return None;
        }
        let id = self.primary(id);
        let i = self.extras.binary_search_by_key(&id.0, |(i, _)| *i).ok()?;
        self.extras.get(i).map(|(_, e)| e)
    }

    /// Everything that nodes have beyond a host's files, in order.
    pub fn extras(&self) -> impl Iterator<Item = (NodeId, &Extra)> {
        self.extras.iter().map(|(id, e)| (NodeId(*id), e))
    }

    /// Bytes of memory the tree takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let sets: usize = self
            .sets
            .iter()
            .map(|s| {
                size_of::<XattrSet>() + s.list.iter().map(|(n, v)| 48 + n.capacity() + v.capacity()).sum::<usize>()
            })
            .sum();
        self.nodes.capacity() * size_of::<Node>()
            + self.names.capacity()
            + self.dirs.capacity() * 4
            + self.links.capacity() * size_of::<Link>()
            + self.holes.iter().map(|(_, r)| 24 + r.len() * 16).sum::<usize>()
            + sets
    }

    pub(super) fn packed_times(&self, id: NodeId) -> (Time, Time) {
        let n = self.node(id);
        (n.mtime, n.ctime)
    }
}

pub(super) fn pack_children(start: u32, count: u32) -> u64 {
    u64::from(start) << 32 | u64::from(count)
}
