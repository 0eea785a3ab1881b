//! Names of directories, and values of attributes, in flat lists over one heap of bytes.

use daxkit_format::dax::Errno;

use crate::fs::Ino;

/// Longest name, as on ext4.
const NAME_MAX: usize = 255;

/// Under which name the target of a symbolic link is kept.
pub(super) const TARGET: &[u8] = b"\0target";
/// Under which name contents inside an inode are kept.
pub(super) const INLINE: &[u8] = b"\0inline";

/// A stretch of the heap.
#[derive(Debug, Clone, Copy)]
struct Text {
    start: u32,
    len: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    dir: Ino,
    ino: Ino,
    is_dir: bool,
    name: Text,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    ino: Ino,
    name: Text,
    value: Text,
}

/// All names and values.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: Vec<Entry>,
    values: Vec<Value>,
    heap: Vec<u8>,
    garbage: usize,
}

impl Clone for Names {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            values: self.values.clone(),
            heap: self.heap.clone(),
            garbage: self.garbage,
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.entries.clone_from(&source.entries);
        self.values.clone_from(&source.values);
        self.heap.clone_from(&source.heap);
        self.garbage = source.garbage;
    }
}

/// Whether a file may be called so.
pub(super) fn check(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"." | b".." => Err(Errno::EEXIST),
        name if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        name if name.is_empty() || name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

impl Names {
    fn text(&self, text: Text) -> &[u8] {
        &self.heap[text.start as usize..(text.start + text.len) as usize]
    }

    fn keep(&mut self, bytes: &[u8]) -> Text {
        let text = Text { start: self.heap.len() as u32, len: bytes.len() as u32 };
        self.heap.extend_from_slice(bytes);
        text
    }

    /// Counts what nobody names any more, and moves the rest together when it is most of the heap.
    fn drop_text(&mut self, text: Text) {
        self.garbage += text.len as usize;
        if self.garbage < 4096 || self.garbage * 2 < self.heap.len() {
            return;
        }
        let old = std::mem::take(&mut self.heap);
        self.garbage = 0;
        let texts = self.entries.iter_mut().map(|entry| &mut entry.name);
        let values = self.values.iter_mut().flat_map(|value| [&mut value.name, &mut value.value]);
        for text in texts.chain(values) {
            let start = self.heap.len() as u32;
            self.heap.extend_from_slice(&old[text.start as usize..(text.start + text.len) as usize]);
            text.start = start;
        }
    }

    fn position(&self, dir: Ino, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.dir == dir && self.text(entry.name) == name)
    }

    pub(super) fn find(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        self.position(dir, name).map(|at| self.entries[at].ino)
    }

    pub(super) fn of(&self, dir: Ino) -> impl Iterator<Item = (&[u8], Ino)> {
        self.entries.iter().filter(move |entry| entry.dir == dir).map(|entry| (self.text(entry.name), entry.ino))
    }

    /// The directory that a directory is in.
    pub(super) fn parent_of(&self, dir: Ino) -> Option<Ino> {
        self.entries.iter().find(|entry| entry.is_dir && entry.ino == dir).map(|entry| entry.dir)
    }

    pub(super) fn add(&mut self, dir: Ino, name: &[u8], ino: Ino, is_dir: bool) {
        let name = self.keep(name);
        self.entries.push(Entry { dir, ino, is_dir, name });
    }

    pub(super) fn remove(&mut self, dir: Ino, name: &[u8]) {
        if let Some(at) = self.position(dir, name) {
            let entry = self.entries.remove(at);
            self.drop_text(entry.name);
        }
    }

    pub(super) fn redirect(&mut self, dir: Ino, name: &[u8], ino: Ino, is_dir: bool) {
        if let Some(at) = self.position(dir, name) {
            (self.entries[at].ino, self.entries[at].is_dir) = (ino, is_dir);
        }
    }

    fn value_at(&self, ino: Ino, name: &[u8]) -> Option<usize> {
        self.values.iter().position(|value| value.ino == ino && self.text(value.name) == name)
    }

    pub(super) fn value(&self, ino: Ino, name: &[u8]) -> Option<&[u8]> {
        self.value_at(ino, name).map(|at| self.text(self.values[at].value))
    }

    /// Names of the values of an inode, without those that are no attributes.
    pub(super) fn values_of(&self, ino: Ino) -> impl Iterator<Item = &[u8]> {
        let names = self.values.iter().filter(move |value| value.ino == ino).map(|value| self.text(value.name));
        names.filter(|name| !name.starts_with(b"\0"))
    }

    pub(super) fn set_value(&mut self, ino: Ino, name: &[u8], value: &[u8]) {
        self.remove_value(ino, name);
        let (name, value) = (self.keep(name), self.keep(value));
        self.values.push(Value { ino, name, value });
    }

    pub(super) fn remove_value(&mut self, ino: Ino, name: &[u8]) {
        if let Some(at) = self.value_at(ino, name) {
            let value = self.values.remove(at);
            self.drop_text(value.name);
            self.drop_text(value.value);
        }
    }

    /// Drops every value of an inode.
    pub(super) fn forget(&mut self, ino: Ino) {
        while let Some(at) = self.values.iter().position(|value| value.ino == ino) {
            let value = self.values.remove(at);
            self.drop_text(value.name);
            self.drop_text(value.value);
        }
    }
}
