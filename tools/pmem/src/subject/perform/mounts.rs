//! File systems: mounts, their options, what is made durable, caches.

use daxkit_format::dax::Errno;
use daxkit_mount::fail::Fail;
use daxkit_mount::fs::FileSystem;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::{freeze, icache, mount, shutdown, sync};
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::value::{Record, Value};
use daxkit_scenario::words::Shutdown;

use super::{Call, Done, state};
use crate::subject::names::Mounted;
use crate::subject::options;

impl<R: Runtime> Call<'_, R> {
    pub(super) fn mounts(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Remount { fs, options } => self.fs(Some(&fs.0.text)).and_then(|sb| {
                let options = options::parse(&options.0).map_err(|_| Fail::Errno(Errno::EINVAL))?;
                mount::remount(rt, sb, options.dax, options.data, options.read_only).map(unit)
            }),
            Do::Umount { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| {
                let kept = mount::umount(rt, sb)?;
                state::keep_unmounted(rt, sb, kept);
                if let Some(fs) = self.names.borrow_mut().fs.get_mut(&*fs.0.text) {
                    fs.sb = None;
                }
                Ok(Value::Unit)
            }),
            Do::Mount { fs, options } => {
                let last = self.names.borrow().fs.get(&*fs.0.text).and_then(|fs| fs.last);
                let Some(last) = last else { return Some(Err(Fail::Errno(Errno::EBUSY))) };
                let Ok(options) = options::parse(&options.0) else { return Some(Err(Fail::Errno(Errno::EINVAL))) };
                let request = state::request(rt, last, &options);
                if !options.are_known_to(&request.profile) {
                    return Some(Err(Fail::Errno(Errno::EINVAL)));
                }
                mount::mount(rt, request).map(|sb| {
                    let mounted = Mounted { sb: Some(sb), last: Some(sb), options };
                    self.names.borrow_mut().fs.insert(fs.0.text.to_string(), mounted);
                    Value::Unit
                })
            }
            Do::MountOptions { fs } => self.fs(Some(&fs.0.text)).map(|sb| {
                let shown = state::look(rt, |w| mount::show_options(w, sb));
                Value::set(shown.split(',').filter(|word| !word.is_empty()))
            }),
            Do::Statfs { fs } => self.fs(Some(&fs.0.text)).map(|sb| {
                state::look(rt, |w| {
                    let (features, space) = (w.sb(sb).fs.features(), w.sb(sb).fs.space());
                    Value::Record(
                        Record::default()
                            .with("bsize", u64::from(features.block_size))
                            .with("blocks", features.blocks)
                            .with("bfree", space.free_blocks)
                            .with("bavail", space.free_blocks)
                            .with("files", w.sb(sb).fs.inodes())
                            .with("ffree", space.free_inodes),
                    )
                })
            }),
            Do::Sync {} => sync::sync(rt).map(unit),
            Do::Syncfs { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| sync::syncfs(rt, sb)).map(unit),
            Do::Freeze { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| freeze::freeze(rt, sb)).map(unit),
            Do::Thaw { fs } => self.fs(Some(&fs.0.text)).and_then(|sb| freeze::thaw(rt, sb)).map(unit),
            Do::DropCaches { what } => icache::drop_caches(rt, *what as u8).map(unit),
            Do::Shutdown { fs, how } => {
                self.fs(Some(&fs.0.text)).and_then(|sb| shutdown::shutdown(rt, sb, *how == Shutdown::Flush)).map(unit)
            }
            Do::Sysctl { name, value: value @ (0 | 1) } => {
                let known = state::sysctl(rt, &name.0, *value == 1);
                if known { Ok(Value::Unit) } else { Err(Fail::Errno(Errno::ENOENT)) }
            }
            Do::Sysctl { .. } => Err(Fail::Errno(Errno::EINVAL)),
            Do::Poison { target, offset, length } => {
                self.with_inode(target, |file| Ok(state::poison(rt, file, *offset, *length)?)).map(unit)
            }
            _ => return None,
        })
    }
}
