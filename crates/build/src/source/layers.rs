//! Layers put on each other: directories, archives and made files become one tree with its content.
//!
//! A later layer wins. What an archive's names mean is decided here (whiteouts, hard links, names that would lead out); how an
//! archive is read, in [`super::tar`].

use super::builder::{Builder, Chunk};
use super::draft::{Children, Draft, DraftInode, NO_SET, Name, NameId, NewInode, NewKind};
use super::draft_error::DraftError;
use super::error::ScanError;
use super::extra::Extra;
use super::roots::{Made, Origin, Root, Source};
use super::scan::OwnerPolicy;
use super::tar::{Archive, ContentFile, Member, MemberKind, TarError};
use super::tree::{Attributes, Kind, Node, Tree, XattrSet};
use crate::progress::Progress;
use globset::GlobSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Why layers do not make a tree.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// An archive that cannot be read.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// A name, link or layer.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A tree larger than can be numbered.
    #[error(transparent)]
    Tree(#[from] ScanError),
}

/// A tree being made from layers.
pub struct Layers {
    pub(crate) draft: Draft,
    pub(super) roots: Vec<Root>,
    pub(super) exclude: GlobSet,
    pub(super) owner: OwnerPolicy,
    /// The root of [`Root::Made`], once there is one.
    made: Option<usize>,
    pub(super) layers: u16,
}

impl Layers {
    /// No layer yet. `exclude` and `owner` apply to every layer; directories have both applied as they are scanned.
    #[must_use]
    pub fn new(exclude: GlobSet, owner: OwnerPolicy) -> Self {
        Self { draft: Draft::new(), roots: Vec::new(), exclude, owner, made: None, layers: 0 }
    }

    pub(crate) fn begin(&mut self) -> Result<(), DraftError> {
        if self.layers > 0 {
            self.draft.next_layer()?;
        }
        self.layers += 1;
        Ok(())
    }

    /// Takes away what is to be left out. It happens at the end, so that a hard link to something that is left out keeps its
    /// content.
    fn leave_out(&mut self) -> Result<(), DraftError> {
        if self.exclude.is_empty() {
            return Ok(());
        }
        let exclude = std::mem::take(&mut self.exclude);
        self.for_each(|draft, name, path| {
            if name != Draft::ROOT && exclude.is_match(Path::new(OsStr::from_bytes(path))) {
                draft.kill(name);
            }
            Ok(())
        })
    }

    pub(crate) fn owned(&self, mut a: Attributes) -> Attributes {
        if let OwnerPolicy::Fixed(uid, gid) = self.owner {
            (a.uid, a.gid) = (uid, gid);
        }
        a
    }

    /// Puts the tree that was scanned from a directory on top.
    ///
    /// # Errors
    /// See [`LayerError`].
    pub fn add_directory(&mut self, tree: Tree, path: &Path) -> Result<(), LayerError> {
        self.begin()?;
        let root = self.roots.len();
        for id in tree.ids() {
            let here = tree.path(id);
            let primary = tree.primary(id);
            if primary != id {
                self.draft.link(&here, &tree.path(primary), tree.mtime(id).into())?;
                continue;
            }
            let kind = match tree.kind(id) {
                Kind::File => NewKind::File {
                    size: tree.size(id),
                    origin: Origin::new(root, u64::from(id.0)).ok_or(DraftError::TooMany { what: "sources" })?,
                    ranges: tree.data_ranges(id).map(Into::into),
                },
                Kind::Dir => NewKind::Dir,
                Kind::Symlink => NewKind::Symlink(tree.symlink_target(id).to_vec()),
                kind @ (Kind::Char | Kind::Block) => NewKind::Device(kind, tree.device(id)),
                Kind::Fifo => NewKind::Fifo,
                Kind::Socket => NewKind::Socket,
            };
            let attributes = Attributes {
                mode: tree.mode(id),
                uid: tree.uid(id),
                gid: tree.gid(id),
                atime: tree.atime(id),
                ctime: tree.ctime(id),
                mtime: tree.mtime(id),
            };
            let xattrs = tree.xattrs(id).cloned().unwrap_or_default();
            self.draft.put(&here, NewInode { kind, attributes, xattrs, extra: Extra::default() })?;
        }
        self.draft.end_layer()?;
        self.roots.push(Root::Directory(path.to_path_buf(), Some(tree)));
        Ok(())
    }

