//! A recipe's items and rules, put into the tree on top of everything else.

use super::error::RecipeError;
use super::fill;
use super::types::{At, Attrs, Content, DirEntries, DirItem, FileItem, Item, ItemKind, Recipe, Rule};
use crate::source::draft::{Draft, NameId, NewInode, NewKind};
use crate::source::roots::{Made, Origin, Stamp};
use crate::source::{Attributes, DraftError, Extra, Kind, Layers, Pattern, Piece, XattrSet};
use daxkit_format::OnDisk;
use daxkit_format::ext4::encryption::ContextV2;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zerocopy::IntoBytes;

/// What items depend on beside the recipe.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// The time of items that have none of their own.
    pub time: Timestamp,
    /// Bytes in a block: how many names a directory needs for an htree.
    pub block_size: u32,
}

/// Most names of one inode that generated links make, well below `EXT4_LINK_MAX`.
const LINKS_OF_ONE: u32 = 60_000;
/// The name of the attribute that holds an encryption context.
const CONTEXT: &[u8] = b"encryption.c";

/// Puts items on top of the layers, then applies the rules to all of the tree.
///
/// # Errors
/// The first item or rule that cannot be applied, with its place in the recipe.
pub fn apply(recipe: &Recipe, layers: &mut Layers, surroundings: Surroundings) -> Result<(), RecipeError> {
    layers.begin().map_err(|e| RecipeError::at(At::default(), e))?;
    layers.draft.births = true;
    layers.draft.date_root(surroundings.time);
    for item in &recipe.items {
        put(item, layers, surroundings).map_err(|reason| RecipeError::at(item.at, reason))?;
    }
    layers.end().map_err(|e| {
        let waiting = recipe.items.iter().find(|i| matches!(i.kind, ItemKind::Link(_)));
        RecipeError::at(waiting.map_or_else(At::default, |i| i.at), e)
    })?;
    rules(&recipe.rules, layers)
}

fn put(item: &Item, layers: &mut Layers, s: Surroundings) -> Result<(), String> {
    let text = |e: DraftError| e.to_string();
    let existing = layers.draft.lookup(&item.path);
    let is_dir = matches!(item.kind, ItemKind::Dir(_));
    let over = existing.filter(|name| is_dir && layers.draft.is_dir(*name));
    // A directory that is there already keeps what the item does not speak of.
    let (base, base_xattrs, base_extra) = match over {
        Some(name) => layers.draft.described(name),
        None => (defaults(&item.kind, s.time), XattrSet::default(), Extra::default()),
    };
    let base = if over.is_some() { base } else { layers.owned(base) };
    let attributes = changed(base, &item.attrs);
    let mut extra = changed_extra(base_extra, &item.attrs);
    let mut xattrs = changed_xattrs(base_xattrs, &item.attrs);
    protect(&item.path, &extra, &mut xattrs);
    let mtime = attributes.mtime.into();
    let kind = match &item.kind {
        ItemKind::File(f) => {
            let kind = file(f, layers)?;
            if let NewKind::File { size, .. } = &kind {
                // An open range ends where the file does.
                let end = |end: u64| if end == u64::MAX { *size } else { end };
                extra.unwritten = f.unwritten.iter().map(|r| r.start..end(r.end)).filter(|r| !r.is_empty()).collect();
            }
            extra.placement = f.placement.clone();
            extra.mapping = f.mapping;
            kind
        }
        ItemKind::Dir(d) => {
            extra.htree_levels = d.htree_levels;
            NewKind::Dir
        }
        ItemKind::Symlink(target) => NewKind::Symlink(target.clone()),
        ItemKind::Link(target) => return layers.draft.link(&item.path, target, mtime).map(drop).map_err(text),
        ItemKind::Node(Kind::Fifo, _) => NewKind::Fifo,
        ItemKind::Node(Kind::Socket, _) => NewKind::Socket,
        ItemKind::Node(kind, device) => NewKind::Device(*kind, *device),
    };
    layers.draft.put(&item.path, NewInode { kind, attributes, xattrs, extra }).map_err(text)?;
    if let ItemKind::Dir(DirItem { entries: Some(entries), htree_levels }) = &item.kind {
        fill_dir(item, entries, *htree_levels, attributes, layers, s)?;
    }
    Ok(())
}

