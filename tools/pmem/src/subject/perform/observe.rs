//! What is asked of the kernel's own state, past its system calls.

use daxkit_format::dax::Errno;
use daxkit_mount::fail::Fail;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::world::objects::Aops;
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::value::Value;
use daxkit_scenario::word::Word;

use super::{Call, Done, MOST_READ, state};

impl<R: Runtime> Call<'_, R> {
    pub(super) fn state(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        Some(match operation {
            Do::Flag { target } => self.with_inode(target, |file| Ok(Value::from(state::flag(rt, file)))),
            Do::SDax { target } => {
                self.with_inode(target, |file| Ok(Value::from(state::of_inode(rt, file, |inode| inode.s_dax))))
            }
            Do::Aops { target } => self.with_inode(target, |file| {
                Ok(Value::from(match state::of_inode(rt, file, |inode| inode.aops) {
                    Aops::Dax => "dax",
                    Aops::PageCache => "cache",
                }))
            }),
            Do::VmOps { map } => self.map(&map.0.text).map(|region| state::vm_ops(rt, region.address)),
            Do::Entries { target } => self.with_inode(target, |file| Ok(state::entries(rt, file))),
            Do::Ptes { map } => self.map(&map.0.text).map(|region| state::ptes(rt, region)),
            Do::Durable { target, offset, length } => self.with_inode(target, |file| {
                Ok(Value::Bytes(state::durable(rt, file, *offset, (*length).min(MOST_READ))?))
            }),
            Do::Pins { target } => self.with_inode(target, |file| Ok(Value::Number(state::pins(rt, file)))),
            Do::Cached { path } => self.at(path).map(|at| state::cached(rt, &at)),
            Do::CachedInodes { fs } => self.fs(Some(&fs.0.text)).map(|sb| state::cached_inodes(rt, sb)),
            Do::Dontcache { target } => self.with_inode(target, |file| Ok(state::dontcache(rt, file))),
            Do::Counter { name } => match state::counter(rt, name.word()) {
                Some(n) => Ok(Value::Number(n)),
                None => Err(Fail::Errno(Errno::ENOENT)),
            },
            Do::ResetCounters {} => {
                state::reset_counters(rt);
                Ok(Value::Unit)
            }
            Do::Trace {} => Ok(Value::List(state::trace(rt).into_iter().map(Value::Record).collect())),
            Do::Explain { target } => {
                self.with_inode(target, |file| Ok(Value::Text(state::explain(rt, &self.names.borrow(), file))))
            }
            _ => return None,
        })
    }
}
