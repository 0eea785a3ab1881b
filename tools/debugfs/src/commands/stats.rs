//! The superblock and the group descriptors in debugfs's words, and as JSON in the kernel's.

use super::Command;
use crate::files::long_time;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::Result;
use daxkit_format::GroupNr;
use daxkit_format::ext4::features::{Compat, Incompat, RoCompat};
use daxkit_format::ext4::group_desc::{GroupDesc, GroupFlags};
use daxkit_format::ext4::hash::HashVersion;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::{STATE_ERROR, STATE_ORPHAN, STATE_VALID, SuperBlock, SuperFlags, errors};
use daxkit_format::field::{Access, Structure};
use serde_json::{Map, Value, json};
use std::io::Write;
use zerocopy::IntoBytes;

pub(super) static COMMANDS: &[Command] = &[Command {
    names: &["show_super_stats", "stats"],
    args: "[-h]",
    summary: "Show the superblock and the group descriptors; -h: the superblock only",
    example: "stats -h",
    run: stats,
}];

fn stats(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "h", &[], (0, 0))?;
    let sb = *session.volume.super_block();
    let with_groups = !options.has('h');
    if session.json {
        return document(session, command.name(), &sb, with_groups);
    }
    let lines = Lines { sb: &sb, session };
    let mut text = Vec::new();
    lines.identity(&mut text)?;
    lines.counts(&mut text)?;
    lines.history(&mut text)?;
    lines.inodes(&mut text)?;
    lines.extras(&mut text)?;
    session.out.write_all(&text)?;
    groups(session, with_groups)
}

/// Writes the superblock, one `Label: value` a line, the values in one column.
struct Lines<'s, 'a> {
    sb: &'s SuperBlock,
    session: &'s Session<'a>,
}

fn line(out: &mut Vec<u8>, label: &str, value: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(out, "{:<25} {value}", format!("{label}:"))
}

/// Text in a field of fixed length.
fn fixed(bytes: &[u8], empty: &str) -> String {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    if text.is_empty() { empty.to_owned() } else { shown(text) }
}

fn date(low: u32, high: u8) -> String {
    let seconds = i64::from(low) | i64::from(high) << 32;
    if seconds == 0 { "n/a".to_owned() } else { long_time(Timestamp { seconds, nanos: 0 }) }
}

impl Lines<'_, '_> {
    fn has(&self, feature: Incompat) -> bool {
        self.sb.incompat().contains(feature)
    }

    fn text_of(&self, field: &str) -> String {
        let access = Access::find(Structure::SuperBlock, field);
        access.and_then(|a| a.get_text(self.sb.as_bytes())).unwrap_or_default()
    }

    fn identity(&self, out: &mut Vec<u8>) -> Result<()> {
        let sb = self.sb;
        line(out, "Filesystem volume name", fixed(&sb.s_volume_name, "<none>"))?;
        line(out, "Last mounted on", fixed(&sb.s_last_mounted, "<not available>"))?;
        line(out, "Filesystem UUID", self.text_of("s_uuid"))?;
        line(out, "Filesystem magic number", format_args!("0x{:04X}", sb.s_magic))?;
        let kind = match sb.s_rev_level.get() {
            0 => " (original)",
            1 => " (dynamic)",
            _ => " (unknown)",
        };
        line(out, "Filesystem revision #", format_args!("{}{kind}", sb.s_rev_level))?;
        let features = self.session.volume.features().to_string();
        line(out, "Filesystem features", if features.is_empty() { "(none)" } else { &features })?;
        let flags = SuperFlags::from_bits_retain(sb.s_flags.get());
        let mut names = String::new();
        for (flag, name) in [
            (SuperFlags::SIGNED_HASH, "signed_directory_hash "),
            (SuperFlags::UNSIGNED_HASH, "unsigned_directory_hash "),
            (SuperFlags::TEST_FILESYS, "test_filesystem "),
        ] {
            names.push_str(if flags.contains(flag) { name } else { "" });
        }
        if !flags.is_empty() {
            line(out, "Filesystem flags", names)?;
        }
        let options = mount_options(sb.s_default_mount_opts.get());
        line(out, "Default mount options", options)?;
        if sb.s_mount_opts.first().is_some_and(|b| *b != 0) {
            line(out, "Mount options", fixed(&sb.s_mount_opts, ""))?;
        }
        let state = sb.s_state.get();
        let mut words = String::from(if state & STATE_VALID != 0 { "clean" } else { "not clean" });
        for (bit, name) in [(STATE_ERROR, " with errors"), (STATE_ORPHAN, " with orphans")] {
            words.push_str(if state & bit != 0 { name } else { "" });
        }
        line(out, "Filesystem state", words)?;
        let behavior = match sb.s_errors.get() {
            errors::CONTINUE => "Continue",
            errors::REMOUNT_RO => "Remount read-only",
            errors::PANIC => "Panic",
            _ => "Unknown (continue)",
        };
        line(out, "Errors behavior", behavior)?;
        let os = ["Linux", "Hurd", "Masix", "FreeBSD", "Lites"];
        let os = usize::try_from(sb.s_creator_os.get()).ok().and_then(|i| os.get(i)).unwrap_or(&"unknown");
        line(out, "Filesystem OS type", os)?;
        Ok(())
    }

