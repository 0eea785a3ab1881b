//! Copying a tree of nodes into an image, one by one.

use crate::output::shown;
use anyhow::{Context, Result, bail};
use daxkit_build::source::{Kind, Mapping, NodeId, Placement, Reader, Source, Tree};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{Fill, NewInode};
use daxkit_volume::{EditError, Editor, Inode};
use std::collections::HashMap;

/// Bytes of a file copied at once.
const CHUNK: usize = 8 << 20;

/// A tree on its way into an image.
pub(super) struct Copy<'t> {
    tree: &'t Tree,
    /// Where each node is in the image.
    made: HashMap<u32, InodeNr>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    no_holes: bool,
}

impl<'t> Copy<'t> {
    pub(super) fn new(tree: &'t Tree, no_holes: bool) -> Self {
        Self { tree, made: HashMap::new(), files: 0, bytes: 0, no_holes }
    }

    /// Copies all of it below a directory of the image, and gives the DAX flag to these paths and what lies below them.
    pub(super) fn run(
        &mut self,
        editor: &mut Editor<'_>,
        source: &Source,
        dir: InodeNr,
        dax: &[Vec<u8>],
    ) -> Result<()> {
        let mut reader = Reader::new(source)?;
        let mut dirs = Vec::new();
        for id in self.tree.ids() {
            if self.tree.parent(id) == id {
                self.made.insert(id.0, dir);
                continue;
            }
            let path = || shown(&self.tree.path(id));
            let at = self.made.get(&self.tree.parent(id).0).copied();
            let at = at.with_context(|| format!("{}: its directory was not made", path()))?;
            let nr = self.node(editor, &mut reader, id, at).with_context(path)?;
            self.made.insert(id.0, nr);
            self.files += 1;
            if self.tree.kind(id) == Kind::Dir {
                dirs.push((id, nr));
            }
        }
        self.extras(editor)?;
        // What stands in a directory has changed its times; the deepest come last in the tree.
        for (id, nr) in dirs.into_iter().rev() {
            let mut inode = editor.inode(nr).map_err(EditError::from)?;
            self.times(editor, &mut inode, id)?;
        }
        for path in dax {
            let id = self.tree.lookup(path).with_context(|| format!("--dax {}: not in the sources", shown(path)))?;
            self.set_dax(editor, id)?;
        }
        Ok(())
    }

    /// What nodes have beyond their attributes: flags, blocks without content, a kind of map, a time of creation.
    fn extras(&self, editor: &mut Editor<'_>) -> Result<()> {
        for (id, extra) in self.tree.extras() {
            let path = || shown(&self.tree.path(id));
            let Some(nr) = self.made.get(&id.0) else { continue };
            let mut inode = editor.inode(*nr).map_err(EditError::from)?;
            if extra.placement != Placement::Best || extra.htree_levels > 0 {
                bail!("{}: only dax-mkfs lays blocks and names out as they are wished", path());
            }
            match extra.mapping {
                Mapping::Default => {}
                Mapping::Extents => editor.convert_map(&mut inode, true).with_context(path)?,
                Mapping::Indirect => editor.convert_map(&mut inode, false).with_context(path)?,
                Mapping::Inline => bail!("{}: whether data lies in the inode is not wished for here", path()),
            }
            for range in &extra.unwritten {
                editor.fallocate(&mut inode, range.clone(), Fill::Unwritten, true).with_context(path)?;
            }
            let dax = match extra.dax {
                Some(dax) => {
                    if dax {
                        InodeFlags::DAX
                    } else {
                        InodeFlags::empty()
                    }
                }
                None => inode.flags() & InodeFlags::DAX,
            };
            let flags = inode.flags().difference(InodeFlags::DAX) | dax | extra.flags;
            if flags != inode.flags() {
                editor.set_flags(&mut inode, flags).with_context(path)?;
            }
            if let Some(created) = extra.created {
                editor.modify(&mut inode, |d| d.set_crtime(created));
            }
            self.times(editor, &mut inode, id)?;
        }
        Ok(())
    }

    /// Gives the DAX flag to a node and, through a directory, to what lies below it.
    fn set_dax(&self, editor: &mut Editor<'_>, id: NodeId) -> Result<()> {
        if let Some(nr) = self.made.get(&id.0)
            && matches!(self.tree.kind(id), Kind::File | Kind::Dir)
        {
            let mut inode = editor.inode(*nr).map_err(EditError::from)?;
            let flags = inode.flags() | InodeFlags::DAX;
            editor.set_flags(&mut inode, flags)?;
        }
        self.tree.children(id).try_for_each(|child| self.set_dax(editor, NodeId(child)))
    }

