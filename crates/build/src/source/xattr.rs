//! Extended attributes of the host's files: one system call for a file that has none.

use super::tree::XattrSet;
use daxkit_format::ext4::xattr::split_name;
use rustix::io::Errno;
use std::ffi::CStr;

/// Largest list of names and largest value Linux knows (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LARGEST: usize = 65536;
/// The kernel allocates as much as the caller offers, so little is offered first.
const FIRST: usize = 1024;

/// Reads attributes, with buffers of its own.
pub(super) struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

/// The attributes of one file.
#[derive(Default)]
pub(super) struct Found {
    pub(super) set: XattrSet,
    /// Names of attributes ext4 has no place for.
    pub(super) foreign: Vec<Vec<u8>>,
}

/// True for the namespaces Linux's ext4 serves. Of `system.` it has the ACLs only: `system.data` is its own, and what
/// other file systems show below `system.` (NFS, CIFS ACLs) would be dead weight nobody could read.
pub(super) fn storable(name: &[u8]) -> bool {
    matches!(split_name(name), Some((1..=4 | 6, _))) && name.len() <= 255
}

impl XattrReader {
    pub(super) fn new() -> Self {
        Self { names: vec![0; FIRST], value: vec![0; FIRST] }
    }

    /// The attributes of what the path names, symlinks not followed.
    pub(super) fn read(&mut self, path: &CStr) -> Result<Option<Found>, Errno> {
        let len = loop {
            match rustix::fs::llistxattr(path, &mut self.names[..]) {
                Ok(0) => return Ok(None),
                Ok(n) => break n,
                Err(Errno::RANGE) if self.names.len() < LARGEST => self.names.resize(LARGEST, 0),
                // The host's file system has none.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
                Err(e) => return Err(e),
            }
        };
        let mut found = Found::default();
        let names = std::mem::take(&mut self.names);
        let read = self.values(path, names.get(..len).unwrap_or_default(), &mut found);
        self.names = names;
        // A large buffer would make each later call slow.
        self.names.truncate(FIRST);
        self.value.truncate(FIRST);
        read?;
        found.set.list.sort_unstable();
        found.set.list.dedup_by(|a, b| a.0 == b.0);
        Ok(Some(found))
    }

    fn values(&mut self, path: &CStr, names: &[u8], found: &mut Found) -> Result<(), Errno> {
        for name in names.split_inclusive(|b| *b == 0) {
            let Ok(c_name) = CStr::from_bytes_with_nul(name) else { continue };
            if !storable(c_name.to_bytes()) {
                found.foreign.push(c_name.to_bytes().to_vec());
                continue;
            }
            let value = loop {
                match rustix::fs::lgetxattr(path, c_name, &mut self.value[..]) {
                    Ok(n) => break self.value.get(..n).map(<[u8]>::to_vec),
                    Err(Errno::RANGE) if self.value.len() < LARGEST => self.value.resize(LARGEST, 0),
                    // Listed by a security module that holds no value, or removed since.
                    Err(Errno::NODATA | Errno::OPNOTSUPP) => break None,
                    Err(e) => return Err(e),
                }
            };
            if let Some(value) = value {
                found.set.list.push((c_name.to_bytes().to_vec(), value));
            }
        }
        Ok(())
    }
}
