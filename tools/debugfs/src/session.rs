//! An open image and what the commands of one run share: where they stand, where they print, what they have changed.

use crate::change::Changes;
use crate::commands::{External, OpenJournal, Together, Wanted};
use crate::opening::{self, Opened, Opening, Target};
use crate::output;
use crate::position::Position;
use crate::shell::Screen;
use crate::signals;
use crate::words::number;
use anyhow::{Context, Result, anyhow, bail};
use daxkit_cli::color::Paint;
use daxkit_cli::message::Messages;
use daxkit_device::BlockDevice;
use daxkit_format::InodeNr;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::field::{InodeRef, Object, Place, Structure};
use daxkit_volume::ext4::ScanErrors;
use daxkit_volume::ext4::edit::TreeCursor;
use daxkit_volume::{Inode, Volume, VolumeError};
use std::io::Write;
use std::sync::Arc;

/// See the module.
pub(crate) struct Session<'a> {
    /// The image as the commands see it, edits included.
    pub(crate) device: Arc<dyn BlockDevice>,
    pub(crate) volume: Volume,
    /// How it was opened.
    pub(crate) opening: Opening,
    /// Where edits go in the end.
    pub(crate) target: Target,
    /// How edits count together.
    pub(crate) changes: Changes,
    /// No image is open: no command may look at the volume until one is.
    pub(crate) closed: bool,
    /// The journal that is open to be written by hand.
    pub(crate) journal: Option<OpenJournal>,
    /// Devices beside the image that edits go to as well.
    pub(crate) externals: Vec<External>,
    /// The extent tree that is open to be walked by hand.
    pub(crate) extent: Option<TreeCursor>,
    /// The directory relative paths begin at.
    pub(crate) here: InodeNr,
    /// The directory absolute paths begin at.
    pub(crate) root: InodeNr,
    /// Where the place commands stand.
    pub(crate) position: Position,
    pub(crate) out: Box<dyn Write + 'a>,
    pub(crate) json: bool,
    pub(crate) messages: Messages,
    /// What counts as now, in seconds since 1970: when the program was started, or what `set_current_time` said.
    pub(crate) now: u64,
    /// The field of the last command that set one: the next one is likely to set the same.
    pub(crate) last_field: Option<(Structure, Vec<u8>, Wanted)>,
    /// Edits that were put off, to be done together.
    pub(crate) together: Option<Together>,
    /// The words of a line, kept for their memory.
    pub(crate) words: Vec<Vec<u8>>,
    /// `quit` was given.
    pub(crate) done: bool,
    /// Something went wrong that did not end its command.
    pub(crate) complained: bool,
    /// `diff` found a difference: the exit status will be 1, though nothing failed.
    pub(crate) differs: bool,
    /// Colours what is printed.
    pub(crate) paint: Paint,
    /// Where a terminal shows what is printed; `None` elsewhere.
    pub(crate) screen: Option<Screen>,
}

impl<'a> Session<'a> {
    /// A session over an image; without one, over none.
    pub(crate) fn open(
        opening: Opening,
        (json, now): (bool, u64),
        messages: &Messages,
        out: Box<dyn Write + 'a>,
    ) -> Result<Self> {
        let closed = opening.image.is_none();
        let Opened { device, volume, target } =
            if closed { opening::nothing()? } else { opening::open(&opening, messages)? };
        Ok(Self {
            device,
            volume,
            opening,
            target,
            changes: Changes::default(),
            closed,
            journal: None,
            externals: Vec::new(),
            extent: None,
            here: InodeNr::ROOT,
            root: InodeNr::ROOT,
            position: Position::default(),
            out,
            json,
            messages: *messages,
            now,
            last_field: None,
            together: None,
            words: Vec::new(),
            done: false,
            complained: false,
            differs: false,
            paint: Paint::default(),
            screen: None,
        })
    }

    /// Opens another image in place of the one that was closed.
    pub(crate) fn reopen(&mut self, opening: Opening) -> Result<()> {
        let Opened { device, volume, target } = opening::open(&opening, &self.messages)?;
        (self.device, self.volume, self.target) = (device, volume, target);
        self.opening = opening;
        self.closed = false;
        self.extent = None;
        self.journal = None;
        self.externals.clear();
        (self.here, self.root) = (InodeNr::ROOT, InodeNr::ROOT);
        self.position = Position::default();
        Ok(())
    }

