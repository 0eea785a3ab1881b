//! Which windows of 2 MiB one fault maps in one of two files only.

use super::Layout;
use daxkit_format::pmd::{FileExtent, PmdGeometry, WindowRun, WindowState, Windows, windows};
use daxkit_volume::{Inode, Volume};

/// Compares the windows of two files whose maps can be read; the file systems lie at the beginning of their devices.
pub(super) fn compare(a: (&Volume, &Inode), b: (&Volume, &Inode)) -> Option<Layout> {
    let (mut x, mut y) = (States::new(a.0, a.1)?, States::new(b.0, b.1)?);
    let mut window = 0;
    let (mut mappable_a, mut mappable_b, mut changed) = (0u64, 0u64, 0u64);
    let mut first = None;
    while let Some(next) = x.end().into_iter().chain(y.end()).min() {
        let (one, other, count) = (x.state(), y.state(), next.saturating_sub(window));
        let huge = |state: Option<WindowState>| state.is_some_and(WindowState::is_mappable);
        mappable_a += if huge(one) { count } else { 0 };
        mappable_b += if huge(other) { count } else { 0 };
        if huge(one) != huge(other) {
            changed += count;
            first = first.or(Some((window, one, other)));
        }
        x.skip(next);
        y.skip(next);
        window = next;
    }
    let (first, a, b) = first?;
    Some(Layout::Windows { mappable_a, mappable_b, changed, first, a, b })
}

/// The windows of a file, of which those in front were taken.
struct States<'v> {
    windows: Windows<Box<dyn Iterator<Item = FileExtent> + 'v>>,
    run: Option<WindowRun>,
}

impl<'v> States<'v> {
    fn new(volume: &'v Volume, inode: &Inode) -> Option<Self> {
        let geometry = PmdGeometry::new(volume.block_size(), 0)?;
        let extents: Box<dyn Iterator<Item = FileExtent> + 'v> =
            Box::new(volume.pmd_extents(inode).map_while(Result::ok));
        let mut windows = windows(geometry, inode.size(), extents);
        Some(Self { run: windows.next(), windows })
    }

    fn end(&self) -> Option<u64> {
        self.run.map(|run| run.first.saturating_add(run.count))
    }

    fn state(&self) -> Option<WindowState> {
        self.run.map(|run| run.state)
    }

    fn skip(&mut self, to: u64) {
        if self.end() == Some(to) {
            self.run = self.windows.next();
        }
    }
}