    fn counts(&self, out: &mut Vec<u8>) -> Result<()> {
        let (sb, g) = (self.sb, self.session.volume.geometry());
        let bigalloc = sb.ro_compat().contains(RoCompat::BIGALLOC);
        line(out, "Inode count", sb.s_inodes_count)?;
        line(out, "Block count", sb.blocks_count())?;
        line(out, "Reserved block count", sb.r_blocks_count())?;
        if sb.s_overhead_clusters.get() != 0 {
            line(out, "Overhead clusters", sb.s_overhead_clusters)?;
        }
        line(out, "Free blocks", sb.free_blocks_count())?;
        line(out, "Free inodes", sb.s_free_inodes_count)?;
        line(out, "First block", sb.s_first_data_block)?;
        line(out, "Block size", g.block_size)?;
        let cluster = u64::from(g.block_size) * u64::from(g.cluster_ratio);
        line(out, if bigalloc { "Cluster size" } else { "Fragment size" }, cluster)?;
        if self.has(Incompat::BIT64) {
            line(out, "Group descriptor size", sb.s_desc_size)?;
        }
        if sb.s_reserved_gdt_blocks.get() != 0 {
            line(out, "Reserved GDT blocks", sb.s_reserved_gdt_blocks)?;
        }
        line(out, "Blocks per group", sb.s_blocks_per_group)?;
        line(out, if bigalloc { "Clusters per group" } else { "Fragments per group" }, sb.s_clusters_per_group)?;
        line(out, "Inodes per group", sb.s_inodes_per_group)?;
        line(out, "Inode blocks per group", g.inode_table_blocks)?;
        if self.has(Incompat::META_BG) {
            line(out, "First meta block group", sb.s_first_meta_bg)?;
        }
        if sb.s_raid_stride.get() != 0 {
            line(out, "RAID stride", sb.s_raid_stride)?;
        }
        if sb.s_raid_stripe_width.get() != 0 {
            line(out, "RAID stripe width", sb.s_raid_stripe_width)?;
        }
        if sb.s_log_groups_per_flex != 0 {
            line(out, "Flex block group size", 1u64.checked_shl(sb.s_log_groups_per_flex.into()).unwrap_or(0))?;
        }
        Ok(())
    }

