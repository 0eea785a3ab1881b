//! A tree in memory that knows what each operation must do, without a file system below it.

use std::collections::{BTreeMap, BTreeSet};

use daxkit_format::dax::Errno;

pub const ROOT: u64 = 2;
pub const LINK_MAX: u32 = 65_000;
const FMT: u16 = 0o170_000;
const DIR: u16 = 0o040_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir { names: BTreeMap<Vec<u8>, u64>, parent: u64, folded: bool },
    Symlink(Vec<u8>),
    Device(u32, u32),
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// For directories counted from what they hold.
    pub links: u32,
}

/// One operation, in terms of inode numbers.
#[derive(Clone)]
pub enum Op {
    Make { dir: u64, name: Vec<u8>, mode: u16, uid: u32, gid: u32, device: (u32, u32) },
    Symlink { dir: u64, name: Vec<u8>, target: Vec<u8> },
    Link { dir: u64, name: Vec<u8>, target: u64 },
    Unlink { dir: u64, name: Vec<u8> },
    Rmdir { dir: u64, name: Vec<u8> },
    Rename { from: u64, name: Vec<u8>, to: u64, new_name: Vec<u8>, rule: Rule },
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = |name: &[u8]| name.escape_ascii().to_string();
        match self {
            Self::Make { dir, name, mode, .. } => write!(f, "make {dir}/{} {mode:o}", n(name)),
            Self::Symlink { dir, name, target } => write!(f, "symlink {dir}/{} of {} bytes", n(name), target.len()),
            Self::Link { dir, name, target } => write!(f, "link {dir}/{} to {target}", n(name)),
            Self::Unlink { dir, name } => write!(f, "unlink {dir}/{}", n(name)),
            Self::Rmdir { dir, name } => write!(f, "rmdir {dir}/{}", n(name)),
            Self::Rename { from, name, to, new_name, rule } => {
                write!(f, "rename {from}/{} to {to}/{} {rule:?}", n(name), n(new_name))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Replace,
    Keep,
    Exchange,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub nodes: BTreeMap<u64, Node>,
    pub dirs: Vec<u64>,
    pub block_size: usize,
}

impl Node {
    pub fn is_dir(&self) -> bool {
        self.mode & FMT == DIR
    }
}

impl Model {
    pub fn new(block_size: usize) -> Self {
        let kind = Kind::Dir { names: BTreeMap::new(), parent: ROOT, folded: false };
        let root = Node { kind, mode: DIR | 0o755, uid: 0, gid: 0, links: 2 };
        Self { nodes: BTreeMap::from([(ROOT, root)]), dirs: vec![ROOT], block_size }
    }

    /// Takes in a name that the image has from the beginning.
    pub fn adopt(&mut self, dir: u64, name: &[u8], nr: u64, node: Node) {
        if node.is_dir() {
            self.dirs.push(nr);
            self.nodes.get_mut(&dir).expect("a directory").links += 1;
        }
        self.nodes.insert(nr, node);
        self.names_mut(dir).insert(name.to_vec(), nr);
    }

    pub fn names(&self, dir: u64) -> &BTreeMap<Vec<u8>, u64> {
        match &self.nodes[&dir].kind {
            Kind::Dir { names, .. } => names,
            other => panic!("{dir} is {other:?}"),
        }
    }

    fn names_mut(&mut self, dir: u64) -> &mut BTreeMap<Vec<u8>, u64> {
        match &mut self.nodes.get_mut(&dir).expect("a directory").kind {
            Kind::Dir { names, .. } => names,
            other => panic!("{dir} is {other:?}"),
        }
    }

    fn folded(&self, dir: u64) -> bool {
        matches!(self.nodes[&dir].kind, Kind::Dir { folded: true, .. })
    }

    /// The name as it stands in the directory, and what it leads to.
    pub fn find(&self, dir: u64, name: &[u8]) -> Option<(Vec<u8>, u64)> {
        let names = self.names(dir);
        if let Some(nr) = names.get(name) {
            return Some((name.to_vec(), *nr));
        }
        if !self.folded(dir) {
            return None;
        }
        names.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(n, nr)| (n.clone(), *nr))
    }

    /// Whether `dir` is `above` or lies below it.
    fn below(&self, mut dir: u64, above: u64) -> bool {
        while dir != above {
            if dir == ROOT {
                return false;
            }
            dir = match &self.nodes[&dir].kind {
                Kind::Dir { parent, .. } => *parent,
                other => panic!("{dir} is {other:?}"),
            };
        }
        true
    }

    /// What the operation must answer.
    pub fn predict(&self, op: &Op) -> Result<(), Errno> {
        let name_ok = |name: &[u8]| if name.len() > 255 { Err(Errno::ENAMETOOLONG) } else { Ok(()) };
        let free = |dir: u64, name: &[u8]| {
            name_ok(name)?;
            if self.find(dir, name).is_some() { Err(Errno::EEXIST) } else { Ok(()) }
        };
        let there = |dir: u64, name: &[u8]| {
            name_ok(name)?;
            self.find(dir, name).map(|(_, nr)| nr).ok_or(Errno::ENOENT)
        };
        match op {
            Op::Make { dir, name, .. } => free(*dir, name),
            Op::Symlink { dir, name, target } => {
                if target.is_empty() {
                    return Err(Errno::ENOENT);
                }
                if target.len() >= 4096 {
                    return Err(Errno::ENAMETOOLONG);
                }
                free(*dir, name)?;
                if target.len() >= self.block_size { Err(Errno::ENAMETOOLONG) } else { Ok(()) }
            }
            Op::Link { dir, name, target } => {
                free(*dir, name)?;
                let node = &self.nodes[target];
                if node.is_dir() {
                    return Err(Errno::EPERM);
                }
                if node.links >= LINK_MAX { Err(Errno::EMLINK) } else { Ok(()) }
            }
            Op::Unlink { dir, name } => {
                if self.nodes[&there(*dir, name)?].is_dir() {
                    Err(Errno::EISDIR)
                } else {
                    Ok(())
                }
            }
            Op::Rmdir { dir, name } => {
                let nr = there(*dir, name)?;
                if !self.nodes[&nr].is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                if self.names(nr).is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
            }
            Op::Rename { from, name, to, new_name, rule } => {
                let old = there(*from, name)?;
                name_ok(new_name)?;
                let new = self.find(*to, new_name).map(|(_, nr)| nr);
                match (rule, new) {
                    (Rule::Keep, Some(_)) => return Err(Errno::EEXIST),
                    (Rule::Exchange, None) => return Err(Errno::ENOENT),
                    _ => {}
                }
                if self.nodes[&old].is_dir() && self.below(*to, old) {
                    return Err(Errno::EINVAL);
                }
                let Some(new) = new.filter(|new| *new != old) else { return Ok(()) };
                if self.nodes[&new].is_dir() && self.below(*from, new) {
                    return Err(if *rule == Rule::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
                }
                match (rule, self.nodes[&old].is_dir(), self.nodes[&new].is_dir()) {
                    (Rule::Exchange, ..) | (_, false, false) => Ok(()),
                    (_, true, false) => Err(Errno::ENOTDIR),
                    (_, false, true) => Err(Errno::EISDIR),
                    (_, true, true) if self.names(new).is_empty() => Ok(()),
                    (_, true, true) => Err(Errno::ENOTEMPTY),
                }
            }
        }
    }

    /// Carries out what [`Model::predict`] allows; `made` is the number that a new inode got.
    pub fn apply(&mut self, op: &Op, made: Option<u64>) {
        match op {
            Op::Make { dir, name, mode, uid, gid, device } => {
                let kind = match mode & FMT {
                    DIR => Kind::Dir { names: BTreeMap::new(), parent: *dir, folded: self.folded(*dir) },
                    0o020_000 | 0o060_000 => Kind::Device(device.0, device.1),
                    _ => Kind::Plain,
                };
                self.insert(*dir, name, made, Node { kind, mode: *mode, uid: *uid, gid: *gid, links: 1 });
            }
            Op::Symlink { dir, name, target } => {
                let kind = Kind::Symlink(target.clone());
                self.insert(*dir, name, made, Node { kind, mode: 0o120_777, uid: 0, gid: 0, links: 1 });
            }
            Op::Link { dir, name, target } => {
                self.names_mut(*dir).insert(name.clone(), *target);
                self.nodes.get_mut(target).expect("there").links += 1;
            }
            Op::Unlink { dir, name } | Op::Rmdir { dir, name } => {
                let (name, nr) = self.find(*dir, name).expect("there");
                self.names_mut(*dir).remove(&name);
                if self.nodes[&nr].is_dir() {
                    self.nodes.get_mut(dir).expect("there").links -= 1;
                }
                self.release(nr);
            }
            Op::Rename { from, name, to, new_name, rule } => {
                let (name, old) = self.find(*from, name).expect("there");
                let new = self.find(*to, new_name);
                if new.as_ref().is_some_and(|(_, nr)| *nr == old) {
                    return;
                }
                self.names_mut(*from).remove(&name);
                // An entry that is led elsewhere keeps its spelling.
                let spelled = new.as_ref().map_or(new_name, |(n, _)| n).clone();
                self.names_mut(*to).insert(spelled, old);
                self.moved(old, *from, *to);
                match (new, rule) {
                    (Some((_, new)), Rule::Exchange) => {
                        self.names_mut(*from).insert(name, new);
                        self.moved(new, *to, *from);
                    }
                    (Some((_, new)), _) => {
                        if self.nodes[&new].is_dir() {
                            self.nodes.get_mut(to).expect("there").links -= 1;
                        }
                        self.release(new);
                    }
                    _ => {}
                }
            }
        }
    }

    fn insert(&mut self, dir: u64, name: &[u8], made: Option<u64>, mut node: Node) {
        let nr = made.expect("a new inode");
        let above = self.nodes[&dir].clone();
        if above.mode & 0o2000 != 0 {
            node.gid = above.gid;
            if node.is_dir() {
                node.mode |= 0o2000;
            }
        }
        if node.is_dir() {
            node.links = 2;
            self.dirs.push(nr);
            self.nodes.get_mut(&dir).expect("there").links += 1;
        }
        assert!(self.nodes.insert(nr, node).is_none(), "inode {nr} is in use already");
        self.names_mut(dir).insert(name.to_vec(), nr);
    }

    fn moved(&mut self, nr: u64, from: u64, to: u64) {
        if let Kind::Dir { parent, .. } = &mut self.nodes.get_mut(&nr).expect("there").kind {
            *parent = to;
            self.nodes.get_mut(&from).expect("there").links -= 1;
            self.nodes.get_mut(&to).expect("there").links += 1;
        }
    }

    fn release(&mut self, nr: u64) {
        let node = self.nodes.get_mut(&nr).expect("there");
        node.links -= 1;
        if node.is_dir() || node.links == 0 {
            self.nodes.remove(&nr);
            self.dirs.retain(|d| *d != nr);
        }
    }

    /// Every path with what it leads to.
    pub fn listing(&self) -> BTreeMap<Vec<u8>, (u64, &Node)> {
        let mut list = BTreeMap::new();
        let mut todo = vec![(Vec::new(), ROOT)];
        let mut seen = BTreeSet::new();
        while let Some((path, nr)) = todo.pop() {
            let node = &self.nodes[&nr];
            if let Kind::Dir { names, .. } = &node.kind {
                assert!(seen.insert(nr), "one name each");
                for (name, child) in names {
                    let mut below: Vec<u8> = path.clone();
                    if !below.is_empty() {
                        below.push(b'/');
                    }
                    below.extend_from_slice(name);
                    todo.push((below, *child));
                }
            }
            list.insert(path, (nr, node));
        }
        list
    }
}
