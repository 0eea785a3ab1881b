//! Names that are neither paths nor places.

use super::Item;
use crate::commands;
use crate::session::Session;
use daxkit_format::field::BitSet;

/// All names of the commands that are there now.
pub(super) fn commands(session: &Session<'_>) -> Vec<Item> {
    commands::available(session).flat_map(|command| command.names.iter().map(|name| Item::whole(*name))).collect()
}

/// Features; a dash before one clears it.
pub(super) fn features(word: &str) -> Vec<Item> {
    let dash = if word.starts_with('-') { "-" } else { "" };
    let sets = [BitSet::Compat, BitSet::Incompat, BitSet::RoCompat];
    sets.into_iter().flat_map(BitSet::names).map(|(name, _)| Item::whole(format!("{dash}{name}"))).collect()
}

/// The extended attributes of the file that the first argument names.
pub(super) fn attributes(session: &Session<'_>, arguments: &[&[u8]]) -> Vec<Item> {
    let file = arguments.first().and_then(|spec| session.glance(spec).ok()).filter(|_| !session.closed);
    let attributes = file.and_then(|inode| session.volume.xattrs(&inode).ok()).unwrap_or_default();
    let names = attributes.iter().filter_map(|x| String::from_utf8(x.full_name()).ok());
    names.filter(|name| !name.contains(char::is_control)).map(Item::whole).collect()
}