    fn history(&self, out: &mut Vec<u8>) -> Result<()> {
        let sb = self.sb;
        if sb.s_mkfs_time.get() != 0 {
            line(out, "Filesystem created", date(sb.s_mkfs_time.get(), sb.s_mkfs_time_hi))?;
        }
        line(out, "Last mount time", date(sb.s_mtime.get(), sb.s_mtime_hi))?;
        line(out, "Last write time", date(sb.s_wtime.get(), sb.s_wtime_hi))?;
        line(out, "Mount count", sb.s_mnt_count)?;
        line(out, "Maximum mount count", sb.s_max_mnt_count.get().cast_signed())?;
        line(out, "Last checked", date(sb.s_lastcheck.get(), sb.s_lastcheck_hi))?;
        let interval = sb.s_checkinterval.get();
        line(out, "Check interval", format_args!("{interval} ({})", spoken(interval)))?;
        if interval != 0 {
            let low = i64::from(sb.s_lastcheck.get()) | i64::from(sb.s_lastcheck_hi) << 32;
            let next = long_time(Timestamp { seconds: low.saturating_add(interval.into()), nanos: 0 });
            line(out, "Next check after", next)?;
        }
        if sb.s_kbytes_written.get() != 0 {
            line(out, "Lifetime writes", kilobytes(sb.s_kbytes_written.get()))?;
        }
        for (label, id, name) in [
            ("Reserved blocks uid", sb.s_def_resuid.get(), "user root"),
            ("Reserved blocks gid", sb.s_def_resgid.get(), "group root"),
        ] {
            let who = if id == 0 { format!(" ({name})") } else { String::new() };
            line(out, label, format_args!("{id}{who}"))?;
        }
        Ok(())
    }

    fn inodes(&self, out: &mut Vec<u8>) -> Result<()> {
        let sb = self.sb;
        if sb.s_rev_level.get() >= 1 {
            line(out, "First inode", sb.first_ino())?;
            line(out, "Inode size", sb.s_inode_size)?;
            if sb.s_min_extra_isize.get() != 0 {
                line(out, "Required extra isize", sb.s_min_extra_isize)?;
            }
            if sb.s_want_extra_isize.get() != 0 {
                line(out, "Desired extra isize", sb.s_want_extra_isize)?;
            }
        }
        if sb.s_journal_uuid != [0; 16] {
            line(out, "Journal UUID", self.text_of("s_journal_uuid"))?;
        }
        if sb.s_journal_inum.get() != 0 {
            line(out, "Journal inode", sb.s_journal_inum)?;
        }
        if sb.s_journal_dev.get() != 0 {
            line(out, "Journal device", format_args!("0x{:04x}", sb.s_journal_dev))?;
        }
        if sb.s_last_orphan.get() != 0 {
            line(out, "First orphan inode", sb.s_last_orphan)?;
        }
        if sb.compat().contains(Compat::DIR_INDEX) || sb.s_def_hash_version != 0 {
            let name = HashVersion::try_from(sb.s_def_hash_version).map_or("unknown", HashVersion::name);
            line(out, "Default directory hash", name)?;
        }
        if sb.s_hash_seed.iter().any(|w| w.get() != 0) {
            let seed: Vec<u8> = sb.s_hash_seed.iter().flat_map(|w| w.get().to_le_bytes()).collect();
            line(out, "Directory Hash Seed", uuid(&seed))?;
        }
        if sb.s_jnl_backup_type == 1 {
            line(out, "Journal backup", "inode blocks")?;
        } else if sb.s_jnl_backup_type != 0 {
            line(out, "Journal backup", format_args!("type {}", sb.s_jnl_backup_type))?;
        }
        Ok(())
    }