    /// Puts an archive's members on top; [`Layers::end_archive`] must follow.
    ///
    /// Whiteouts (`.wh.NAME`, `.wh..wh..opq`, OCI image specification, "layer") count where something lies beneath; the files below
    /// `.wh..wh.` that AUFS keeps for itself are left out there.
    ///
    /// # Errors
    /// See [`LayerError`].
    pub fn add_archive(&mut self, archive: &mut Archive, progress: &dyn Progress) -> Result<(), LayerError> {
        self.begin()?;
        progress.stage("read the archive", 0);
        while let Some(member) = archive.next_member(&|| progress.cancelled())? {
            self.add_member(member)?;
            progress.advance(1);
        }
        Ok(self.draft.end_layer()?)
    }

    /// Ends the layer of an archive: its members' content lies in `content`. `name` is what it is called in messages.
    pub fn end_archive(&mut self, content: ContentFile, name: &Path) {
        self.roots.push(Root::Stored(content, name.to_path_buf()));
    }

    fn add_member(&mut self, member: Member) -> Result<(), DraftError> {
        let Member { path, kind, attributes, created, xattrs, flags } = member;
        let attributes = self.owned(attributes);
        let mtime = attributes.mtime.into();
        if self.layers > 1
            && let Some((dir, hidden)) = whiteout(&path)
        {
            match hidden {
                Whiteout::Name(name) => self.draft.whiteout(&[dir, b"/", name].concat()),
                Whiteout::Opaque => self.draft.opaque(dir, mtime)?,
                Whiteout::Internal => {}
            }
            return Ok(());
        }
        let root = self.roots.len();
        let place = |at| Origin::new(root, at).ok_or(DraftError::TooMany { what: "sources" });
        let kind = match kind {
            MemberKind::File(data) => NewKind::File { size: data.size, origin: place(data.at)?, ranges: data.ranges },
            MemberKind::Dir => NewKind::Dir,
            MemberKind::Symlink(target) => NewKind::Symlink(target),
            MemberKind::HardLink(target, data) => {
                let name = self.draft.link(&path, &target, mtime)?;
                if let Some(data) = data {
                    self.draft.set_content(name, data.size, place(data.at)?, data.ranges);
                }
                return Ok(());
            }
            MemberKind::Char(major, minor) => NewKind::Device(Kind::Char, (major, minor)),
            MemberKind::Block(major, minor) => NewKind::Device(Kind::Block, (major, minor)),
            MemberKind::Fifo => NewKind::Fifo,
        };
        let extra = Extra { flags, created, ..Extra::default() };
        self.draft.put(&path, NewInode { kind, attributes, xattrs, extra })?;
        Ok(())
    }

    /// Ends a layer of made files.
    pub(crate) fn end(&mut self) -> Result<(), DraftError> {
        self.draft.end_layer()
    }

    /// Keeps the content of one file.
    pub(crate) fn keep(&mut self, made: Made) -> Result<Origin, DraftError> {
        let root = *self.made.get_or_insert_with(|| {
            self.roots.push(Root::Made(Vec::new()));
            self.roots.len() - 1
        });
        let too_many = DraftError::TooMany { what: "files with content of their own" };
        let Some(Root::Made(list)) = self.roots.get_mut(root) else { return Err(too_many) };
        list.push(made);
        Origin::new(root, list.len() as u64 - 1).ok_or(too_many)
    }

    /// Calls `change` for every name that will be in the tree, with its path, parents before children.
    pub(crate) fn for_each(
        &mut self,
        mut change: impl FnMut(&mut Draft, NameId, &[u8]) -> Result<(), DraftError>,
    ) -> Result<(), DraftError> {
        let children = self.draft.children();
        let mut queue: Vec<(NameId, u16, Vec<u8>)> = Vec::new();
        change(&mut self.draft, Draft::ROOT, b"/")?;
        queue.push((Draft::ROOT, 0, Vec::new()));
        while let Some((dir, opaque, path)) = queue.pop() {
            let Some(opaque) = self.draft.names.get(dir.0 as usize).map(|n| n.opaque.max(opaque)) else { continue };
            for child in children.of(dir) {
                let Some(name) = self.draft.names.get(*child as usize) else { continue };
                if self.draft.shows(name, opaque).is_none() {
                    continue;
                }
                let is_dir = self.draft.inode(name.inode).is_some_and(|i| i.kind == Kind::Dir);
                let mut below = path.clone();
                below.push(b'/');
                below.extend_from_slice(self.draft.bytes(name));
                change(&mut self.draft, NameId(*child), &below)?;
                if is_dir {
                    queue.push((NameId(*child), opaque, below));
                }
            }
        }
        Ok(())
    }

