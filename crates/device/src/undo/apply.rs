//! Going back: the pre-images of an undo file written into the device they came from.
//!
//! Invariant: the whole file is verified before the first byte of the device changes. The file may be any bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::format::{
    BLOCK_SIZES, COMPAT_FS_OFFSET, Header, KEY_BLOCK_MAGIC, Key, KeyBlockHead, MAGIC, MAX_EXTENT_BLOCKS,
    STATE_FINISHED, SUPER_MAGIC_AT, SUPER_OFFSET, SUPER_SIZE, crc, crc_append, keys_per_block,
};
use super::{UndoError, file_error, read_super};
use crate::block::{BlockDevice, COPY_BUFFER, check_range};
use crate::range_set::RangeSet;

/// What going back did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How many pre-images were written.
    pub pre_images: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Whether the tool that made the file had got to its end.
    pub finished: bool,
}

/// One pre-image: where it belongs, where it is in the undo file, how long it is.
struct PreImage {
    device_at: u64,
    file_at: u64,
    size: u32,
}

/// Writes the pre-images of an undo file (ours or one of e2fsprogs) into `device`, and flushes it.
///
/// The device must have the superblock that the file remembers, now or after going back: so a run that was interrupted,
/// or going back that was interrupted, can be repeated, but a file for another image is refused.
///
/// # Errors
/// When the undo file is damaged or belongs to something else, nothing has been changed. When the device fails, calling
/// again goes on.
pub fn apply_undo(file: &File, device: &dyn BlockDevice) -> Result<Applied, UndoError> {
    let reader = Reader::open(file)?;
    let images = reader.pre_images(device)?;
    reader.check_device(device, &images)?;
    let mut bytes = 0;
    // The oldest content of a block is the first one in the file, so it is written last.
    for image in images.iter().rev() {
        bytes += u64::from(image.size);
        reader.each_chunk(image, |at, chunk| Ok(device.write_at(at, chunk)?))?;
    }
    device.flush()?;
    let finished = reader.header.state.get() & STATE_FINISHED != 0;
    Ok(Applied { pre_images: images.len() as u64, bytes, finished })
}

/// Where the device that an undo file was made for begins inside the file that it lies in.
pub(crate) fn fs_offset(file: &File) -> Result<u64, UndoError> {
    let header = Reader::open(file)?.header;
    Ok(if header.f_compat.get() & COMPAT_FS_OFFSET == 0 { 0 } else { header.fs_offset.get() })
}

struct Reader<'a> {
    file: &'a File,
    len: u64,
    header: Header,
}

