//! SHA-256 of every regular file, as its bytes are read back from the image.

use super::ManifestError;
use crate::plan::{ImagePath, Plan};
use crate::pool;
use crate::progress::Progress;
use crate::source::{Kind, NodeId, Tree};
use daxkit_format::InodeNr;
use daxkit_volume::{Volume, VolumeError};
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// Bytes read at a time.
const BUFFER: usize = 1 << 20;

/// The digests, by node.
pub(super) struct Hashes(Vec<Option<[u8; 32]>>);

impl Hashes {
    /// The digest of a file's content; `None` for what is no file.
    pub(super) fn get(&self, tree: &Tree, id: NodeId) -> Option<[u8; 32]> {
        self.0.get(tree.primary(id).0 as usize).copied().flatten()
    }
}

/// Reads every file.
pub(super) fn all(volume: &Volume, plan: &Plan, tree: &Tree, progress: &dyn Progress) -> Result<Hashes, ManifestError> {
    let files: Vec<NodeId> = tree.ids().filter(|id| tree.kind(*id) == Kind::File && tree.primary(*id) == *id).collect();
    progress.stage("hashing files", files.iter().map(|id| tree.size(*id)).sum());
    let failed: Mutex<Option<ManifestError>> = Mutex::new(None);
    let done = pool::run(
        plan.params.threads,
        files.len(),
        progress,
        || Ok((Vec::new(), vec![0; BUFFER])),
        |(found, buffer), i| {
            let Some(id) = files.get(i).copied() else { return Ok(()) };
            match one(volume, plan, id, buffer) {
                Ok(digest) => found.push((id, digest)),
                Err(source) => {
                    let path = ImagePath(tree.path(id));
                    let mut failed = failed.lock().unwrap_or_else(|p| p.into_inner());
                    failed.get_or_insert(ManifestError::Read { path, source });
                }
            }
            progress.advance(tree.size(id));
            Ok(())
        },
    )?;
    if let Some(error) = failed.into_inner().unwrap_or_else(|p| p.into_inner()) {
        return Err(error);
    }
    let mut hashes = vec![None; tree.len()];
    for (id, digest) in done.into_iter().flat_map(|(found, _)| found) {
        if let Some(slot) = hashes.get_mut(id.0 as usize) {
            *slot = Some(digest);
        }
    }
    Ok(Hashes(hashes))
}

fn one(volume: &Volume, plan: &Plan, id: NodeId, buffer: &mut [u8]) -> Result<[u8; 32], VolumeError> {
    let inode = volume.inode(InodeNr(u64::from(plan.needs.inodes.ino(id))))?;
    let mut sum = Sha256::new();
    let mut at = 0;
    while at < inode.size() {
        let n = volume.read_at(&inode, at, buffer)?;
        if n == 0 {
            break;
        }
        sum.update(buffer.get(..n).unwrap_or_default());
        at += n as u64;
    }
    Ok(sum.finalize().into())
}
