//! The bytes of one structure while its lines are read.

use super::error::Read;
use super::words::{Words, number};
use crate::dump::fields::magic;
use daxkit_format::FieldValue;
use daxkit_format::field::{Access, Structure};

/// Bytes that go to the image when their section ends.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Byte of the image.
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    /// Fields that are to hold what fits.
    fitting: Vec<String>,
}

impl Buffer {
    pub(super) fn new(at: u64, len: usize) -> Self {
        Self { at, bytes: vec![0; len], fitting: Vec::new() }
    }

    /// Bytes that are there already.
    pub(super) fn over(at: u64, bytes: Vec<u8>) -> Self {
        Self { at, bytes, fitting: Vec::new() }
    }

    /// Sets the magic numbers of a structure.
    pub(super) fn begin(&mut self, structure: Structure, base: usize) {
        for def in structure.fields() {
            if let Some(value) = magic(structure, def.name)
                && let Some(access) = Access::find(structure, def.name)
            {
                let _ = access.set(self.bytes.get_mut(base..).unwrap_or_default(), &FieldValue::Int(value));
            }
        }
    }

    /// Sets a field of one of these structures, each at its base; `ok` is remembered.
    pub(super) fn field(&mut self, structures: &[(Structure, usize)], name: &str, text: &str) -> Read {
        if text == "ok" {
            if !self.fits(name) {
                // No structure has more checksums than these.
                if self.fitting.len() >= 8 || name.len() > 64 {
                    return Err("no structure has so many checksums".into());
                }
                self.fitting.push(name.to_owned());
            }
            return Ok(());
        }
        let found = structures.iter().find_map(|(structure, base)| Some((Access::find(*structure, name)?, *base)));
        let (access, base) = found.ok_or_else(|| format!("no field {name} is known here"))?;
        let bytes = self.bytes.get_mut(base..).unwrap_or_default();
        access.set_text(bytes, text).map_err(|e| format!("{name}: {e}").into())
    }

    /// Whether a field is to hold what fits.
    pub(super) fn fits(&self, name: &str) -> bool {
        self.fitting.iter().any(|n| n == name)
    }

    /// Refuses fields that are to fit and are none of these.
    pub(super) fn only_fit(&self, names: &[&str]) -> Read {
        match self.fitting.iter().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(format!("{name}: it is no checksum that could be made to fit").into()),
            None => Ok(()),
        }
    }

    /// Puts bytes at an offset.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> Read {
        let place = at.checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(at..end));
        place
            .ok_or_else(|| format!("{} bytes at {at:#x} do not fit into the structure", bytes.len()))?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// `+0xOFFSET CONTENT`, of which the plus sign was taken away.
    pub(super) fn raw(&mut self, text: &str) -> Read {
        let mut words = Words(text);
        let at: usize = number(words.word(), "an offset")?;
        let bytes = words.content()?;
        words.end()?;
        self.put(at, &bytes)
    }
}