impl<'a> Reader<'a> {
    fn open(file: &'a File) -> Result<Self, UndoError> {
        let len = file.metadata().map_err(file_error("read"))?.len();
        let mut header = Header::new_zeroed();
        match file.read_exact_at(header.as_mut_bytes(), 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(UndoError::NotAnUndoFile);
            }
            other => other.map_err(file_error("read"))?,
        }
        if header.magic != MAGIC {
            return Err(UndoError::NotAnUndoFile);
        }
        if header.header_crc.get() != header.crc() {
            return Err(UndoError::Damaged { what: "wrong header checksum", block: 0 });
        }
        let (incompat, rocompat) = (header.f_incompat.get(), header.f_rocompat.get());
        if incompat != 0 || rocompat != 0 {
            return Err(UndoError::UnknownFeatures { incompat, rocompat });
        }
        if !BLOCK_SIZES.contains(&header.block_size.get()) || header.fs_block_size.get() == 0 {
            return Err(UndoError::Damaged { what: "impossible block size", block: 0 });
        }
        Ok(Self { file, len, header })
    }

    fn finished(&self) -> bool {
        self.header.state.get() & STATE_FINISHED != 0
    }

    /// Byte offset of a block, if `len` bytes from there lie inside the file.
    fn place(&self, block: u64, len: u64) -> Result<u64, UndoError> {
        let at = block.checked_mul(u64::from(self.header.block_size.get()));
        at.filter(|at| at.checked_add(len).is_some_and(|end| end <= self.len))
            .ok_or(UndoError::Damaged { what: "the end of the file", block })
    }

    /// Reads and verifies all keys and all pre-images.
    fn pre_images(&self, device: &dyn BlockDevice) -> Result<Vec<PreImage>, UndoError> {
        let block_size = self.header.block_size.get();
        let per_block = keys_per_block(block_size);
        let mut block = self.header.key_offset.get();
        let mut left = self.header.num_keys.get();
        let mut images = Vec::new();
        let mut buf = vec![0; block_size as usize];
        // A block is saved once only, so there is never more than the device has.
        let mut allowance = device.len();
        while left > 0 {
            let key_block = block;
            let at = self.place(block, u64::from(block_size))?;
            self.file.read_exact_at(&mut buf, at).map_err(file_error("read"))?;
            let count = left.min(per_block);
            self.check_key_block(&mut buf, count, key_block)?;
            block += 1;
            let (keys, _) =
                Key::slice_of(&buf, count).ok_or(UndoError::Damaged { what: "too few keys", block: key_block })?;
            for key in keys {
                let size = key.size.get();
                let file_at = self.place(block, u64::from(size))?;
                if u64::from(size) > MAX_EXTENT_BLOCKS * u64::from(block_size) {
                    return Err(UndoError::Damaged { what: "a pre-image that is too long", block });
                }
                let device_at = key
                    .fsblk
                    .get()
                    .checked_mul(u64::from(self.header.fs_block_size.get()))
                    .ok_or(UndoError::Damaged { what: "a block number out of range", block: key_block })?;
                check_range(device_at, u64::from(size), device.len())?;
                allowance = allowance
                    .checked_sub(u64::from(size))
                    .ok_or(UndoError::Damaged { what: "more pre-images than the device has content", block })?;
                let image = PreImage { device_at, file_at, size };
                let mut sum = crc(&[]);
                self.each_chunk(&image, |_, chunk| {
                    sum = crc_append(sum, chunk);
                    Ok(())
                })?;
                if sum != key.blk_crc.get() {
                    return Err(UndoError::Damaged { what: "a pre-image with a wrong checksum", block });
                }
                block += u64::from(size.div_ceil(block_size));
                images.push(image);
            }
            left -= count;
        }
        Ok(images)
    }

    /// Verifies a key block. In a file that is not finished, the last one may have been about to grow when the power
    /// went: then the keys that the header vouches for are whole, and each vouches for its pre-image by checksum.
    fn check_key_block(&self, buf: &mut [u8], count: u64, block: u64) -> Result<(), UndoError> {
        let damaged = |what| UndoError::Damaged { what, block };
        let (head, _) = KeyBlockHead::mut_from_prefix(buf).map_err(|_| damaged("no key block"))?;
        if head.magic.get() != KEY_BLOCK_MAGIC {
            return Err(damaged("no key block"));
        }
        let stored = head.crc.get();
        head.crc = 0.into();
        let last = count < keys_per_block(self.header.block_size.get());
        if crc(buf) != stored && (self.finished() || !last) {
            return Err(damaged("wrong checksum of a key block"));
        }
        Ok(())
    }

    /// Gives the pre-image to `each` in pieces, with the place on the device each belongs to.
    fn each_chunk(
        &self,
        image: &PreImage,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), UndoError>,
    ) -> Result<(), UndoError> {
        let size = u64::from(image.size);
        let mut buf = vec![0; size.min(COPY_BUFFER as u64) as usize];
        let mut done = 0;
        while done < size {
            let n = (size - done).min(buf.len() as u64) as usize;
            self.file.read_exact_at(&mut buf[..n], image.file_at + done).map_err(file_error("read"))?;
            each(image.device_at + done, &buf[..n])?;
            done += n as u64;
        }
        Ok(())
    }

    /// Refuses a device that the file was not made for.
    fn check_device(&self, device: &dyn BlockDevice, images: &[PreImage]) -> Result<(), UndoError> {
        let block = self.header.super_offset.get();
        let mut stored = [0; SUPER_SIZE];
        let at = self.place(block, SUPER_SIZE as u64)?;
        self.file.read_exact_at(&mut stored, at).map_err(file_error("read"))?;
        stored[SUPER_MAGIC_AT].iter_mut().for_each(|b| *b = !*b);
        // While a file is being finished the copy is replaced before its checksum.
        if self.finished() && crc(&stored) != self.header.sb_crc.get() {
            return Err(UndoError::Damaged { what: "wrong checksum of the superblock", block });
        }
        let now = read_super(device)?;
        let mut then = now;
        let mut covered = RangeSet::new();
        let whole = SUPER_OFFSET..SUPER_OFFSET + SUPER_SIZE as u64;
        for image in images.iter().rev() {
            self.each_chunk(image, |at, chunk| {
                let (from, to) = (at.max(whole.start), (at + chunk.len() as u64).min(whole.end));
                if from < to {
                    then[(from - whole.start) as usize..(to - whole.start) as usize]
                        .copy_from_slice(&chunk[(from - at) as usize..(to - at) as usize]);
                    covered.insert(from..to);
                }
                Ok(())
            })?;
        }
        // The last case: an earlier attempt to go back got as far as the superblock.
        if stored == now || stored == then || (covered.contains(whole) && now == then) {
            Ok(())
        } else {
            Err(UndoError::AnotherDevice)
        }
    }
}

impl Key {
    /// The keys of a key block.
    fn slice_of(block: &[u8], count: u64) -> Option<(&[Self], &[u8])> {
        let after_head = block.get(size_of::<KeyBlockHead>()..)?;
        <[Self]>::ref_from_prefix_with_elems(after_head, usize::try_from(count).ok()?).ok()
    }
}
