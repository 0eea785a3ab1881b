//! An inode in debugfs's words, and as JSON in the kernel's.

use super::Command;
use crate::files::{extent_tree, long_time, type_name};
use crate::output::{self, shown, text};
use crate::session::Session;
use anyhow::Result;
use daxkit_format::ext4::features::RoCompat;
use daxkit_format::ext4::inode::{Timestamp, checksum_has_high, mode};
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_format::field::{Structure, to_hex};
use daxkit_volume::ext4::MapItem;
use daxkit_volume::{Inode, Xattr};
use serde_json::{Value, json};
use std::io::Write;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["stat", "show_inode_info"],
        args: "FILE...",
        summary: "Show everything an inode says",
        example: "stat <2>",
        run: stat,
    },
    Command {
        names: &["ea_list"],
        args: "FILE...",
        summary: "Show extended attributes with their values",
        example: "ea_list <2>",
        run: ea_list,
    },
];

/// Longest value that `stat` prints; `ea_list` prints all.
const SHORT_VALUE: usize = 39;

fn stat(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        if session.json {
            let document = document(session, &inode);
            output::document(&mut session.out, command.name(), document)?;
        } else {
            print(session, &inode)?;
        }
    }
    Ok(())
}

fn print(session: &mut Session<'_>, inode: &Inode) -> Result<()> {
    let large = inode.raw().len() > 128;
    let out = &mut session.out;
    let i_mode = inode.i_mode.get();
    writeln!(
        out,
        "Inode: {}   Type: {}    Mode:  0{:03o}   Flags: {:#x}",
        inode.nr(),
        type_name(i_mode),
        i_mode & 0o7777,
        inode.i_flags
    )?;
    let flags = daxkit_format::field::BitSet::Inode.format(inode.i_flags.get().into());
    if inode.i_flags.get() != 0 {
        writeln!(out, "Flag names: {flags}")?;
    }
    if large {
        writeln!(
            out,
            "Generation: {}    Version: 0x{:08x}:{:08x}",
            inode.i_generation, inode.i_version_hi, inode.l_i_version
        )?;
        let project = inode.project().unwrap_or(0);
        writeln!(
            out,
            "User: {:5}   Group: {:5}   Project: {:5}   Size: {}",
            inode.uid(),
            inode.gid(),
            project,
            inode.size()
        )?;
    } else {
        writeln!(out, "Generation: {}    Version: 0x{:08x}", inode.i_generation, inode.l_i_version)?;
        writeln!(out, "User: {:5}   Group: {:5}   Size: {}", inode.uid(), inode.gid(), inode.size())?;
    }
    writeln!(out, "File ACL: {}", inode.file_acl())?;
    writeln!(out, "Links: {}   Blockcount: {}", inode.i_links_count, inode.blocks_stored())?;
    writeln!(out, "Fragment:  Address: {}    Number: 0    Size: 0", inode.i_obso_faddr)?;
    times(out, inode, large)?;
    if large {
        writeln!(out, "Size of extra inode fields: {}", inode.i_extra_isize)?;
    }
    match session.volume.xattrs(inode) {
        Ok(list) if list.is_empty() => {}
        Ok(list) => {
            writeln!(session.out, "Extended attributes:")?;
            for x in &list {
                xattr(&mut session.out, x, SHORT_VALUE)?;
            }
        }
        Err(e) => session.complain(&e),
    }
    if session.volume.has_ro_compat(RoCompat::METADATA_CSUM) {
        let low = u32::from(inode.l_i_checksum_lo.get());
        if checksum_has_high(inode.raw()) {
            let sum = u32::from(inode.i_checksum_hi.get()) << 16 | low;
            writeln!(session.out, "Inode checksum: 0x{sum:08x}")?;
        } else {
            writeln!(session.out, "Inode checksum: 0x{low:04x}")?;
        }
    }
    match inode.file_type() {
        mode::IFCHR | mode::IFBLK => {
            let (major, minor) = inode.device();
            let old = inode.i_block.first_chunk::<4>().is_some_and(|w| u32::from_le_bytes(*w) != 0);
            let style = if old { "" } else { "(New-style) " };
            writeln!(
                session.out,
                "{style}Device major/minor number: {major:02}:{minor:02} (hex {major:02x}:{minor:02x})"
            )?;
            Ok(())
        }
        mode::IFLNK if session.volume.is_fast_symlink(inode) => {
            let target = session.volume.read_link(inode)?;
            writeln!(session.out, "Fast link dest: \"{}\"", shown(&target))?;
            Ok(())
        }
        _ if inode.has_inline_data() => {
            writeln!(session.out, "Size of inline data: {}", session.volume.inline_data(inode)?.len())?;
            Ok(())
        }
        _ if inode.flags().contains(InodeFlags::EXTENTS) => extents(session, inode),
        mode::IFREG | mode::IFDIR | mode::IFLNK => blocks(session, inode),
        _ => Ok(()),
    }
}

