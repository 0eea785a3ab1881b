//! What a file system has to hold: names, and what they lead to, in maps and arrays. It knows the rules of system calls, nothing of any
//! kernel.

use std::collections::BTreeMap;

/// A file, directory or symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) dax: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File(Vec<u8>),
    Dir,
    Link(Vec<u8>),
    Fifo,
}

/// Why a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    Entry,
    Exists,
    IsDir,
    NotDir,
    NotEmpty,
    Invalid,
    Permission,
    Value,
}

/// The whole: paths without a slash in front; the root is the empty path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) names: BTreeMap<String, u64>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    next: u64,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut model = Self { names: BTreeMap::new(), nodes: BTreeMap::new(), next: 1 };
        model.nodes.insert(0, Node::new(Kind::Dir, 0o755, false));
        model.names.insert(String::new(), 0);
        model
    }

    pub(crate) fn find(&self, path: &str) -> Result<u64, No> {
        if let Some(node) = self.names.get(path) {
            return Ok(*node);
        }
        // A directory on the way decides how it fails.
        let mut above = path;
        while !above.is_empty() {
            above = parent(above);
            if let Some(node) = self.names.get(above) {
                return Err(if self.nodes[node].kind == Kind::Dir { No::Entry } else { No::NotDir });
            }
        }
        Err(No::Entry)
    }

    pub(crate) fn is_dir(&self, node: u64) -> bool {
        self.nodes[&node].kind == Kind::Dir
    }

    fn children(&self, path: &str) -> impl Iterator<Item = &String> {
        let below = format!("{path}/");
        self.names.range(below.clone()..).map(|(name, _)| name).take_while(move |name| name.starts_with(&below))
    }

    pub(crate) fn links(&self, node: u64) -> u32 {
        let names = self.names.values().filter(|n| **n == node).count() as u32;
        if !self.is_dir(node) {
            return names;
        }
        let Some(path) = self.names.iter().find(|(_, n)| **n == node).map(|(path, _)| path.clone()) else { return 0 };
        let inside = |name: &&String| parent(name) == path && !name.is_empty();
        2 + self.names.keys().filter(inside).filter(|name| self.is_dir(self.names[*name])).count() as u32
    }

    pub(crate) fn make(&mut self, path: &str, kind: Kind, mode: u16) -> Result<u64, No> {
        if self.names.contains_key(path) {
            return Err(No::Exists);
        }
        let dir = self.find(parent(path))?;
        if !self.is_dir(dir) {
            return Err(No::NotDir);
        }
        let dax = self.nodes[&dir].dax && matches!(kind, Kind::File(_) | Kind::Dir);
        let node = self.next;
        self.next += 1;
        self.nodes.insert(node, Node::new(kind, mode, dax));
        self.names.insert(path.to_owned(), node);
        Ok(node)
    }

    pub(crate) fn link(&mut self, old: &str, new: &str) -> Result<(), No> {
        let node = self.find(old)?;
        if self.names.contains_key(new) {
            return Err(No::Exists);
        }
        let dir = self.find(parent(new))?;
        if !self.is_dir(dir) {
            return Err(No::NotDir);
        }
        if self.is_dir(node) {
            return Err(No::Permission);
        }
        self.names.insert(new.to_owned(), node);
        Ok(())
    }

    /// Takes a name away; what it led to stays among the nodes, for it may be open.
    pub(crate) fn remove(&mut self, path: &str, dir: bool) -> Result<u64, No> {
        let node = self.find(path)?;
        match (self.is_dir(node), dir) {
            (true, false) => return Err(No::IsDir),
            (false, true) => return Err(No::NotDir),
            (true, true) if self.children(path).next().is_some() => return Err(No::NotEmpty),
            _ => {}
        }
        self.names.remove(path);
        Ok(node)
    }

    pub(crate) fn rename(&mut self, old: &str, new: &str, how: How) -> Result<(), No> {
        let moved = self.find(old)?;
        let dir = self.find(parent(new))?;
        if !self.is_dir(dir) {
            return Err(No::NotDir);
        }
        let there = self.names.get(new).copied();
        if how == How::NoReplace && there.is_some() {
            return Err(No::Exists);
        }
        if how == How::Exchange && there.is_none() {
            return Err(No::Entry);
        }
        if self.is_dir(moved) && new.starts_with(&format!("{old}/")) {
            return Err(No::Invalid);
        }
        // What is to be replaced lies above what is moved.
        if let Some(other) = there
            && self.is_dir(other)
            && old.starts_with(&format!("{new}/"))
        {
            return Err(if how == How::Exchange { No::Invalid } else { No::NotEmpty });
        }
        if there == Some(moved) {
            return Ok(());
        }
        if how == How::Exchange {
            let mine = self.take(old);
            let theirs = self.take(new);
            self.put(new, mine);
            self.put(old, theirs);
            return Ok(());
        }
        if let Some(other) = there {
            match (self.is_dir(moved), self.is_dir(other)) {
                (true, false) => return Err(No::NotDir),
                (false, true) => return Err(No::IsDir),
                (true, true) if self.children(new).next().is_some() => return Err(No::NotEmpty),
                _ => {}
            }
            self.names.remove(new);
        }
        let tree = self.take(old);
        self.put(new, tree);
        Ok(())
    }

    fn take(&mut self, path: &str) -> Vec<(String, u64)> {
        let mut names: Vec<String> = self.children(path).cloned().collect();
        names.push(path.to_owned());
        names
            .into_iter()
            .map(|name| (name[path.len()..].to_owned(), self.names.remove(&name).expect("it is there")))
            .collect()
    }

    fn put(&mut self, path: &str, tree: Vec<(String, u64)>) {
        self.names.extend(tree.into_iter().map(|(rest, node)| (format!("{path}{rest}"), node)));
    }

    pub(crate) fn bytes(&mut self, node: u64) -> &mut Vec<u8> {
        match &mut self.nodes.get_mut(&node).expect("it was made").kind {
            Kind::File(bytes) => bytes,
            other => panic!("{other:?} has no bytes"),
        }
    }
}

/// What `renameat2` is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Replace,
    NoReplace,
    Exchange,
}

impl Node {
    fn new(kind: Kind, mode: u16, dax: bool) -> Self {
        Self { kind, mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), dax }
    }
}
