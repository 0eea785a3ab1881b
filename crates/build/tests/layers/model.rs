//! What a stack of layers is: a dictionary of paths, changed layer by layer as the OCI image specification has it. First what
//! the whiteouts of a layer hide goes from what the layers below made, then come the layer's own members in their order.

use super::ustar::{Kind, Member};
use std::collections::BTreeMap;

/// An inode of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory; without a stamp where nothing has described it.
    Dir(Option<u32>),
    /// A file with its content.
    File(u32, Vec<u8>),
    /// A symbolic link.
    Symlink(u32, String),
    /// A hard link to what has not come yet.
    Waiting(String),
}

/// A tree: the number of the inode behind every path (`""` is the root), and the inodes.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) paths: BTreeMap<String, usize>,
    pub(crate) inodes: Vec<Node>,
}

/// The name of a path, and the directory it lies in.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn below(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { paths: BTreeMap::from([(String::new(), 0)]), inodes: vec![Node::Dir(None)] }
    }

    pub(crate) fn node(&self, path: &str) -> Option<&Node> {
        Some(&self.inodes[*self.paths.get(path)?])
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        matches!(self.node(path), Some(Node::Dir(_)))
    }

    /// Takes away a path and all below it.
    fn remove(&mut self, path: &str) {
        let inside = format!("{path}/");
        self.paths.retain(|p, _| p != path && !p.starts_with(&inside));
    }

    /// Where a directory's path leads, links followed; `None` where that is not there, or no directory.
    fn real(&self, path: &str) -> Option<String> {
        self.clone().walk(path, false, 40)
    }

    /// The same; what is missing on the way is made, where `make` says so.
    fn walk(&mut self, path: &str, make: bool, links: u32) -> Option<String> {
        let mut here = String::new();
        for name in path.split('/').filter(|n| !n.is_empty() && *n != ".") {
            if name == ".." {
                here = split(&here).0.to_owned();
                continue;
            }
            let next = below(&here, name);
            here = match self.node(&next).cloned() {
                Some(Node::Dir(_)) => next,
                Some(Node::Symlink(_, target)) => {
                    let from = if target.starts_with('/') { String::new() } else { here };
                    self.walk(&format!("{from}/{target}"), make, links.checked_sub(1)?)?
                }
                Some(Node::File(..) | Node::Waiting(_)) => return None,
                None if make => {
                    self.add(&next, Node::Dir(None));
                    next
                }
                None => return None,
            };
        }
        Some(here)
    }

    fn add(&mut self, path: &str, node: Node) {
        self.inodes.push(node);
        self.paths.insert(path.to_owned(), self.inodes.len() - 1);
    }

    /// Where a path leads whose last name is not followed.
    pub(crate) fn place(&self, path: &str) -> Option<String> {
        let (dir, name) = split(path);
        let place = below(&self.real(dir)?, name);
        self.paths.contains_key(&place).then_some(place)
    }

    /// Takes away what a whiteout hides.
    pub(crate) fn hide(&mut self, whiteout: &Member) {
        let (dir, name) = split(&whiteout.path);
        let Some(dir) = self.real(dir) else { return };
        match name.strip_prefix(".wh.").expect("a whiteout") {
            ".wh..opq" => {
                let inside = if dir.is_empty() { String::new() } else { format!("{dir}/") };
                self.paths.retain(|p, _| p.is_empty() || *p == dir || !p.starts_with(&inside));
            }
            hidden => self.remove(&below(&dir, hidden)),
        }
    }

    /// What is marked as opaque is there.
    pub(crate) fn mark(&mut self, whiteout: &Member) -> Option<()> {
        match whiteout.path.strip_suffix(".wh..wh..opq") {
            Some(dir) => self.walk(dir, true, 40).map(drop),
            None => Some(()),
        }
    }

    /// Puts one member on top; where it is put. `None` where it cannot be put there.
    pub(crate) fn put(&mut self, member: &Member) -> Option<String> {
        let (dir, name) = split(&member.path);
        let node = match &member.kind {
            Kind::Dir => Node::Dir(Some(member.stamp)),
            Kind::File(content) => Node::File(member.stamp, content.clone()),
            Kind::Symlink(target) => Node::Symlink(member.stamp, target.clone()),
            Kind::Link(target) => {
                let inode = self.place(target).map(|p| self.paths[&p]);
                let place = below(&self.walk(dir, true, 40)?, name);
                match inode {
                    Some(inode) if self.paths.get(&place) == Some(&inode) => return Some(place),
                    Some(inode) if !matches!(self.inodes[inode], Node::Waiting(_)) => {
                        self.remove(&place);
                        self.paths.insert(place.clone(), inode);
                    }
                    _ => {
                        self.remove(&place);
                        self.add(&place, Node::Waiting(target.clone()));
                    }
                }
                return (!self.is_dir(&place)).then_some(place);
            }
        };
        let place = below(&self.walk(dir, true, 40)?, name);
        if let (true, Node::Dir(_)) = (self.is_dir(&place), &node) {
            let inode = self.paths[&place];
            self.inodes[inode] = node;
        } else {
            self.remove(&place);
            self.add(&place, node);
        }
        Some(place)
    }

    /// Puts a layer on top; `None` where that cannot be.
    pub(crate) fn apply(&mut self, layer: &[Member]) -> Option<()> {
        layer.iter().filter(|m| m.is_whiteout()).for_each(|m| self.hide(m));
        layer.iter().filter(|m| m.is_whiteout()).try_for_each(|m| self.mark(m))?;
        layer.iter().filter(|m| !m.is_whiteout()).try_for_each(|m| self.put(m).map(drop))?;
        self.find_targets()
    }

    /// Waiting links become names of what they lead to. `None` where that did not come, or is a directory.
    pub(crate) fn find_targets(&mut self) -> Option<()> {
        loop {
            let waiting: Vec<(String, String)> = self
                .paths
                .iter()
                .filter_map(|(path, inode)| match &self.inodes[*inode] {
                    Node::Waiting(target) => Some((path.clone(), target.clone())),
                    _ => None,
                })
                .collect();
            if waiting.is_empty() {
                return Some(());
            }
            let mut found = false;
            for (path, target) in waiting {
                let Some(place) = self.place(&target) else { continue };
                let inode = self.paths[&place];
                match self.inodes[inode] {
                    Node::Waiting(_) => {}
                    Node::Dir(_) => return None,
                    _ => {
                        found = true;
                        self.paths.insert(path, inode);
                    }
                }
            }
            if !found {
                return None;
            }
        }
    }
}
