//! What the superblock says of the whole file system: features, whether it is clean; and the time that counts as now.

use super::Command;
use super::fields;
use crate::files::long_time;
use crate::output::{self, shown};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use daxkit_format::ext4::features::{Feature, Features};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::super_block::STATE_VALID;
use serde_json::{Value, json};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        names: &["feature", "features"],
        args: "[[+]FEATURE | -FEATURE | none]...",
        summary: "Set and clear feature bits, alone or in lists with commas; show those that are set then",
        example: "feature",
        run: features,
    },
    Command {
        names: &["dirty_filesys", "dirty"],
        args: "[-clean]",
        summary: "Say in the superblock that the file system was not unmounted cleanly; -clean: that it was",
        example: "dirty",
        run: dirty,
    },
    Command {
        names: &["set_current_time"],
        args: "TIME",
        summary: "Set the time that counts as now for what is edited from here on",
        example: "set_current_time 20240229120000",
        run: set_time,
    },
];

fn features(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    if !words.is_empty() {
        session.check_writable()?;
        let mut wanted = session.volume.features();
        for word in words.iter().flat_map(|w| w.split(|b| *b == b',')).filter(|w| !w.is_empty()) {
            change(&mut wanted, word)?;
        }
        session.edit_raw(|editor| {
            Ok(editor.change_super_block(|sb| {
                sb.s_feature_compat.set(wanted.compat.bits());
                sb.s_feature_incompat.set(wanted.incompat.bits());
                sb.s_feature_ro_compat.set(wanted.ro_compat.bits());
            })?)
        })?;
    }
    let names: Vec<String> = session.volume.features().iter().map(Feature::name).collect();
    if session.json {
        return output::document(&mut session.out, command.name(), Value::from(names));
    }
    let list = if names.is_empty() { "(none)".to_owned() } else { names.join(" ") };
    writeln!(session.out, "Filesystem features: {list}")?;
    Ok(())
}

/// One word: a feature with a sign before it, or all of them taken away.
fn change(features: &mut Features, word: &[u8]) -> Result<()> {
    if word.eq_ignore_ascii_case(b"none") || word.eq_ignore_ascii_case(b"clear") {
        *features = Features::default();
        return Ok(());
    }
    let (name, on) = match word.split_first() {
        Some((b'-' | b'^', name)) => (name, false),
        Some((b'+', name)) => (name, true),
        _ => (word, true),
    };
    let text = std::str::from_utf8(name).ok();
    let feature = text.and_then(Feature::by_name).with_context(|| format!("Unknown feature: {}", shown(word)))?;
    match feature {
        Feature::Compat(bits) => features.compat.set(bits, on),
        Feature::Incompat(bits) => features.incompat.set(bits, on),
        Feature::RoCompat(bits) => features.ro_compat.set(bits, on),
    }
    Ok(())
}

fn dirty(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let clean = match words {
        [] => false,
        [word] if word == b"-clean" => true,
        _ => bail!("{}", command.usage()),
    };
    session.edit_raw(|editor| {
        Ok(editor.change_super_block(|sb| {
            let state = sb.s_state.get();
            sb.s_state.set(if clean { state | STATE_VALID } else { state & !STATE_VALID });
        })?)
    })
}

fn set_time(session: &mut Session<'_>, command: &'static Command, words: &[Vec<u8>]) -> Result<()> {
    let options = command.options(words, "", &[], (1, 1))?;
    let Some(word) = options.rest.first() else { return Ok(()) };
    let time = fields::time(word, session.time())?;
    session.now = u64::try_from(time.seconds).ok().with_context(|| format!("{}: before 1970", shown(word)))?;
    if session.json {
        return output::document(&mut session.out, command.name(), json!({ "now": time.seconds }));
    }
    let time = Timestamp { nanos: 0, ..time };
    writeln!(session.out, "Setting current time to {}", long_time(time))?;
    Ok(())
}
