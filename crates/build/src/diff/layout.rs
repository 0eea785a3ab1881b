//! Where two files lie, in bytes: their volumes may have blocks of different sizes.

use super::{Change, Layout, Pair};
use daxkit_volume::{Extents, Inode, Mapping, Volume, VolumeError};

impl<E> Pair<'_, '_, E> {
    /// Compares how two inodes of one type are stored.
    pub(super) fn layout(&mut self, path: &[u8], a: &Inode, b: &Inode) -> Result<(), E> {
        if a.nr() != b.nr() {
            self.changed(path, Change::Layout(Layout::Inode(a.nr(), b.nr())))?;
        }
        if a.is_dir() && a.size() != b.size() {
            self.changed(path, Change::Layout(Layout::DirSize(a.size(), b.size())))?;
        }
        let compared = extents(Runs::new(self.a, a), Runs::new(self.b, b));
        let Some((moved, _)) = self.both(path, compared.0, compared.1)? else { return Ok(()) };
        if let Some(moved) = moved {
            self.changed(path, Change::Layout(moved))?;
        }
        if a.is_file()
            && let Some(windows) = super::windows::compare((self.a, a), (self.b, b))
        {
            self.changed(path, Change::Layout(windows))?;
        }
        Ok(())
    }
}

/// A part of a file that lies in one piece, in bytes.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
    /// Byte of the file system at which it lies, and whether it is written.
    place: (u64, bool),
    run: Mapping,
}

/// The runs of a file, of which the parts in front were taken.
struct Runs<'v> {
    extents: Extents<'v>,
    shift: u32,
    piece: Option<Piece>,
    count: u64,
    error: Option<VolumeError>,
}

impl<'v> Runs<'v> {
    fn new(volume: &'v Volume, inode: &Inode) -> Self {
        let mut runs = Self {
            extents: volume.extents(inode),
            shift: volume.geometry().block_shift(),
            piece: None,
            count: 0,
            error: None,
        };
        runs.next();
        runs
    }

    fn next(&mut self) {
        self.piece = match self.extents.next() {
            Some(Ok(run)) => {
                self.count += 1;
                // Numbers of blocks have 48 bits at the most, and a block has 16.
                let bytes = |blocks: u64| blocks.saturating_mul(1 << self.shift);
                let place = (bytes(run.physical.get()), run.written);
                Some(Piece { start: bytes(run.logical), end: bytes(run.end()), place, run })
            }
            Some(Err(error)) => {
                self.error = Some(error);
                None
            }
            None => None,
        };
    }

    /// The piece that holds the byte `at`, if one does.
    fn at(&self, at: u64) -> Option<Piece> {
        self.piece.filter(|p| p.start <= at)
    }

    /// The next byte behind `at` at which something else begins.
    fn change(&self, at: u64) -> Option<u64> {
        self.piece.map(|p| if p.start > at { p.start } else { p.end })
    }

    /// Takes everything before `to`.
    fn skip(&mut self, to: u64) {
        if let Some(piece) = &mut self.piece {
            if piece.end <= to {
                self.next();
            } else if piece.start < to {
                piece.place.0 = piece.place.0.saturating_add(to - piece.start);
                piece.start = to;
            }
        }
    }
}

/// Both results are what differs; an error is that of its side.
type Compared = (Result<Option<Layout>, VolumeError>, Result<Option<Layout>, VolumeError>);

fn extents(mut a: Runs<'_>, mut b: Runs<'_>) -> Compared {
    let (mut at, mut moved) = (0, 0u64);
    let mut first: Option<(u64, Option<Mapping>, Option<Mapping>)> = None;
    while let Some(next) = a.change(at).into_iter().chain(b.change(at)).min() {
        let (x, y) = (a.at(at), b.at(at));
        if x.map(|p| p.place) != y.map(|p| p.place) {
            moved = moved.saturating_add(next.saturating_sub(at));
            first = first.or(Some((at, x.map(|p| p.run), y.map(|p| p.run))));
        }
        a.skip(next);
        b.skip(next);
        at = next;
    }
    let (runs_a, runs_b) = (a.count, b.count);
    let what = first.map(|(first, a, b)| Layout::Extents { runs_a, runs_b, moved, first, a, b });
    match (a.error, b.error) {
        (None, error) => (Ok(what), error.map_or(Ok(None), Err)),
        (Some(error), None) => (Err(error), Ok(None)),
        (Some(error), Some(other)) => (Err(error), Err(other)),
    }
}