    fn extras(&self, out: &mut Vec<u8>) -> Result<()> {
        let sb = self.sb;
        if sb.s_error_count.get() != 0 {
            line(out, "FS Error count", sb.s_error_count)?;
            for (which, time, func, at, inode, block) in [
                (
                    "First",
                    date(sb.s_first_error_time.get(), 0),
                    fixed(&sb.s_first_error_func, ""),
                    sb.s_first_error_line.get(),
                    sb.s_first_error_ino.get(),
                    sb.s_first_error_block.get(),
                ),
                (
                    "Last",
                    date(sb.s_last_error_time.get(), 0),
                    fixed(&sb.s_last_error_func, ""),
                    sb.s_last_error_line.get(),
                    sb.s_last_error_ino.get(),
                    sb.s_last_error_block.get(),
                ),
            ] {
                line(out, &format!("{which} error time"), time)?;
                line(out, &format!("{which} error function"), func)?;
                line(out, &format!("{which} error line #"), at)?;
                line(out, &format!("{which} error inode #"), inode)?;
                line(out, &format!("{which} error block #"), block)?;
            }
        }
        if self.has(Incompat::MMP) {
            line(out, "MMP block number", sb.s_mmp_block)?;
            line(out, "MMP update interval", sb.s_mmp_update_interval)?;
        }
        if sb.ro_compat().contains(RoCompat::QUOTA) {
            for (label, nr) in [
                ("User quota inode", sb.s_usr_quota_inum),
                ("Group quota inode", sb.s_grp_quota_inum),
                ("Project quota inode", sb.s_prj_quota_inum),
            ] {
                if nr.get() != 0 {
                    line(out, label, nr)?;
                }
            }
        }
        if sb.has_metadata_csum() {
            let name = if sb.s_checksum_type == 1 { "crc32c" } else { "unknown" };
            line(out, "Checksum type", name)?;
            line(out, "Checksum", format_args!("0x{:08x}", sb.s_checksum))?;
        }
        if self.has(Incompat::CSUM_SEED) {
            line(out, "Checksum seed", format_args!("0x{:08x}", sb.s_checksum_seed))?;
        }
        if sb.compat().contains(Compat::ORPHAN_FILE) {
            line(out, "Orphan file inode", sb.s_orphan_file_inum)?;
        }
        if self.has(Incompat::CASEFOLD) {
            let name = if sb.s_encoding.get() == 1 { "utf8-12.1" } else { "unknown" };
            line(out, "Character encoding", name)?;
        }
        Ok(())
    }
}