    /// The tree, with the content of its files.
    ///
    /// # Errors
    /// More names than can be numbered.
    pub fn finish(mut self) -> Result<Source, LayerError> {
        self.leave_out()?;
        let Self { draft, roots, .. } = self;
        let children = draft.children();
        let root = draft.names.first().and_then(|n| draft.inode(n.inode));
        let Some(root) = root else { return Err(DraftError::RootNotDir.into()) };
        let xattrs = draft.set(root.xattrs).cloned().unwrap_or_default();
        let extra = draft.extras.get(&super::draft::InodeId(0)).cloned();
        let mut builder = Builder::new(&root.attributes(), xattrs, extra);
        let mut origins = Vec::with_capacity(draft.names.len());
        origins.push(Origin::NOWHERE);
        // Of each directory, in the order of the builder: its name, and what is hidden beneath it.
        let mut dirs = vec![(Draft::ROOT, draft.names.first().map_or(0, |n| n.opaque))];
        let mut index = 0;
        while let (Some(dir), Some((name, opaque))) = (builder.dir(index), dirs.get(index).copied()) {
            let chunk = chunk(&draft, &children, name, opaque, &mut origins, &mut dirs);
            builder.append(dir, vec![chunk])?;
            index += 1;
        }
        drop((draft, children));
        origins.shrink_to_fit();
        Ok(Source::merged(builder.finish(), roots, origins))
    }
}

/// What a whiteout hides.
#[derive(Debug, PartialEq, Eq)]
enum Whiteout<'a> {
    /// What lower layers have under this name.
    Name(&'a [u8]),
    /// All that lower layers have in the directory.
    Opaque,
    /// Nothing: a file that AUFS keeps for itself.
    Internal,
}

/// The directory and the meaning of a name that is a whiteout's.
fn whiteout(path: &[u8]) -> Option<(&[u8], Whiteout<'_>)> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path.get(..at)?, path.get(at + 1..)?),
        None => (&b""[..], path),
    };
    let hidden = name.strip_prefix(b".wh.")?;
    Some((
        dir,
        match hidden {
            b".wh..opq" => Whiteout::Opaque,
            h if h.is_empty() || h.starts_with(b".wh.") => Whiteout::Internal,
            name => Whiteout::Name(name),
        },
    ))
}

/// The children of a directory as the builder takes them.
fn chunk(
    draft: &Draft,
    children: &Children,
    dir: NameId,
    opaque: u16,
    origins: &mut Vec<Origin>,
    dirs: &mut Vec<(NameId, u16)>,
) -> Chunk {
    let mut chunk = Chunk::default();
    for child in children.of(dir) {
        let Some(name) = draft.names.get(*child as usize) else { continue };
        let (Some(below), Some(inode)) = (draft.shows(name, opaque), draft.inode(name.inode)) else { continue };
        if inode.kind == Kind::Dir {
            dirs.push((NameId(*child), below));
        }
        origins.push(inode.origin);
        add(&mut chunk, draft, name, inode);
    }
    chunk
}

fn add(chunk: &mut Chunk, draft: &Draft, name: &Name, inode: &DraftInode) {
    let index = chunk.nodes.len() as u32;
    let bytes = draft.bytes(name);
    let mut node = Node::new(inode.kind, &inode.attributes());
    node.name_at = chunk.names.len() as u32;
    node.name_len = bytes.len() as u8;
    chunk.names.extend_from_slice(bytes);
    match inode.kind {
        Kind::Symlink => {
            let target = draft.target(inode);
            node.value = target.len() as u64;
            chunk.names.extend_from_slice(target);
        }
        Kind::Dir => {}
        _ => node.value = inode.value,
    }
    if inode.xattrs != NO_SET
        && let Some(set) = draft.set(inode.xattrs)
    {
        if chunk.sets.last() != Some(set) {
            chunk.sets.push(XattrSet::clone(set));
        }
        node.xattrs = chunk.sets.len() as u32 - 1;
    }
    if let Some(ranges) = draft.ranges.get(&name.inode) {
        chunk.holes.push((index, ranges.clone()));
    }
    if let Some(extra) = draft.extras.get(&name.inode) {
        chunk.extras.push((index, extra.clone()));
    }
    if inode.linked {
        chunk.links.push((index, 0, u64::from(name.inode.0)));
        if name.is_birth {
            chunk.births.push(index);
        }
    }
    chunk.nodes.push(node);
}
