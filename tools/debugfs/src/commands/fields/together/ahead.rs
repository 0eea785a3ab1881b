//! Lines of a script that are all alike but for the path, looked at many at a time and on all processors: they change nothing yet.

use super::{MOST, Together, set::InodeSet};
use crate::parallel::in_order;
use crate::session::Session;
use daxkit_format::InodeNr;
use daxkit_volume::Volume;

/// Bytes of text that one thread looks at.
const PART: usize = 64 << 10;

/// What was found out about lines at the beginning of a part.
#[derive(Default)]
struct Found {
    inodes: InodeSet,
    /// The directories that the paths go through, and whatever else they depend on.
    way: Vec<InodeNr>,
    /// Bytes of the lines.
    len: usize,
}

impl Session<'_> {
    /// Puts off what the first lines of a text say, as [`Session::put_off_line`] does line by line; returns how many bytes they are. The
    /// line behind them has to be run. `None` when that is the first, as a glance shows.
    pub(crate) fn put_off_lines(&mut self, text: &[u8]) -> Option<usize> {
        let together = self.together.as_ref().filter(|_| self.paths_can_wait())?;
        together.path_in(text)?;
        let parts = parts(text);
        let (volume, mut found, mut whole) = (&self.volume, Found::default(), true);
        in_order(
            &parts,
            |part| look(volume, together, part),
            |part: (Found, bool)| {
                // What was learned on the way is known from now on, whatever comes of the line.
                found.way.extend(part.0.way);
                if whole {
                    found.inodes.add(part.0.inodes);
                    found.len += part.0.len;
                    whole = part.1;
                }
            },
        );
        let waits = |nr| together.inodes.contains(nr) || found.inodes.contains(nr);
        if found.way.iter().any(|nr| waits(*nr)) || self.volume.remembers_any(|nr| found.inodes.contains(nr)) {
            // Paths depend on what waits: one after the other they are seen in the right order. What was learned on the way is in theirs.
            self.volume.forget_blocks();
            return Some(0);
        }
        let room = |together: &&mut Together| together.inodes.len() + found.inodes.len() < MOST;
        let Some(together) = self.together.as_mut().filter(room) else { return Some(0) };
        together.inodes.add(found.inodes);
        Some(found.len)
    }
}

/// Text, cut at ends of lines; what follows the last of them is left out.
fn parts(text: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let most = rest.get(..PART).unwrap_or(rest);
        let Some(end) = most.iter().rposition(|b| *b == b'\n') else { break };
        let Some((part, behind)) = rest.split_at_checked(end + 1) else { break };
        parts.push(part);
        rest = behind;
    }
    parts
}

/// Finds the inodes of lines up to the first that is not alike, or whose path leads nowhere; says whether that is all of them.
fn look(volume: &Volume, together: &Together, text: &[u8]) -> (Found, bool) {
    let mut found = Found::default();
    let (mut paths, mut rest) = (Vec::new(), text);
    while let Some((path, behind)) = together.path_in(rest) {
        paths.push((path, behind.len()));
        rest = behind;
    }
    let mut paths = paths.as_slice();
    while let Some((first, _)) = paths.first() {
        let dir = first.iter().rposition(|b| *b == b'/').and_then(|at| first.get(..=at)).unwrap_or_default();
        let name = |path: &(&[u8], usize)| path.0.strip_prefix(dir).filter(|name| !name.contains(&b'/')).is_some();
        let count = paths.iter().take_while(|path| name(path)).count();
        let Some((beside, behind)) = paths.split_at_checked(count) else { break };
        paths = behind;
        let mut names = volume.directory_names(dir, count as u64, &mut |nr| found.way.push(nr));
        for (path, left) in beside {
            let nr = match &mut names {
                Some(names) => path.get(dir.len()..).and_then(|name| names.get(name)),
                None => number(volume, path, &mut |nr| found.way.push(nr)),
            };
            let Some(nr) = nr else { return (found, false) };
            found.inodes.insert(nr);
            found.len = text.len() - left;
        }
    }
    let all = found.len == text.len();
    (found, all)
}

/// The inode of a path whose directory is not known.
fn number(volume: &Volume, path: &[u8], on_the_way: &mut dyn FnMut(InodeNr)) -> Option<InodeNr> {
    let mut way = Vec::new();
    let found = volume.resolve_along(&volume.root().ok()?, path, false, &mut |nr| way.push(nr)).ok()?;
    // The file itself waits.
    way.into_iter().filter(|nr| *nr != found.nr()).for_each(on_the_way);
    Some(found.nr())
}
