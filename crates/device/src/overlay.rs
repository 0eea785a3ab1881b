//! Changes kept in memory above a device that stays as it is: dry runs, repair rounds, states after a crash.
//!
//! Invariant: a page is in `pages`, or in `zeroed`, or unchanged; never in two of them. Pages are whole: what a write did
//! not cover was copied from below. A savepoint keeps of every page what it was when the savepoint was set, from the first
//! change on.
//!
//! Pages beyond a limit go to a file without a name in the host's directory for temporary files ([`Overlay::spilling`]).

mod pages;
mod slabs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::aligned::AlignedBuffer;
use crate::block::{BlockDevice, COPY_BUFFER, Geometry, check_range};
use crate::error::DeviceError;
use crate::range_set::RangeSet;
use pages::{Content, PAGE, Page, Pages};

/// A range that an overlay changes, in whole pages (the last of a device may be shorter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The bytes.
    pub range: Range<u64>,
    /// Whether they were made zero as a whole, and take no memory.
    pub zeroed: bool,
}

#[derive(Debug)]
struct State {
    pages: BTreeMap<u64, Page>,
    /// Where those of `pages` and of savepoints are kept.
    store: Pages,
    /// Numbers of pages that read as zero.
    zeroed: RangeSet,
    /// Innermost last.
    savepoints: Vec<Savepoint>,
}

/// What has changed since a savepoint, as it was before.
#[derive(Debug, Default)]
struct Savepoint {
    /// Pages that were written since; `None` for one whose content was not kept here.
    pages: BTreeMap<u64, Option<Page>>,
    /// Pages of which some became zeroed, or no longer so; and those that were zeroed before. The last change comes last.
    zeroed: Vec<(Range<u64>, Vec<Range<u64>>)>,
}

/// A device whose changes stay in memory.
#[derive(Debug)]
pub struct Overlay<D> {
    base: D,
    len: u64,
    state: RwLock<State>,
}

impl<D: BlockDevice> Overlay<D> {
    /// An overlay without changes.
    pub fn new(base: D) -> Self {
        Self::spilling(base, u64::MAX)
    }

    /// An overlay without changes that keeps at most so many bytes of changes in memory, and what is more in a file.
    pub fn spilling(base: D, limit: u64) -> Self {
        let store = Pages::new(usize::try_from(limit / PAGE).unwrap_or(usize::MAX));
        Self { len: base.len(), base, state: RwLock::new(State::new(store)) }
    }

    /// The device below.
    pub fn base(&self) -> &D {
        &self.base
    }

    /// Gives the device below back; the changes are forgotten.
    pub fn into_base(self) -> D {
        self.base
    }

    /// Whether nothing has been written.
    pub fn is_unchanged(&self) -> bool {
        let state = self.state();
        state.pages.is_empty() && state.zeroed.is_empty()
    }

    /// Pages whose content is kept here.
    pub fn pages(&self) -> u64 {
        self.state().pages.len() as u64
    }

    /// Forgets every change.
    pub fn forget(&self) {
        let mut state = self.state_mut();
        *state = State::new(state.store.emptied());
    }

    /// Sets a savepoint: what is written from here on can be taken back alone. Savepoints nest.
    pub fn set_savepoint(&self) {
        self.state_mut().savepoints.push(Savepoint::default());
    }

    /// Gives up the innermost savepoint: what was written since then is as everything before it. Nothing happens without one.
    pub fn release_savepoint(&self) {
        let State { savepoints, store, .. } = &mut *self.state_mut();
        let Some(inner) = savepoints.pop() else { return };
        let Some(outer) = savepoints.last_mut() else {
            inner.pages.into_values().flatten().for_each(|page| store.drop(page));
            return;
        };
        for (page, before) in inner.pages {
            match outer.pages.entry(page) {
                Entry::Vacant(place) => {
                    place.insert(before);
                }
                // What it was before that is kept already.
                Entry::Occupied(_) => before.into_iter().for_each(|page| store.drop(page)),
            }
        }
        outer.zeroed.extend(inner.zeroed);
    }

    /// Takes back what was written since the innermost savepoint, which is given up. Nothing happens without one.
    pub fn roll_back_to_savepoint(&self) {
        let mut state = self.state_mut();
        let Some(savepoint) = state.savepoints.pop() else { return };
        for (page, before) in savepoint.pages {
            let now = match before {
                Some(content) => state.pages.insert(page, content),
                None => state.pages.remove(&page),
            };
            if let Some(now) = now {
                state.store.drop(now);
            }
        }
        for (pages, before) in savepoint.zeroed.into_iter().rev() {
            state.zeroed.remove(pages);
            before.into_iter().for_each(|pages| state.zeroed.insert(pages));
        }
    }

