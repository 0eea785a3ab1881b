//! Trees of the host, and archives, copied into the image.

mod copy;

use super::Command;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, anyhow, bail};
use copy::Copy;
use daxkit_build::progress::NoProgress;
use daxkit_build::recipe::{self, Expect, FileSystemOptions, Recipe, Surroundings};
use daxkit_build::source::{
    AclIds, Archive, Layers, NumericIds, OwnerPolicy, ScanOptions, Source, TarInput, TarOptions, exclude_set, scan,
};
use daxkit_format::ext4::inode::mode;
use daxkit_volume::ext4::edit::NewInode;
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["put"],
    args: "[-q] [--owner UID:GID] [--exclude GLOB]... [--dax PATH]... [--holes host|none] [--recipe FILE] [--skip-unreadable] \
[SOURCE...] DIRECTORY",
    summary: "Copy the content of directories and tar archives (- is standard input) into a directory of the image, which is made where \
it is not there, with owners, modes, times, attributes, links and holes; files that are there are replaced; --recipe: with the items and \
rules of a recipe on top, as in dax-mkfs",
    example: "put /etc /backup",
    run: put,
}];

/// What the words ask for.
#[derive(Default)]
struct Request {
    quiet: bool,
    owner: Option<(u32, u32)>,
    exclude: Vec<String>,
    dax: Vec<Vec<u8>>,
    no_holes: bool,
    skip_unreadable: bool,
    recipe: Option<(PathBuf, Recipe)>,
    words: Vec<Vec<u8>>,
}

impl Request {
    fn parse(words: &[Vec<u8>], usage: &str) -> Result<Self> {
        let mut request = Self::default();
        let mut holes = None;
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = |name: &str| rest.next().with_context(|| format!("{name} wants a value; {usage}"));
            match word.as_slice() {
                b"-q" => request.quiet = true,
                b"--skip-unreadable" => request.skip_unreadable = true,
                b"--exclude" => request.exclude.push(shown(value("--exclude")?)),
                b"--dax" => request.dax.push(value("--dax")?.clone()),
                b"--owner" => request.owner = Some(owner(value("--owner")?)?),
                b"--recipe" => {
                    let path = Path::new(OsStr::from_bytes(value("--recipe")?));
                    request.recipe = Some((path.to_owned(), recipe::read(path)?));
                }
                b"--holes" => holes = Some(shown(value("--holes")?)),
                option if option.len() > 1 && option.starts_with(b"-") => bail!("no option {}; {usage}", shown(option)),
                _ => request.words.push(word.clone()),
            }
        }
        if request.words.len() < if request.recipe.is_some() { 1 } else { 2 } {
            bail!("{usage}");
        }
        if let Some((_, recipe)) = &request.recipe {
            holes = holes.or_else(|| recipe.filesystem.holes.clone());
        }
        request.no_holes = match holes.as_deref() {
            None | Some("host") => false,
            Some("none") => true,
            Some(other) => bail!("holes {other:?}: host or none"),
        };
        request.take_recipe()?;
        Ok(request)
    }

    /// Takes over what a recipe says of sources. What it says of a file system that is to be made concerns nobody here.
    fn take_recipe(&mut self) -> Result<()> {
        let Some((_, recipe)) = &self.recipe else { return Ok(()) };
        let f = &recipe.filesystem;
        let of_sources = FileSystemOptions {
            holes: f.holes.clone(),
            dax_paths: f.dax_paths.clone(),
            owner: f.owner,
            exclude: f.exclude.clone(),
            time: f.time,
            reproducible: f.reproducible,
            ..FileSystemOptions::default()
        };
        if *f != of_sources || !recipe.defects.is_empty() || recipe.expect != Expect::default() {
            bail!(
                "--recipe: the image is there; of [filesystem] only holes, dax, owner, exclude and time count, and there are no defects"
            );
        }
        self.owner = self.owner.or(f.owner);
        self.exclude.splice(0..0, f.exclude.iter().cloned());
        self.dax.splice(0..0, f.dax_paths.iter().map(|path| path.clone().into_bytes()));
        Ok(())
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
    let (source, left_out) = read(session, &request, sources)?;
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
        let mut copy = Copy::new(source.tree(), request.no_holes);
        copy.run(editor, &source, dir, &request.dax)?;
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
fn read(session: &Session<'_>, request: &Request, sources: &[Vec<u8>]) -> Result<(Source, Vec<String>)> {
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
    // What a recipe stands on lies beneath what was named.
    let beneath = request.recipe.iter().flat_map(|(_, recipe)| recipe.sources.iter().map(|(_, path)| path.clone()));
    for path in beneath.chain(sources.iter().map(|word| PathBuf::from(OsStr::from_bytes(word)))) {
        let named = || path.display().to_string();
        let is_stdin = path.as_os_str() == "-";
        if !is_stdin && path.is_dir() {
            let (tree, skipped) = scan(&path, &options, &NoProgress)?;
            left_out.extend(skipped.iter().map(ToString::to_string));
            layers.add_directory(tree, &path).with_context(named)?;
            continue;
        }
        let (input, name) = if is_stdin {
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
    if let Some((path, recipe)) = &request.recipe {
        let time = recipe.filesystem.time.unwrap_or_else(|| session.time());
        let surroundings = Surroundings { time, block_size: session.volume.block_size() };
        recipe::apply(recipe, &mut layers, surroundings).map_err(|e| anyhow!("{}:{e}", path.display()))?;
    }
    Ok((layers.finish()?, left_out))
}