fn uuid(bytes: &[u8]) -> String {
    let hex = daxkit_format::field::to_hex(bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// The names tune2fs(8) gives to `s_default_mount_opts`.
fn mount_options(bits: u32) -> String {
    let mut names: Vec<String> = Vec::new();
    let journal = ["", "journal_data", "journal_data_ordered", "journal_data_writeback"];
    let singles = [
        (0x1, "debug"),
        (0x2, "bsdgroups"),
        (0x4, "user_xattr"),
        (0x8, "acl"),
        (0x10, "uid16"),
        (0x100, "nobarrier"),
        (0x200, "block_validity"),
        (0x400, "discard"),
        (0x800, "nodelalloc"),
    ];
    for (bit, name) in singles {
        if bit == 0x100 && bits & 0x60 != 0 {
            names.extend(journal.get((bits >> 5 & 3) as usize).map(|n| (*n).to_owned()));
        }
        if bits & bit != 0 {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() { "(none)".to_owned() } else { names.join(" ") }
}

/// Seconds in words: `6 months`, `1 week, 2 days`.
fn spoken(seconds: u32) -> String {
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, name) in
        [(2_592_000, "month"), (604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")]
    {
        let n = left / unit;
        left %= unit;
        if n > 0 {
            parts.push(format!("{n} {name}{}", if n == 1 { "" } else { "s" }));
        }
    }
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(", ") }
}

/// Kilobytes in the largest unit that leaves at least four digits or so.
fn kilobytes(n: u64) -> String {
    let scaled = |shift: u32| n.saturating_add(1 << (shift - 1)) >> shift;
    match n {
        0..=0x1fff => format!("{n} kB"),
        0x2000..=0x7f_ffff => format!("{} MB", scaled(10)),
        0x80_0000..=0x1_ffff_ffff => format!("{} GB", scaled(20)),
        _ => format!("{} TB", scaled(30)),
    }
}

fn document(session: &mut Session<'_>, name: &str, sb: &SuperBlock, with_groups: bool) -> Result<()> {
    let mut map = output::fields(Structure::SuperBlock, sb.as_bytes(), size_of::<SuperBlock>());
    map.insert("s_blocks_count".to_owned(), Value::from(sb.blocks_count()));
    map.insert("s_free_blocks_count".to_owned(), Value::from(sb.free_blocks_count()));
    map.insert("s_r_blocks_count".to_owned(), Value::from(sb.r_blocks_count()));
    map.insert(
        "features".to_owned(),
        Value::from(session.volume.features().iter().map(|f| f.name()).collect::<Vec<_>>()),
    );
    map.insert("groups_count".to_owned(), Value::from(session.volume.geometry().groups_count));
    if with_groups {
        let mut groups = Vec::new();
        for group in session.groups() {
            if let Some(desc) = desc_of(session, GroupNr(group)) {
                let mut row: Map<String, Value> =
                    output::fields(Structure::GroupDesc, desc.as_bytes(), session.volume.geometry().desc_size.into());
                row.insert("group".to_owned(), Value::from(group));
                for (field, value) in [
                    ("bg_block_bitmap", desc.block_bitmap()),
                    ("bg_inode_bitmap", desc.inode_bitmap()),
                    ("bg_inode_table", desc.inode_table()),
                    ("bg_free_blocks_count", desc.free_blocks_count().into()),
                    ("bg_free_inodes_count", desc.free_inodes_count().into()),
                    ("bg_used_dirs_count", desc.used_dirs_count().into()),
                    ("bg_itable_unused", desc.itable_unused().into()),
                ] {
                    row.insert(field.to_owned(), Value::from(value));
                }
                groups.push(Value::from(row));
            }
        }
        map.insert("groups".to_owned(), Value::from(groups));
    }
    output::document(&mut session.out, name, json!(map))
}

/// A descriptor; a damaged one is complained about and shown as it is.
fn desc_of(session: &mut Session<'_>, group: GroupNr) -> Option<GroupDesc> {
    match session.volume.group_desc(group) {
        Ok(desc) => Some(desc),
        Err(e) => {
            session.complain(&e);
            session.volume.raw_group_desc(group).ok().and_then(|raw| GroupDesc::from_disk(&raw))
        }
    }
}

/// How many directories there are, and the groups one by one where `rows` are wanted.
fn groups(session: &mut Session<'_>, rows: bool) -> Result<()> {
    let bigalloc = session.volume.has_ro_compat(RoCompat::BIGALLOC);
    let sums = session.volume.has_ro_compat(RoCompat::GDT_CSUM) || session.volume.super_block().has_metadata_csum();
    let mut directories = 0u64;
    let mut text: Vec<u8> = Vec::new();
    let many = |n: u32, name: &str| format!("{n} {name}{}", if n == 1 { "" } else { "s" });
    for group in session.groups() {
        let Some(desc) = desc_of(session, GroupNr(group)) else { continue };
        directories += u64::from(desc.used_dirs_count());
        if !rows {
            continue;
        }
        writeln!(
            text,
            " Group {group:2}: block bitmap at {}, inode bitmap at {}, inode table at {}",
            desc.block_bitmap(),
            desc.inode_bitmap(),
            desc.inode_table()
        )?;
        let unit = if bigalloc { "cluster" } else { "block" };
        write!(
            text,
            "           {}, {}, {} used {}",
            many(desc.free_blocks_count(), &format!("free {unit}")),
            many(desc.free_inodes_count(), "free inode"),
            desc.used_dirs_count(),
            if desc.used_dirs_count() == 1 { "directory" } else { "directories" }
        )?;
        if sums {
            write!(text, ", {}", many(desc.itable_unused(), "unused inode"))?;
        }
        writeln!(text)?;
        if sums {
            let mut notes = Vec::new();
            for (flag, note) in
                [(GroupFlags::INODE_UNINIT, "Inode not init"), (GroupFlags::BLOCK_UNINIT, "Block not init")]
            {
                if desc.flags().contains(flag) {
                    notes.push(note.to_owned());
                }
            }
            notes.push(format!("Checksum 0x{:04x}", desc.bg_checksum));
            writeln!(text, "           [{}]", notes.join(", "))?;
        }
    }
    let mut sum = Vec::new();
    line(&mut sum, "Directories", directories)?;
    session.out.write_all(&sum)?;
    session.out.write_all(&text)?;
    Ok(())
}