fn times(out: &mut dyn Write, inode: &Inode, large: bool) -> Result<()> {
    let i = inode.disk();
    let rows = [
        ("ctime", i.i_ctime.get(), i.i_ctime_extra.get(), Some(inode.ctime())),
        ("atime", i.i_atime.get(), i.i_atime_extra.get(), Some(inode.atime())),
        ("mtime", i.i_mtime.get(), i.i_mtime_extra.get(), Some(inode.mtime())),
        ("crtime", i.i_crtime.get(), i.i_crtime_extra.get(), inode.crtime()),
    ];
    for (name, low, extra, time) in rows {
        let Some(time) = time.filter(|_| large || name != "crtime") else { continue };
        if large && i.has_until(0x90) {
            writeln!(out, "{name:>6}: 0x{low:08x}:{extra:08x} -- {}", long_time(time))?;
        } else {
            writeln!(out, "{name}: 0x{low:08x} -- {}", long_time(time))?;
        }
    }
    if i.i_dtime.get() != 0 {
        let time = Timestamp { seconds: i.i_dtime.get().cast_signed().into(), nanos: 0 };
        let indent = if large { " " } else { "" };
        writeln!(out, "{indent}dtime: 0x{:08x} -- {}", i.i_dtime, long_time(time))?;
    }
    Ok(())
}

fn xattr(out: &mut dyn Write, x: &Xattr, longest: usize) -> Result<()> {
    write!(out, "  {} ({})", shown(&x.full_name()), x.value.len())?;
    if x.value.len() <= longest {
        let printable = !x.value.is_empty() && x.value.iter().all(|b| (0x20..0x7f).contains(b));
        if printable {
            write!(out, " = {}", daxkit_format::field::quote(&x.value))?;
        } else {
            write!(out, " =")?;
            for b in &x.value {
                write!(out, " {b:02x}")?;
            }
        }
    }
    writeln!(out)?;
    Ok(())
}

fn range(first: u64, len: u64) -> String {
    if len > 1 { format!("{first}-{}", first + len - 1) } else { first.to_string() }
}

/// `EXTENTS:` as debugfs sums them up: `(ETB0):8450, (0-9):11-20, (10[u]):21`.
fn extents(session: &mut Session<'_>, inode: &Inode) -> Result<()> {
    let (entries, error) = extent_tree(session, inode);
    writeln!(session.out, "EXTENTS:")?;
    for (i, e) in entries.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        if e.leaf {
            let state = if e.written { "" } else { "[u]" };
            write!(session.out, "{comma}({}{state}):{}", range(e.logical, e.len), range(e.physical, e.len))?;
        } else {
            write!(session.out, "{comma}(ETB{}):{}", e.level, e.physical)?;
        }
    }
    writeln!(session.out)?;
    if let Some(e) = error {
        session.complain(format_args!("inode:{}: {e:#}", inode.nr()));
    }
    Ok(())
}