    fn described(&self, id: NodeId, kind: u16) -> NewInode {
        NewInode {
            mode: kind | self.tree.mode(id) & 0o7777,
            uid: self.tree.uid(id),
            gid: self.tree.gid(id),
            project: None,
            keep_group: true,
        }
    }

    /// Makes one node under its name in a directory of the image.
    fn node(&mut self, editor: &mut Editor<'_>, reader: &mut Reader<'_>, id: NodeId, dir: InodeNr) -> Result<InodeNr> {
        let (tree, name) = (self.tree, self.tree.name(id));
        let parent = editor.inode(dir).map_err(EditError::from)?;
        let kind = tree.kind(id);
        if let Some(entry) = editor.lookup(&parent, name).map_err(EditError::from)? {
            let old = editor.inode(entry.inode).map_err(EditError::from)?;
            match (kind, old.is_dir()) {
                (Kind::Dir, true) => {
                    let mut old = old;
                    self.attributes(editor, &mut old, id)?;
                    return Ok(old.nr());
                }
                (Kind::Dir, false) => bail!("a file is there where a directory is to be"),
                (_, true) => bail!("a directory is there"),
                (_, false) => editor.unlink(dir, name)?,
            }
        }
        let first = tree.primary(id);
        if first != id
            && let Some(nr) = self.made.get(&first.0)
        {
            return Ok(editor.link(dir, name, *nr)?.nr());
        }
        let mut inode = match kind {
            Kind::File => editor.create(dir, name, &self.described(id, mode::IFREG))?,
            Kind::Dir => editor.mkdir(dir, name, &self.described(id, mode::IFDIR))?,
            Kind::Symlink => editor.symlink(dir, name, tree.symlink_target(id), &self.described(id, mode::IFLNK))?,
            Kind::Char => editor.mknod(dir, name, &self.described(id, mode::IFCHR), tree.device(id))?,
            Kind::Block => editor.mknod(dir, name, &self.described(id, mode::IFBLK), tree.device(id))?,
            Kind::Fifo => editor.mknod(dir, name, &self.described(id, mode::IFIFO), (0, 0))?,
            Kind::Socket => editor.mknod(dir, name, &self.described(id, mode::IFSOCK), (0, 0))?,
        };
        if kind == Kind::File {
            self.content(editor, reader, id, &mut inode)?;
        }
        self.attributes(editor, &mut inode, id)?;
        Ok(inode.nr())
    }

    fn content(
        &mut self,
        editor: &mut Editor<'_>,
        reader: &mut Reader<'_>,
        id: NodeId,
        inode: &mut Inode,
    ) -> Result<()> {
        let size = self.tree.size(id);
        let whole = [0..size];
        let ranges = match self.tree.data_ranges(id) {
            Some(ranges) if !self.no_holes => ranges,
            _ => &whole[..],
        };
        let file = reader.open(id)?;
        let mut buf = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let n = (range.end - at).min(CHUNK as u64) as usize;
                let Some(part) = buf.get_mut(..n) else { break };
                file.read_exact_at(part, at)?;
                editor.write_content(inode, at, part)?;
                at += n as u64;
                self.bytes += n as u64;
            }
        }
        file.finish()?;
        if inode.size() < size {
            editor.truncate(inode, size)?;
        }
        Ok(())
    }

    /// Attributes and times; owner, group and mode of what was there already.
    fn attributes(&self, editor: &mut Editor<'_>, inode: &mut Inode, id: NodeId) -> Result<()> {
        let (tree, bits) = (self.tree, self.tree.mode(id) & 0o7777);
        if (inode.uid(), inode.gid()) != (tree.uid(id), tree.gid(id)) {
            editor.set_owner(inode, tree.uid(id), tree.gid(id))?;
        }
        if !inode.is_symlink() && inode.i_mode.get() & 0o7777 != bits {
            editor.modify(inode, |d| d.i_mode.set(d.i_mode.get() & !0o7777 | bits));
        }
        for (name, value) in tree.xattrs(id).map(|set| set.list.as_slice()).unwrap_or_default() {
            editor.set_xattr(inode, name, value).with_context(|| format!("attribute {}", shown(name)))?;
        }
        self.times(editor, inode, id)
    }

    fn times(&self, editor: &mut Editor<'_>, inode: &mut Inode, id: NodeId) -> Result<()> {
        let (atime, mtime) = (self.tree.atime(id), self.tree.mtime(id));
        editor.modify(inode, |d| {
            d.set_atime(atime);
            d.set_mtime(mtime);
        });
        Ok(editor.store_inode(inode)?)
    }
}
