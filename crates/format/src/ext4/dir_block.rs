//! Changing the entries of a linear directory block, or of the part of an inode that holds entries.
//!
//! An area is what holds entries: a block without the checksum's fake entry at its end, or a part of an inode. Its entries
//! fill it from end to end, the room behind a name belongs to the entry before it (`ext4_insert_dentry`,
//! `ext4_generic_delete_entry`, Linux 6.12).

use super::dir_entry::{self, DirEntry, Entries, Entry, EntryError, entry_len, file_type, rec_len_to_disk};
use crate::on_disk::OnDisk;
use zerocopy::IntoBytes;

/// Bytes of the fake entry that holds the checksum.
pub const TAIL_LEN: usize = size_of::<dir_entry::DirEntryTail>();

/// How entries are written in one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryStyle {
    /// Bytes of a block.
    pub block_size: u32,
    /// The feature `filetype`.
    pub has_file_type: bool,
}

/// What an entry is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEntry<'a> {
    /// The inode.
    pub inode: u32,
    /// The name; longer than 255 bytes none fits.
    pub name: &'a [u8],
    /// `file_type`; not written where entries have none.
    pub file_type: u8,
}

impl EntryStyle {
    /// The entries of an area.
    #[must_use]
    pub fn entries(self, area: &[u8]) -> Entries<'_> {
        Entries::new(area, self.block_size, self.has_file_type)
    }

    /// Writes an entry with a record of `rec_len` bytes at byte `at`; nothing where it does not fit.
    pub fn write(self, area: &mut [u8], at: usize, rec_len: usize, new: &NewEntry<'_>) {
        let head = DirEntry {
            inode: new.inode.into(),
            rec_len: rec_len_to_disk(u32::try_from(rec_len).unwrap_or(0), self.block_size).into(),
            name_len: u8::try_from(new.name.len()).unwrap_or(0),
            file_type: if self.has_file_type { new.file_type } else { 0 },
        };
        let Some((fixed, rest)) = area.get_mut(at..).and_then(|a| a.split_at_mut_checked(8)) else { return };
        fixed.copy_from_slice(head.as_bytes());
        if let Some(place) = rest.get_mut(..new.name.len()) {
            place.copy_from_slice(new.name);
        }
    }

    /// Changes how long the record at byte `at` is.
    pub fn set_rec_len(self, area: &mut [u8], at: usize, rec_len: usize) {
        if let Some(head) = area.get_mut(at..).and_then(DirEntry::peek_mut) {
            head.rec_len.set(rec_len_to_disk(u32::try_from(rec_len).unwrap_or(0), self.block_size));
        }
    }

    /// Makes an area of one unused entry.
    pub fn clear(self, area: &mut [u8]) {
        area.fill(0);
        self.set_rec_len(area, 0, area.len());
    }

    /// Makes an area with the entries `.` and `..`.
    pub fn dots(self, area: &mut [u8], dir: u32, parent: u32) {
        area.fill(0);
        let rest = area.len().saturating_sub(entry_len(1));
        let file_type = file_type::DIR;
        self.write(area, 0, entry_len(1), &NewEntry { inode: dir, name: b".", file_type });
        self.write(area, entry_len(1), rest, &NewEntry { inode: parent, name: b"..", file_type });
    }

    /// Adds an entry in the first place that has room; false when there is none.
    ///
    /// # Errors
    /// An entry on the way cannot be read.
    pub fn add(self, area: &mut [u8], new: &NewEntry<'_>) -> Result<bool, EntryError> {
        let need = entry_len(new.name.len());
        let mut place = None;
        for entry in self.entries(area) {
            let e = entry?;
            let used = if e.inode == 0 { 0 } else { entry_len(e.name.len()) };
            if (e.rec_len as usize).saturating_sub(used) >= need {
                place = Some((e.offset, used, e.rec_len as usize));
                break;
            }
        }
        let Some((offset, used, rec_len)) = place else { return Ok(false) };
        if used > 0 {
            self.set_rec_len(area, offset, used);
        }
        self.write(area, offset + used, rec_len - used, new);
        Ok(true)
    }

    /// Takes out the entry at byte `at`: the one before it grows, or it becomes unused. False when there is none.
    ///
    /// # Errors
    /// An entry on the way cannot be read.
    pub fn remove(self, area: &mut [u8], at: usize) -> Result<bool, EntryError> {
        let mut before: Option<(usize, usize)> = None;
        for entry in self.entries(area) {
            let e = entry?;
            if e.offset > at {
                break;
            }
            if e.offset == at {
                let len = e.rec_len as usize;
                // Nothing of the name stays behind, only the length where the entry does.
                if let Some(record) = area.get_mut(at..at + len) {
                    record.fill(0);
                }
                match before {
                    Some((offset, rec_len)) => self.set_rec_len(area, offset, rec_len + len),
                    None => self.set_rec_len(area, at, len),
                }
                return Ok(true);
            }
            before = Some((e.offset, e.rec_len as usize));
        }
        Ok(false)
    }

    /// Changes what the entry at byte `at` leads to.
    pub fn set_target(self, area: &mut [u8], at: usize, inode: u32, file_type: u8) {
        if let Some(head) = area.get_mut(at..).and_then(DirEntry::peek_mut) {
            head.inode.set(inode);
            if self.has_file_type {
                head.file_type = file_type;
            }
        }
    }

    /// Stretches the last entry of an area, which ended at byte `end`, to the end of the area as it is now.
    ///
    /// # Errors
    /// An entry on the way cannot be read.
    pub fn stretch(self, area: &mut [u8], end: usize) -> Result<(), EntryError> {
        let mut last = 0;
        for entry in self.entries(area.get(..end).unwrap_or_default()) {
            last = entry?.offset;
        }
        self.set_rec_len(area, last, area.len() - last);
        Ok(())
    }

    /// Fills an area with entries, one behind the other; false when they do not fit.
    pub fn fill<'a>(self, area: &mut [u8], entries: impl IntoIterator<Item = Entry<'a>>) -> bool {
        area.fill(0);
        let (mut used, mut last) = (0, 0);
        for e in entries {
            let len = entry_len(e.name.len());
            if used + len > area.len() {
                return false;
            }
            self.write(area, used, len, &NewEntry { inode: e.inode, name: e.name, file_type: e.file_type });
            last = used;
            used += len;
        }
        self.set_rec_len(area, last, area.len() - last);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: EntryStyle = EntryStyle { block_size: 1024, has_file_type: true };

    fn names(area: &[u8]) -> Vec<(u32, String, u32)> {
        let entries = STYLE.entries(area).map(|e| e.expect("sound"));
        entries.map(|e| (e.inode, String::from_utf8_lossy(e.name).into_owned(), e.rec_len)).collect()
    }

    fn new(inode: u32, name: &str) -> NewEntry<'_> {
        NewEntry { inode, name: name.as_bytes(), file_type: file_type::REG_FILE }
    }

    #[test]
    fn names_take_the_first_room_and_give_it_back_to_the_one_before() {
        let mut area = [0; 100];
        STYLE.dots(&mut area, 2, 2);
        assert_eq!(names(&area), [(2, ".".into(), 12), (2, "..".into(), 88)]);
        for (nr, name) in [(11, "first"), (12, "a longer one"), (13, "third")] {
            assert_eq!(STYLE.add(&mut area, &new(nr, name)), Ok(true));
        }
        let all = [(2, ".", 12), (2, "..", 12), (11, "first", 16), (12, "a longer one", 20), (13, "third", 40)];
        assert_eq!(names(&area), all.map(|(i, n, l)| (i, n.to_owned(), l)));
        assert_eq!(STYLE.add(&mut area, &new(14, "no room for so many letters")), Ok(false));
        assert_eq!(STYLE.remove(&mut area, 40), Ok(true));
        assert_eq!(STYLE.remove(&mut area, 40), Ok(false), "it is not there any more");
        assert!(area[40..60].iter().all(|b| *b == 0));
        assert_eq!(names(&area)[2], (11, "first".into(), 36));
        assert_eq!(STYLE.add(&mut area, &new(15, "x")), Ok(true));
        assert_eq!(names(&area)[2..4], [(11, "first".into(), 16), (15, "x".into(), 20)]);
        STYLE.set_target(&mut area, 40, 16, file_type::DIR);
        assert_eq!(names(&area)[3], (16, "x".into(), 20));
    }

    #[test]
    fn the_first_entry_stays_when_it_is_taken_out() {
        let mut area = [0xff; 64];
        STYLE.clear(&mut area);
        assert_eq!(names(&area), [(0, String::new(), 64)]);
        assert_eq!(STYLE.add(&mut area, &new(3, "only")), Ok(true));
        assert_eq!(STYLE.remove(&mut area, 0), Ok(true));
        assert_eq!(names(&area), [(0, String::new(), 64)]);
    }

    #[test]
    fn an_area_that_grew_belongs_to_its_last_entry() {
        let mut area = [0; 96];
        STYLE.clear(&mut area[..40]);
        assert_eq!(STYLE.add(&mut area[..40], &new(3, "one")), Ok(true));
        assert_eq!(STYLE.add(&mut area[..40], &new(4, "two")), Ok(true));
        assert_eq!(STYLE.stretch(&mut area, 40), Ok(()));
        assert_eq!(names(&area), [(3, "one".into(), 12), (4, "two".into(), 84)]);
    }

    #[test]
    fn nothing_is_written_into_what_cannot_be_read() {
        let mut area = [0; 64];
        let why = EntryError::RecLen { offset: 0, rec_len: 0 };
        assert_eq!(STYLE.add(&mut area, &new(3, "x")), Err(why));
        assert_eq!(STYLE.remove(&mut area, 0), Err(why));
        assert_eq!(area, [0; 64]);
        STYLE.write(&mut area, 63, 12, &new(1, "x"));
        STYLE.clear(&mut []);
        assert_eq!(area, [0; 64]);
    }
}
