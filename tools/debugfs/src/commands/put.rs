//! Trees of the host, and archives, copied into the image.

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, anyhow, bail};
use daxkit_build::progress::NoProgress;
use daxkit_build::source::{
    AclIds, Archive, Kind, Layers, NodeId, NumericIds, OwnerPolicy, Reader, ScanOptions, Source, TarInput, TarOptions,
    Tree, exclude_set, scan,
};
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::mode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::NewInode;
use daxkit_volume::{EditError, Editor, Inode};
use serde_json::json;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["put"],
    args: "[-q] [--owner UID:GID] [--exclude GLOB]... [--dax PATH]... [--holes host|none] [--skip-unreadable] SOURCE... DIRECTORY",
    summary: "Copy the content of directories and tar archives (- is standard input) into a directory of the image, which is made where \
it is not there, with owners, modes, times, attributes, links and holes; files that are there are replaced",
    example: "put /etc /backup",
    run: put,
}];

/// Bytes of a file copied at once.
const CHUNK: usize = 8 << 20;

/// What the words ask for.
#[derive(Default)]
struct Request {
    quiet: bool,
    owner: Option<(u32, u32)>,
    exclude: Vec<String>,
    dax: Vec<Vec<u8>>,
    no_holes: bool,
    skip_unreadable: bool,
    words: Vec<Vec<u8>>,
}

impl Request {
    fn parse(words: &[Vec<u8>], usage: &str) -> Result<Self> {
        let mut request = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = |name: &str| rest.next().with_context(|| format!("{name} wants a value; {usage}"));
            match word.as_slice() {
                b"-q" => request.quiet = true,
                b"--skip-unreadable" => request.skip_unreadable = true,
                b"--exclude" => request.exclude.push(shown(value("--exclude")?)),
                b"--dax" => request.dax.push(value("--dax")?.clone()),
                b"--owner" => request.owner = Some(owner(value("--owner")?)?),
                b"--holes" => {
                    request.no_holes = match value("--holes")?.as_slice() {
                        b"host" => false,
                        b"none" => true,
                        other => bail!("--holes {}: host or none", shown(other)),
                    }
                }
                option if option.len() > 1 && option.starts_with(b"-") => bail!("no option {}; {usage}", shown(option)),
                _ => request.words.push(word.clone()),
            }
        }
        if request.words.len() < 2 {
            bail!("{usage}");
        }
        Ok(request)
    }
}

fn owner(word: &[u8]) -> Result<(u32, u32)> {
    let text = shown(word);
    let parts = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    parts.with_context(|| format!("--owner {text}: wants UID:GID in numbers"))
}

fn put(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let request = Request::parse(words, &command.usage())?;
    session.check_writable()?;
    let Some((target, sources)) = request.words.split_last() else { return Ok(()) };
    let (source, left_out) = read(&request, sources)?;
    for line in left_out {
        session.messages.warning(line);
    }
    let dir = match session.inode(target) {
        Ok(inode) if inode.is_dir() => inode.nr(),
        Ok(_) => bail!("{}: not a directory", shown(target)),
        Err(_) => {
            let (parent, name) = session.parent_and_name(target)?;
            let new = NewInode::of_root(mode::IFDIR | 0o755);
            session.edit(|editor| Ok(editor.mkdir(parent, &name, &new)?)).with_context(|| shown(target))?.nr()
        }
    };
    let count = session.edit(|editor| {
        let mut copy =
            Copy { tree: source.tree(), made: HashMap::new(), files: 0, bytes: 0, no_holes: request.no_holes };
        copy.run(editor, &source, dir, &request)?;
        Ok((copy.files, copy.bytes))
    })?;
    if session.json {
        let document = json!({ "files": count.0, "bytes": count.1 });
        return output::document(&mut session.out, command.name(), document);
    }
    if !request.quiet {
        writeln!(session.out, "{} files, {} bytes", count.0, count.1)?;
    }
    Ok(())
}

/// Reads all sources into one tree, the later on top; what is not in it comes back as lines.
fn read(request: &Request, sources: &[Vec<u8>]) -> Result<(Source, Vec<String>)> {
    let exclude = exclude_set(&request.exclude).map_err(|e| anyhow!("--exclude: {e}"))?;
    let owner = request.owner.map_or(OwnerPolicy::AsIs, |(uid, gid)| OwnerPolicy::Fixed(uid, gid));
    let options = ScanOptions {
        exclude: exclude.clone(),
        owner,
        skip_unreadable: request.skip_unreadable,
        detect_holes: !request.no_holes,
        ..ScanOptions::default()
    };
    let ids: Arc<dyn AclIds> = Arc::new(NumericIds);
    let tar = TarOptions { spool_dir: std::env::temp_dir(), read_xattrs: true, ids };
    let mut layers = Layers::new(exclude, owner);
    let mut left_out = Vec::new();
    for word in sources {
        let path = PathBuf::from(OsStr::from_bytes(word));
        let named = || shown(word);
        if word != b"-" && path.is_dir() {
            let (tree, skipped) = scan(&path, &options, &NoProgress)?;
            left_out.extend(skipped.iter().map(ToString::to_string));
            layers.add_directory(tree, &path).with_context(named)?;
            continue;
        }
        let (input, name) = if word == b"-" {
            (TarInput::Stream(Box::new(std::io::stdin())), Path::new("standard input"))
        } else {
            (TarInput::Path(&path), path.as_path())
        };
        let mut archive = Archive::open(input, tar.clone()).with_context(named)?;
        let added = layers.add_archive(&mut archive, &NoProgress);
        left_out.extend(archive.take_notices().iter().map(|n| format!("{}: {n}", name.display())));
        added.with_context(named)?;
        layers.end_archive(archive.finish().with_context(named)?, name);
    }
    Ok((layers.finish()?, left_out))
}

struct Copy<'t> {
    tree: &'t Tree,
    /// Where each node is in the image.
    made: HashMap<u32, InodeNr>,
    files: u64,
    bytes: u64,
    no_holes: bool,
}

impl Copy<'_> {
    fn run(&mut self, editor: &mut Editor<'_>, source: &Source, dir: InodeNr, request: &Request) -> Result<()> {
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
        // What stands in a directory has changed its times; the deepest come last in the tree.
        for (id, nr) in dirs.into_iter().rev() {
            let mut inode = editor.inode(nr).map_err(EditError::from)?;
            self.times(editor, &mut inode, id)?;
        }
        for path in &request.dax {
            let id = self.tree.lookup(path).with_context(|| format!("--dax {}: not in the sources", shown(path)))?;
            self.set_dax(editor, id)?;
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

    fn new(&self, id: NodeId, kind: u16) -> NewInode {
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
            Kind::File => editor.create(dir, name, &self.new(id, mode::IFREG))?,
            Kind::Dir => editor.mkdir(dir, name, &self.new(id, mode::IFDIR))?,
            Kind::Symlink => editor.symlink(dir, name, tree.symlink_target(id), &self.new(id, mode::IFLNK))?,
            Kind::Char => editor.mknod(dir, name, &self.new(id, mode::IFCHR), tree.device(id))?,
            Kind::Block => editor.mknod(dir, name, &self.new(id, mode::IFBLK), tree.device(id))?,
            Kind::Fifo => editor.mknod(dir, name, &self.new(id, mode::IFIFO), (0, 0))?,
            Kind::Socket => editor.mknod(dir, name, &self.new(id, mode::IFSOCK), (0, 0))?,
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