/// `BLOCKS:` of an indirect map: `(0-11):311-322, (IND):323, (12):324`, and how many there are.
fn blocks(session: &mut Session<'_>, inode: &Inode) -> Result<()> {
    let mut total = 0u64;
    let mut parts: Vec<String> = Vec::new();
    let mut failed = None;
    for item in session.volume.map_walk(inode) {
        match item {
            Ok(MapItem::Node { block, level }) => {
                let name = match level {
                    0 | 1 => "IND",
                    2 => "DIND",
                    _ => "TIND",
                };
                parts.push(format!("({name}):{block}"));
                total += 1;
            }
            Ok(MapItem::Run(run)) => {
                parts.push(format!("({}):{}", range(run.logical, run.len), range(run.physical.get(), run.len)));
                total += run.len;
            }
            Err(e) => failed = Some(e),
        }
    }
    if !parts.is_empty() {
        writeln!(session.out, "BLOCKS:\n{}\nTOTAL: {total}\n", parts.join(", "))?;
    }
    if let Some(e) = failed {
        session.complain(&e);
    }
    Ok(())
}

fn document(session: &mut Session<'_>, inode: &Inode) -> Value {
    let raw = inode.raw();
    let extra = if raw.len() > 128 { usize::from(inode.i_extra_isize.get()).max(2) } else { 0 };
    let mut map = output::fields(Structure::Inode, raw, 128 + extra);
    map.insert("inode".to_owned(), Value::from(inode.nr().get()));
    map.insert("i_size".to_owned(), Value::from(inode.size()));
    map.insert("i_blocks".to_owned(), Value::from(inode.blocks_stored()));
    map.insert("i_file_acl".to_owned(), Value::from(inode.file_acl()));
    map.insert("uid".to_owned(), Value::from(inode.uid()));
    map.insert("gid".to_owned(), Value::from(inode.gid()));
    let time = daxkit_format::field::format_time;
    for (name, t) in [
        ("atime", Some(inode.atime())),
        ("ctime", Some(inode.ctime())),
        ("mtime", Some(inode.mtime())),
        ("crtime", inode.crtime()),
    ] {
        if let Some(t) = t {
            map.insert(name.to_owned(), Value::from(time(t)));
        }
    }
    match session.volume.xattrs(inode) {
        Ok(list) => {
            let list: Vec<Value> = list.iter().map(xattr_document).collect();
            map.insert("xattrs".to_owned(), Value::from(list));
        }
        Err(e) => session.complain(&e),
    }
    match inode.file_type() {
        mode::IFCHR | mode::IFBLK => {
            let (major, minor) = inode.device();
            map.insert("device".to_owned(), json!({ "major": major, "minor": minor }));
        }
        mode::IFLNK => match session.volume.read_link(inode) {
            Ok(target) => {
                map.insert("target".to_owned(), text(&target));
            }
            Err(e) => session.complain(&e),
        },
        _ => {}
    }
    if session.volume.has_map(inode) {
        map.insert("extents".to_owned(), super::extents::runs(session, inode));
    }
    Value::from(map)
}

pub(super) fn xattr_document(x: &Xattr) -> Value {
    let mut value = json!({
        "name": text(&x.full_name()),
        "e_name_index": x.index,
        "e_value_size": x.value.len(),
        "e_hash": x.hash,
        "value": to_hex(&x.value),
    });
    if let (Some(map), Some(nr)) = (value.as_object_mut(), x.value_inode) {
        map.insert("e_value_inum".to_owned(), Value::from(nr.get()));
    }
    value
}

fn ea_list(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, usize::MAX))?;
    for spec in options.rest {
        let inode = session.inode(spec)?;
        let list = session.volume.xattrs(&inode)?;
        if session.json {
            let list: Vec<Value> = list.iter().map(xattr_document).collect();
            output::document(&mut session.out, command.name(), Value::from(list))?;
        } else if !list.is_empty() {
            writeln!(session.out, "Extended attributes:")?;
            for x in &list {
                xattr(&mut session.out, x, usize::MAX)?;
            }
        }
    }
    Ok(())
}
