//! The list of bad blocks: what is put into it, and how blocks are tried.

use std::collections::BTreeSet;

use daxkit_device::BlockDevice;
use daxkit_format::{BlockNr, InodeNr};
use daxkit_volume::ext4::edit::Run;

use super::fixer::{Done, Fixer};
use crate::wishes::{BadBlocks, Improved, Scan};

/// Bytes read at once when the device is searched for bad blocks.
const READ: u64 = 1 << 20;
/// Bytes that hold a pattern at a time. Each such part is made durable twice, and lost when the machine stops meanwhile.
const WRITE: u64 = 4 << 20;
/// The inode with the list of bad blocks.
const BAD: u32 = 1;

impl Fixer<'_, '_> {
    /// Makes the list of bad blocks. Blocks that files have there are given up by who checks them next.
    pub(crate) fn set_bad_blocks(&self, wish: &BadBlocks, improved: &mut Improved) -> Done {
        let mut list: BTreeSet<u64> = wish.blocks.iter().copied().collect();
        self.search_bad(wish.scan, &mut list, improved)?;
        if wish.keep {
            list.extend(self.blocks_of(BAD)?.iter().map(|(_, block, _)| *block));
        }
        let outside: Vec<u64> = list.iter().copied().filter(|block| !self.image.is_block(*block, 1)).collect();
        for block in outside {
            list.remove(&block);
            improved.left.push(format!("bad blocks: block {block} is out of range"));
        }
        if list.last().is_some_and(|last| *last > u32::MAX.into()) {
            return Err("bad blocks: the list cannot name a block beyond 2^32".to_owned());
        }
        self.change_inode(BAD, |raw| raw.fill(0))?;
        improved.bad_blocks = Some(list.len() as u64);
        if list.is_empty() {
            return Ok(());
        }
        let size = u64::from(self.image.geo.block_size);
        let (count, now) = (list.len() as u64, self.options.now as u32);
        // Under bigalloc each block counts as the cluster that it lies in.
        let sectors = size / 512 * u64::from(self.image.geo.cluster_ratio);
        self.edit(|editor| {
            // Before the list takes blocks for itself: none of these may be one.
            for block in &list {
                editor.mark_blocks_raw(Run { first: BlockNr(*block), len: 1 }, true)?;
            }
            let mut inode = editor.inode(InodeNr(BAD.into()))?;
            editor.modify(&mut inode, |disk| {
                disk.set_size(count.saturating_mul(size));
                disk.set_blocks_stored(count.saturating_mul(sectors));
                (disk.i_atime, disk.i_mtime, disk.i_ctime) = (now.into(), now.into(), now.into());
            });
            for (index, block) in list.iter().enumerate() {
                editor.set_block(&mut inode, index as u64, Some((*block, true)))?;
            }
            editor.store_inode(&mut inode)
        })
        .map_err(|why| format!("bad blocks: {why}"))
    }

    /// Tries every block, and lists those that do not hold what they should.
    fn search_bad(&self, scan: Scan, list: &mut BTreeSet<u64>, improved: &mut Improved) -> Done {
        let geo = &self.image.geo;
        let (size, device) = (u64::from(geo.block_size), &**self.edits.base());
        let step = match scan {
            Scan::None => return Ok(()),
            Scan::Read => READ,
            Scan::Write if device.geometry().read_only => {
                return Err("bad blocks: the image cannot be written".to_owned());
            }
            Scan::Write => WRITE,
        };
        let step = (step / size).max(1);
        let mut bytes = vec![0; (step * size) as usize];
        let mut trial = Trial { device, size: size as usize, room: Vec::new(), lost: BTreeSet::new() };
        let mut at = geo.first_data_block;
        loop {
            // Between two parts everything is as it was.
            if self.state.cx.stopped() {
                return Err("bad blocks: stopped".to_owned());
            }
            if at >= geo.blocks_count {
                break;
            }
            let many = step.min(geo.blocks_count - at);
            let part = bytes.get_mut(..(many * size) as usize).unwrap_or_default();
            let unread = trial.read(at * size, part);
            if scan == Scan::Write {
                trial.written(at, part, &unread, list);
            }
            list.extend(unread);
            at += many;
        }
        improved.left.extend(
            trial.lost.iter().map(|block| format!("bad blocks: what block {block} held could not be written back")),
        );
        Ok(())
    }
}

/// Blocks that are tried.
struct Trial<'d> {
    device: &'d dyn BlockDevice,
    /// Bytes of a block.
    size: usize,
    /// Room for what is read back.
    room: Vec<u8>,
    /// Blocks that could not be given back what they held.
    lost: BTreeSet<u64>,
}

impl Trial<'_> {
    /// Reads blocks from a byte of the device on. Returns those that cannot be read.
    fn read(&self, from: u64, bytes: &mut [u8]) -> BTreeSet<u64> {
        if self.device.read_at(from, bytes).is_ok() {
            return BTreeSet::new();
        }
        let places = (from..).step_by(self.size);
        let bad = bytes
            .chunks_mut(self.size)
            .zip(places)
            .filter_map(|(one, at)| self.device.read_at(at, one).err().map(|_| at));
        bad.map(|at| at / self.size as u64).collect()
    }

    /// Tries what `first` and the blocks behind it hold, which are `bytes`. Where nothing was ever written there is nothing to try, and a
    /// sparse image stays one.
    fn written(&mut self, first: u64, bytes: &[u8], unread: &BTreeSet<u64>, list: &mut BTreeSet<u64>) {
        let size = self.size as u64;
        let end = first * size + bytes.len() as u64;
        let mut at = first;
        while at * size < end {
            // A device that cannot say where its data is has it everywhere.
            let data = self.device.next_data(at * size).unwrap_or(Some(at * size..end));
            let Some(data) = data.filter(|data| data.start < end) else { break };
            let from = (data.start / size).max(at);
            let to = data.end.min(end).div_ceil(size).max(from + 1);
            let part = |from: u64, to: u64| {
                bytes.get(((from - first) * size) as usize..((to - first) * size) as usize).unwrap_or_default()
            };
            if unread.range(from..to).next().is_some() || !self.holds(from, part(from, to)) {
                for block in (from..to).filter(|block| !unread.contains(block)) {
                    if !self.holds(block, part(block, block + 1)) {
                        list.insert(block);
                    }
                }
            }
            at = to;
        }
    }

    /// Whether blocks hold the opposite of every bit, and what they held again. They are given back that whatever happens.
    fn holds(&mut self, first: u64, bytes: &[u8]) -> bool {
        let (device, at) = (self.device, first * self.size as u64);
        let opposite: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let mut room = std::mem::take(&mut self.room);
        room.resize(bytes.len(), 0);
        let mut hold = |what: &[u8]| {
            let done =
                device.write_at(at, what).and_then(|()| device.flush()).and_then(|()| device.read_at(at, &mut room));
            done.is_ok() && room == what
        };
        let held = hold(&opposite);
        let back = hold(bytes);
        self.room = room;
        for (one, block) in bytes.chunks(self.size).zip(first..) {
            // One that fails keeps those behind it from being written, when they are written together.
            let at = block * self.size as u64;
            let there = back || self.device.write_at(at, one).is_ok() || self.is(at, one);
            match there {
                true => self.lost.remove(&block),
                false => self.lost.insert(block),
            };
        }
        held && back
    }

    /// Whether this is what lies there.
    fn is(&mut self, at: u64, bytes: &[u8]) -> bool {
        self.room.resize(bytes.len(), 0);
        self.device.read_at(at, &mut self.room).is_ok() && self.room == bytes
    }
}