fn defaults(kind: &ItemKind, time: Timestamp) -> Attributes {
    let mode = match kind {
        ItemKind::Dir(_) => 0o755,
        ItemKind::Symlink(_) => 0o777,
        ItemKind::File(_) | ItemKind::Link(_) | ItemKind::Node(..) => 0o644,
    };
    Attributes { mode, uid: 0, gid: 0, atime: time, ctime: time, mtime: time }
}

fn changed(base: Attributes, a: &Attrs) -> Attributes {
    // A time of change alone is the time of everything.
    let mtime = a.mtime.unwrap_or(base.mtime);
    let other = |own: Option<Timestamp>, old| own.or(a.mtime).unwrap_or(old);
    Attributes {
        mode: a.mode.unwrap_or(base.mode),
        uid: a.uid.unwrap_or(base.uid),
        gid: a.gid.unwrap_or(base.gid),
        atime: other(a.atime, base.atime),
        ctime: other(a.ctime, base.ctime),
        mtime,
    }
}

fn changed_extra(mut extra: Extra, a: &Attrs) -> Extra {
    extra.flags |= a.flags;
    extra.dax = a.dax.or(extra.dax);
    extra.created = a.crtime.or(extra.created);
    extra.own_times |= a.atime.is_some() || a.ctime.is_some();
    extra
}

fn changed_xattrs(mut set: XattrSet, a: &Attrs) -> XattrSet {
    set.list.retain(|(name, _)| !a.remove_xattrs.contains(name) && a.xattrs.iter().all(|(n, _)| n != name));
    set.list.extend(a.xattrs.iter().cloned());
    set.list.sort_unstable();
    set
}

/// An encrypted inode has a context: version 2, AES-256-XTS and AES-256-CTS (the modes 1 and 4 of `fscrypt`), names padded to 32 bytes, a key
/// that nobody has, and a nonce of its own.
fn protect(path: &[u8], extra: &Extra, xattrs: &mut XattrSet) {
    if !extra.flags.contains(InodeFlags::ENCRYPT) || xattrs.list.iter().any(|(name, _)| name == CONTEXT) {
        return;
    }
    let mut context = ContextV2::zeroed();
    (context.version, context.contents_encryption_mode, context.filenames_encryption_mode) = (2, 1, 4);
    context.flags = 3;
    context.master_key_identifier = *b"daxkit test key.";
    let nonce = blake3::derive_key("daxkit fscrypt nonce", path);
    context.nonce.iter_mut().zip(nonce).for_each(|(to, from)| *to = from);
    xattrs.list.push((CONTEXT.to_vec(), context.as_bytes().to_vec()));
    xattrs.list.sort_unstable();
}

/// The content of a file: where it is kept, and which ranges of it are data.
fn file(f: &FileItem, layers: &mut Layers) -> Result<NewKind, String> {
    let (made, ends) = match &f.content {
        Content::None => (None, Vec::new()),
        Content::Bytes(bytes) => {
            let all = 0..bytes.len() as u64;
            (Some(Made::Bytes(bytes.clone())), vec![all])
        }
        Content::Host(path) => {
            let meta = std::fs::metadata(path).map_err(|e| format!("cannot read {path:?}: {e}"))?;
            if !meta.is_file() {
                return Err(format!("{path:?} is not a regular file"));
            }
            (Some(Made::Host(path.clone(), Stamp::of(&meta))), vec![0..meta.len()])
        }
        Content::Pieces(pieces) => {
            let end = f.size.unwrap_or(u64::MAX);
            let clip = |p: &Piece| Piece { range: p.range.start..p.range.end.min(end), pattern: p.pattern.clone() };
            let pieces: Vec<Piece> = pieces.iter().map(clip).filter(|p| !p.range.is_empty()).collect();
            let ranges = pieces.iter().map(|p| p.range.clone()).collect();
            (Some(Made::Pieces(pieces)), ranges)
        }
    };
    let have = ends.last().map_or(0, |r: &Range<u64>| r.end);
    let size = f.size.unwrap_or(have);
    if have > size {
        return Err(format!("its content of {have} bytes is longer than its size of {size}"));
    }
    if size > i64::MAX as u64 {
        return Err("its content has no end: a size is needed".to_owned());
    }
    let mut ranges = ends;
    for gap in f.holes.iter().chain(&f.unwritten) {
        ranges = fill::without(&ranges, gap);
    }
    let ranges = fill::joined(ranges);
    let whole = size == 0 || ranges.as_slice() == [0..size];
    let origin = match made.filter(|_| !ranges.is_empty()) {
        Some(made) => layers.keep(made).map_err(|e| e.to_string())?,
        None => Origin::NOWHERE,
    };
    Ok(NewKind::File { size, origin, ranges: (!whole).then(|| ranges.into_boxed_slice()) })
}

