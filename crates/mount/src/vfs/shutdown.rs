//! `FS_IOC_SHUTDOWN` (`ext4_force_shutdown`, `xfs_fs_goingdown`, Linux 6.12): from then on what would change or read the file
//! system is EIO, faults that need it are SIGBUS, and what was not committed is not there at the next mount.

use daxkit_format::dax::Errno;

use super::sync::syncfs;
use crate::fail::Result;
use crate::ids::{InodeId, SbId};
use crate::op::Op;
use crate::profile::Personality;
use crate::runtime::Runtime;
use crate::world::World;

impl<F> World<F> {
    /// `EIO` of a file system that was shut down.
    pub(crate) fn alive(&self, sb: SbId) -> std::result::Result<(), Errno> {
        if self.sbs[usize::from(sb.0)].shutdown { Err(Errno::EIO) } else { Ok(()) }
    }

    /// The same for reading the map of a file, which only XFS asks before.
    pub(crate) fn may_map(&self, inode: InodeId) -> std::result::Result<(), Errno> {
        let sb = self.inodes[inode].sb;
        if self.sbs[usize::from(sb.0)].personality == Personality::Xfs { self.alive(sb) } else { Ok(()) }
    }
}

/// Shuts down, with what is dirty written before or not.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; those of writing.
pub fn shutdown<R: Runtime>(rt: &R, sb: SbId, flush: bool) -> Result<()> {
    let task = rt.task();
    if !rt.step(Op::new("capable"), |w| w.tasks.cred(task).privileged) {
        return Err(Errno::EPERM.into());
    }
    if flush {
        syncfs(rt, sb)?;
    }
    // Everything asks for it, in steps that do not say so: this one is told to touch the world.
    rt.step(Op::world("EXT4_FLAGS_SHUTDOWN"), |w| w.sb_mut(sb).shutdown = true);
    Ok(())
}