    /// Lets go of the image, and of its lock. What was not written is forgotten.
    pub(crate) fn drop_image(&mut self) -> Result<()> {
        let Opened { device, volume, target } = opening::nothing()?;
        (self.device, self.volume, self.target) = (device, volume, target);
        self.changes.forget();
        self.extent = None;
        self.journal = None;
        self.externals.clear();
        self.closed = true;
        self.opening.writable = false;
        Ok(())
    }

    /// What counts as now.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp { seconds: i64::try_from(self.now).unwrap_or(i64::MAX), nanos: 0 }
    }

    /// The inode a command's argument names: `<12>`, a place (`inode:12`, `inode."/a"`), or a path. The last symbolic link
    /// of a path is not followed, as in debugfs.
    pub(crate) fn inode(&mut self, spec: &[u8]) -> Result<Inode> {
        self.find(spec).with_context(|| output::shown(spec))
    }

    fn find(&mut self, spec: &[u8]) -> Result<Inode> {
        match Named::parse(spec)? {
            Named::Number(nr) => self.inode_by_number(nr),
            named => self.at_path(&named),
        }
    }

    /// As [`Session::inode`], without a word about what is damaged: for who only looks around.
    pub(crate) fn glance(&self, spec: &[u8]) -> Result<Inode> {
        match Named::parse(spec)? {
            Named::Number(nr) => Ok(self.volume.inode(InodeNr(nr))?),
            named => self.at_path(&named),
        }
    }

    fn at_path(&self, named: &Named<'_>) -> Result<Inode> {
        match named {
            Named::Number(nr) => Ok(self.volume.inode(InodeNr(*nr))?),
            Named::OfImage(path) => Ok(self.volume.resolve(path, false)?),
            Named::Path([]) => bail!("an empty name"),
            Named::Path(spec) => {
                let absolute = spec.first() == Some(&b'/');
                let here = self.volume.inode(if absolute { self.root } else { self.here })?;
                // With another root, what follows the slash is looked for there.
                let below = spec.iter().position(|b| *b != b'/').map_or(&b"."[..], |at| spec.get(at..).unwrap_or(b"."));
                let path = if absolute && self.root != InodeNr::ROOT { below } else { spec };
                Ok(self.volume.resolve_from(&here, path, false)?)
            }
        }
    }

    /// The number of the inode a command's argument names. The inode itself is not looked at: it may be damaged, or never have
    /// been written.
    pub(crate) fn inode_number(&mut self, spec: &[u8]) -> Result<InodeNr> {
        self.find_number(spec).with_context(|| output::shown(spec))
    }

    fn find_number(&mut self, spec: &[u8]) -> Result<InodeNr> {
        let digits = match (spec.first(), spec.get(..6)) {
            (Some(b'/'), _) if self.root == InodeNr::ROOT => None,
            (Some(b'<'), _) => spec.get(1..).and_then(|s| s.strip_suffix(b">")),
            (_, Some(b"inode:")) => spec.get(6..),
            (None, _) | (_, Some(b"inode.")) => return Ok(self.find(spec)?.nr()),
            _ if self.root == InodeNr::ROOT => None,
            _ => return Ok(self.find(spec)?.nr()),
        };
        if let Some(digits) = digits {
            let (nr, count) = (number(digits, "an inode number")?, self.volume.geometry().inodes_count.into());
            if (1..=count).contains(&nr) {
                return Ok(InodeNr(nr));
            }
            return Err(VolumeError::NoSuchInode { inode: InodeNr(nr), count }.into());
        }
        match self.volume.resolve_number(self.here, spec) {
            Ok(nr) => Ok(nr),
            // The last one on the way may be the damaged one.
            Err(error) if error.is_corruption() => {
                let (dir, name) = self.parent_and_name(spec)?;
                let found = self.volume.lookup(&self.volume.inode(dir)?, &name)?;
                Ok(found.map(|entry| entry.inode).ok_or(error)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The directory a new name is to stand in, and the name: `/a/b` gives `/a` and `b`.
    pub(crate) fn parent_and_name(&mut self, spec: &[u8]) -> Result<(InodeNr, Vec<u8>)> {
        let whole =
            spec.iter().rposition(|b| *b != b'/').map_or(&b""[..], |last| spec.get(..=last).unwrap_or_default());
        let (dir, name) = match whole.iter().rposition(|b| *b == b'/') {
            None => (&b"."[..], whole),
            Some(0) => (&b"/"[..], whole.get(1..).unwrap_or_default()),
            Some(at) => (whole.get(..at).unwrap_or_default(), whole.get(at + 1..).unwrap_or_default()),
        };
        if name.is_empty() {
            bail!("{}: not a name", output::shown(spec));
        }
        // A directory on the way may be named by a link.
        let mut way = dir.to_vec();
        way.extend_from_slice(if dir.starts_with(b"<") { b"" } else { b"/." });
        let dir = self.inode(&way)?;
        if !dir.is_dir() {
            bail!("{}: not a directory", output::shown(&way));
        }
        Ok((dir.nr(), name.to_vec()))
    }

    /// A damaged inode is shown all the same, and said to be damaged.
    fn inode_by_number(&mut self, nr: u64) -> Result<Inode> {
        match self.volume.inode(InodeNr(nr)) {
            Err(e) if e.is_corruption() => {
                self.complain(&e);
                Ok(self.volume.inode_unverified(InodeNr(nr))?)
            }
            other => Ok(other?),
        }
    }

    /// Says what was in the way of a scan.
    pub(crate) fn complain_all(&mut self, errors: ScanErrors) {
        let more = errors.count.saturating_sub(errors.first.len() as u64);
        for error in errors.first {
            self.complain(error);
        }
        if more > 0 {
            self.complain(format_args!("and {more} more places that are damaged or cannot be read"));
        }
    }

    /// The groups that lie on the device, if only in part: a superblock that lies may claim thousands of millions.
    pub(crate) fn groups(&self) -> std::ops::Range<u32> {
        self.volume.groups_on_device()
    }

    /// Says what is wrong without ending the command; the exit status will be 1.
    pub(crate) fn complain(&mut self, what: impl std::fmt::Display) {
        self.complained = true;
        // A command that is stopped finds everything damaged.
        if signals::stop() {
            return;
        }
        // What was found so far comes first on a terminal, and a pager has the terminal for itself.
        let _ = self.out.flush();
        if self.screen.as_ref().is_some_and(Screen::is_paged) {
            let _ = writeln!(self.out, "{}", self.messages.error_line(what, self.paint.is_on()));
            return;
        }
        self.messages.error(what);
    }
}

/// How a word names an inode.
enum Named<'w> {
    /// `<12>`, `inode:12`.
    Number(u64),
    /// `inode."/a"`: a path from the root of the image.
    OfImage(Vec<u8>),
    /// A path from where the session stands.
    Path(&'w [u8]),
}

impl<'w> Named<'w> {
    fn parse(spec: &'w [u8]) -> Result<Self> {
        if let Some(digits) = spec.strip_prefix(b"<").and_then(|s| s.strip_suffix(b">")) {
            let nr = std::str::from_utf8(digits).ok().and_then(daxkit_format::field::parse_number);
            return Ok(Self::Number(nr.ok_or_else(|| anyhow!("not an inode number"))?));
        }
        Ok(match std::str::from_utf8(spec).ok().and_then(|s| s.parse::<Place>().ok()) {
            Some(Place { object: Object::Inode(InodeRef::Number(nr)), field: None, offset: 0 }) => Self::Number(nr),
            Some(Place { object: Object::Inode(InodeRef::Path(path)), field: None, offset: 0 }) => Self::OfImage(path),
            _ => Self::Path(spec),
        })
    }
}

/// Whether a word is taken for something other than a path.
pub(crate) fn is_no_path(word: &[u8]) -> bool {
    !matches!(Named::parse(word), Ok(Named::Path(_)))
}