    /// What has been written, ascending; neighbours of one kind are one change.
    pub fn changes(&self) -> Vec<Change> {
        let state = self.state();
        let written: RangeSet = state.pages.keys().map(|p| *p..p + 1).collect();
        let mut changes: Vec<Change> = written
            .iter()
            .map(|pages| (pages, false))
            .chain(state.zeroed.iter().map(|pages| (pages, true)))
            .map(|(pages, zeroed)| Change { range: self.bytes(pages), zeroed })
            .collect();
        changes.sort_by_key(|change| change.range.start);
        changes
    }

    /// Writes every change into `target`, ascending, in transfers of up to 1 MiB. Does not flush.
    ///
    /// # Errors
    /// The target's. It then has a part of the changes.
    pub fn apply_to(&self, target: &dyn BlockDevice) -> Result<(), DeviceError> {
        let mut buf = Vec::new();
        for Change { range, zeroed } in self.changes() {
            if zeroed {
                target.write_zeroes(range.start, range.end - range.start)?;
                continue;
            }
            let mut at = range.start;
            while at < range.end {
                buf.resize((range.end - at).min(COPY_BUFFER as u64) as usize, 0);
                self.read_at(at, &mut buf)?;
                target.write_at(at, &buf)?;
                at += buf.len() as u64;
            }
        }
        Ok(())
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // Every step leaves whole pages, so a panic elsewhere is no reason to distrust them.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, pages: Range<u64>) -> Range<u64> {
        pages.start * PAGE..pages.end.saturating_mul(PAGE).min(self.len)
    }