/// Fills a directory with names made by rule.
fn fill_dir(
    item: &Item,
    entries: &DirEntries,
    levels: u8,
    attributes: Attributes,
    layers: &mut Layers,
    s: Surroundings,
) -> Result<(), String> {
    let text = |e: DraftError| e.to_string();
    let count = match entries.count {
        Some(count) => count,
        None => fill::names_for_levels(levels, entries, s.block_size)
            .ok_or_else(|| format!("no number of names gives an htree of {levels} levels here"))?,
    };
    let size = entries.size;
    let origin = if size > 0 && entries.kind != Some(Kind::Dir) {
        let pieces = vec![Piece { range: 0..size, pattern: Pattern::Offset }];
        layers.keep(Made::Pieces(pieces)).map_err(text)?
    } else {
        Origin::NOWHERE
    };
    let new = |kind| NewInode { kind, attributes, xattrs: XattrSet::default(), extra: Extra::default() };
    let file = || {
        let attributes = Attributes { mode: attributes.mode & 0o666, ..attributes };
        NewInode { attributes, ..new(NewKind::File { size, origin, ranges: None }) }
    };
    let path = |i: u32| {
        let width = usize::from(entries.width);
        let mut path = item.path.clone();
        path.push(b'/');
        path.extend_from_slice(&entries.prefix);
        path.extend_from_slice(format!("{i:0width$}").as_bytes());
        path
    };
    for i in 0..count {
        let done = match entries.kind {
            Some(Kind::Dir) => layers.draft.put(&path(i), new(NewKind::Dir)),
            None if i % LINKS_OF_ONE != 0 => {
                let first = path(i - i % LINKS_OF_ONE);
                layers.draft.link(&path(i), &first, attributes.mtime.into())
            }
            _ => layers.draft.put(&path(i), file()),
        };
        done.map_err(text)?;
    }
    Ok(())
}

fn rules(rules: &[Rule], layers: &mut Layers) -> Result<(), RecipeError> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut matched = vec![false; rules.len()];
    let done = layers.for_each(|draft, name, path| {
        for (rule, matched) in rules.iter().zip(&mut matched) {
            if rule_applies(rule, draft, name, path) {
                *matched = true;
                change(draft, name, path, &rule.attrs);
            }
        }
        Ok(())
    });
    done.map_err(|e| RecipeError::at(At::default(), e))?;
    match rules.iter().zip(&matched).find(|(_, matched)| !**matched) {
        Some((rule, _)) => Err(RecipeError::at(rule.at, "this rule matches nothing in the image")),
        None => Ok(()),
    }
}

fn rule_applies(rule: &Rule, draft: &Draft, name: NameId, path: &[u8]) -> bool {
    let kind = draft.kind(name);
    (rule.kinds.is_empty() || kind.is_some_and(|k| rule.kinds.contains(&k)))
        && rule.matches.is_match(Path::new(OsStr::from_bytes(path)))
}

fn change(draft: &mut Draft, name: NameId, path: &[u8], attrs: &Attrs) {
    let (base, xattrs, extra) = draft.described(name);
    let extra = changed_extra(extra, attrs);
    let mut xattrs = changed_xattrs(xattrs, attrs);
    protect(path, &extra, &mut xattrs);
    draft.redescribe(name, changed(base, attrs), xattrs, extra);
}