    /// Calls `each` with the page number and the bytes of every part of the range that lies in one page.
    fn by_page(
        range: Range<u64>,
        mut each: impl FnMut(u64, Range<u64>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut at = range.start;
        while at < range.end {
            let page = at / PAGE;
            let end = (page + 1).saturating_mul(PAGE).min(range.end);
            each(page, at..end)?;
            at = end;
        }
        Ok(())
    }

    /// Writes a part of the device.
    fn write_piece(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let mut state = self.state_mut();
        Self::by_page(offset..offset + data.len() as u64, |page, part| {
            let source = &data[(part.start - offset) as usize..(part.end - offset) as usize];
            if let Ok(content) = source.try_into() {
                return state.put_page(page, content);
            }
            self.change_page(&mut state, page, &part, |bytes| bytes.copy_from_slice(source))
        })
    }

    /// Gives `change` the bytes of a range. Where it says that it changed them they are written, as [`write_at`](BlockDevice::write_at)
    /// would; of many pages the memory is kept in which it changed them. Whoever changes other bytes meanwhile is not in the way.
    ///
    /// # Errors
    /// Out of range, or the device below could not be read. Where `change` fails nothing is written, and what it says is the inner result.
    pub fn change<E>(
        &self,
        range: Range<u64>,
        change: impl FnOnce(&mut [u8]) -> Result<bool, E>,
    ) -> Result<Result<bool, E>, DeviceError> {
        let len = range.end.saturating_sub(range.start);
        check_range(range.start, len, self.len)?;
        // Pages of the range are pages of the memory.
        let head = (range.start % PAGE) as usize;
        let mut buffer = AlignedBuffer::new(head + len as usize);
        self.read_at(range.start, &mut buffer[head..])?;
        let changed = change(&mut buffer[head..]);
        if matches!(changed, Ok(true)) {
            self.keep(range, buffer)?;
        }
        Ok(changed)
    }

    /// Writes a range whose bytes lie in memory as they lie in pages.
    fn keep(&self, range: Range<u64>, buffer: AlignedBuffer) -> Result<(), DeviceError> {
        let base = range.start / PAGE;
        let whole = range.start.div_ceil(PAGE)..range.end / PAGE;
        let mut state = self.state_mut();
        let there = state.pages.range(whole.start..whole.end.max(whole.start)).count() as u64;
        // Of memory that is kept most has to be of use.
        if whole.end <= whole.start || there * 2 >= whole.end - whole.start {
            drop(state);
            return self.write_at(range.start, &buffer[(range.start % PAGE) as usize..]);
        }
        for part in [range.start..whole.start * PAGE, whole.end * PAGE..range.end] {
            if !part.is_empty() {
                let source = &buffer[(part.start - base * PAGE) as usize..(part.end - base * PAGE) as usize];
                self.change_page(&mut state, part.start / PAGE, &part, |bytes| bytes.copy_from_slice(source))?;
            }
        }
        for page in whole.clone() {
            state.save_page(page)?;
        }
        let State { pages, store, .. } = &mut *state;
        match store.adopt(buffer, (whole.start - base) as usize, (whole.end - whole.start) as usize) {
            Ok(kept) => {
                for (page, kept) in whole.clone().zip(kept) {
                    if let Some(old) = pages.insert(page, kept) {
                        store.drop(old);
                    }
                }
                state.set_zeroed(whole, false);
                Ok(())
            }
            Err(buffer) => {
                drop(state);
                self.write_at(range.start, &buffer[(range.start % PAGE) as usize..])
            }
        }
    }

    /// Changes a part of one page.
    fn change_page(
        &self,
        state: &mut State,
        page: u64,
        part: &Range<u64>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<(), DeviceError> {
        let whole = self.bytes(page..page + 1);
        let inside = (part.start - whole.start) as usize..(part.end - whole.start) as usize;
        state.save_page(page)?;
        let State { pages, store, .. } = state;
        if let Some(kept) = pages.get(&page) {
            return store.change(kept, |content| change(&mut content[inside]));
        }
        let mut content = [0; PAGE as usize];
        if *part != whole && !state.zeroed.contains(page..page + 1) {
            self.base.read_at(whole.start, &mut content[..(whole.end - whole.start) as usize])?;
        }
        change(&mut content[inside]);
        let kept = store.keep(&content)?;
        state.set_zeroed(page..page + 1, false);
        state.pages.insert(page, kept);
        Ok(())
    }
}

impl State {
    fn new(store: Pages) -> Self {
        Self { pages: BTreeMap::new(), store, zeroed: RangeSet::new(), savepoints: Vec::new() }
    }

    /// Writes a whole page.
    fn put_page(&mut self, page: u64, content: &Content) -> Result<(), DeviceError> {
        self.save_page(page)?;
        let Self { pages, store, .. } = self;
        if let Some(kept) = pages.get(&page) {
            return store.change(kept, |now| *now = *content);
        }
        let kept = store.keep(content)?;
        self.set_zeroed(page..page + 1, false);
        self.pages.insert(page, kept);
        Ok(())
    }

    /// Keeps a page for the innermost savepoint, before it is changed.
    fn save_page(&mut self, page: u64) -> Result<(), DeviceError> {
        let Some(savepoint) = self.savepoints.last_mut() else { return Ok(()) };
        if let Entry::Vacant(place) = savepoint.pages.entry(page) {
            place.insert(self.pages.get(&page).map(|kept| self.store.copy(kept)).transpose()?);
        }
        Ok(())
    }

    /// Says whether pages are zeroed, and keeps for the innermost savepoint which of them were.
    fn set_zeroed(&mut self, pages: Range<u64>, zeroed: bool) {
        let is_so = if zeroed { self.zeroed.contains(pages.clone()) } else { !self.zeroed.overlaps(pages.clone()) };
        if is_so {
            return;
        }
        if let Some(savepoint) = self.savepoints.last_mut() {
            let mut before = Vec::new();
            let mut at = pages.start;
            while let Some(part) = self.zeroed.next_in(at..pages.end) {
                at = part.end;
                before.push(part);
            }
            savepoint.zeroed.push((pages.clone(), before));
        }
        if zeroed {
            self.zeroed.insert(pages);
        } else {
            self.zeroed.remove(pages);
        }
    }

    /// Drops the content of pages, which are to read as zero.
    fn drop_pages(&mut self, pages: Range<u64>) {
        for (page, content) in self.pages.extract_if(pages, |_, _| true) {
            match self.savepoints.last_mut().map(|savepoint| savepoint.pages.entry(page)) {
                Some(Entry::Vacant(place)) => {
                    place.insert(Some(content));
                }
                Some(Entry::Occupied(_)) | None => self.store.drop(content),
            }
        }
    }

    /// The stretch of pages from `page` on, before `end`, of which no content is kept here.
    fn gap(&self, page: u64, end: u64) -> Range<u64> {
        let next = self.pages.range(page..end).next().map_or(end, |(n, _)| *n);
        page..next
    }
}

impl<D: BlockDevice> BlockDevice for Overlay<D> {
    fn len(&self) -> u64 {
        self.len
    }

    fn geometry(&self) -> Geometry {
        Geometry { read_only: false, ..self.base.geometry() }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DeviceError> {
        check_range(offset, buf.len() as u64, self.len)?;
        let end = offset + buf.len() as u64;
        let state = self.state();
        let mut at = offset;
        while at < end {
            let page = at / PAGE;
            let from = (at - offset) as usize;
            if let Some(kept) = state.pages.get(&page) {
                let inside = (at % PAGE) as usize;
                let n = ((PAGE as usize) - inside).min(buf.len() - from);
                state.store.read(kept, inside, &mut buf[from..from + n])?;
                at += n as u64;
                continue;
            }
            let gap = state.gap(page, end.div_ceil(PAGE));
            let (zero, run) = match state.zeroed.next_in(gap.clone()) {
                Some(zeroed) if zeroed.start == page => (true, zeroed),
                Some(zeroed) => (false, page..zeroed.start),
                None => (false, gap),
            };
            let stop = run.end.saturating_mul(PAGE).min(end);
            let part = &mut buf[from..(stop - offset) as usize];
            if zero {
                part.fill(0);
            } else {
                self.base.read_at(at, part)?;
            }
            at = stop;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        check_range(offset, data.len() as u64, self.len)?;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let len = (COPY_BUFFER - (at % COPY_BUFFER as u64) as usize).min(rest.len());
            let (here, behind) = rest.split_at(len);
            self.write_piece(at, here)?;
            at += len as u64;
            rest = behind;
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(offset, len, self.len)?;
        let (mut at, end) = (offset, offset + len);
        let mut state = self.state_mut();
        while at < end {
            let page = at / PAGE;
            let whole_end = if end == self.len { end.div_ceil(PAGE) } else { end / PAGE };
            if at.is_multiple_of(PAGE) && page < whole_end {
                let below = self.bytes(page..whole_end);
                state.drop_pages(page..whole_end);
                let is_zero_below = self.base.known_zero(below.start, below.end - below.start);
                state.set_zeroed(page..whole_end, !is_zero_below);
                at = below.end;
                continue;
            }
            let part = at..(page + 1).saturating_mul(PAGE).min(end);
            let is_zero = !state.pages.contains_key(&page)
                && (state.zeroed.contains(page..page + 1) || self.base.known_zero(part.start, part.end - part.start));
            if !is_zero {
                self.change_page(&mut state, page, &part, |bytes| bytes.fill(0))?;
            }
            at = part.end;
        }
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<bool, DeviceError> {
        self.write_zeroes(offset, len).map(|()| true)
    }

    fn known_zero(&self, offset: u64, len: u64) -> bool {
        if check_range(offset, len, self.len).is_err() {
            return false;
        }
        let end = offset + len;
        let pages = offset / PAGE..end.div_ceil(PAGE);
        let state = self.state();
        len == 0
            || state.pages.range(pages.clone()).next().is_none()
                && state.zeroed.gaps(pages).all(|gap| {
                    let (start, end) = ((gap.start * PAGE).max(offset), gap.end.saturating_mul(PAGE).min(end));
                    self.base.known_zero(start, end - start)
                })
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, DeviceError> {
        let state = self.state();
        let all = self.len.div_ceil(PAGE);
        let mut at = offset;
        while at < self.len {
            let page = at / PAGE;
            if state.pages.contains_key(&page) {
                let run = (page + 1..all).find(|p| !state.pages.contains_key(p)).unwrap_or(all);
                return Ok(Some(at..self.bytes(page..run).end));
            }
            let gap = state.gap(page, all);
            let below = match state.zeroed.next_in(gap.clone()) {
                Some(zeroed) if zeroed.start == page => {
                    at = self.bytes(zeroed).end;
                    continue;
                }
                Some(zeroed) => page..zeroed.start,
                None => gap,
            };
            let stop = self.bytes(below).end;
            match self.base.next_data(at)? {
                Some(data) if data.start < stop => {
                    return Ok(Some(data.start.max(at)..data.end.min(stop)));
                }
                _ => at = stop,
            }
        }
        Ok(None)
    }

    /// Nothing of an overlay is durable, so there is nothing to do.
    fn flush(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}
