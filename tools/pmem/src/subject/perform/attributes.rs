//! Attributes: the flags, `stat`, owners and modes, extended attributes.

use daxkit_format::dax::FileKind;
use daxkit_format::dax::fileattr::XFlags;
use daxkit_mount::fail::Fail;
use daxkit_mount::runtime::Runtime;
use daxkit_mount::vfs::{attr, fileattr, protect, space, statx};
use daxkit_scenario::letters::{Flag, XFlag, letters_of};
use daxkit_scenario::ops::Operation as Do;
use daxkit_scenario::ops::args::Target;
use daxkit_scenario::value::{Record, Value};
use daxkit_scenario::word::Set;
use daxkit_scenario::words::StatxFlag;

use super::{Call, Done};

impl<R: Runtime> Call<'_, R> {
    fn fsx(
        &self,
        target: &Target,
        xflags: impl FnOnce(u32) -> u32,
        projid: Option<u64>,
        extsize: Option<u64>,
        cow: Option<u64>,
    ) -> Result<(), Fail> {
        self.with_target(target, |file| {
            let old = fileattr::ioctl_fsgetxattr(self.rt, file)?;
            fileattr::ioctl_fssetxattr(
                self.rt,
                file,
                XFlags::from_bits_retain(xflags(old.xflags.bits())),
                extsize.map_or(old.extsize, |n| n as u32),
                cow.map_or(old.cowextsize, |n| n as u32),
                projid.map_or(old.projid, |n| n as u32),
            )
        })
    }

    pub(super) fn attributes(&self, operation: &Do) -> Option<Done> {
        let rt = self.rt;
        let unit = |()| Value::Unit;
        Some(match operation {
            Do::Getflags { target } => self.with_target(target, |file| {
                let bits = fileattr::ioctl_getflags(rt, file)?;
                Ok(Value::set(letters_of::<Flag>(bits)))
            }),
            Do::Setflags { target, flags } => {
                self.with_target(target, |file| fileattr::ioctl_setflags(rt, file, flags.bits())).map(unit)
            }
            Do::Chattr { change, target } => self
                .with_target(target, |file| {
                    let old = fileattr::ioctl_getflags(rt, file)?;
                    fileattr::ioctl_setflags(rt, file, change.apply(old))
                })
                .map(unit),
            Do::Fsgetxattr { target } => self.with_target(target, |file| {
                let attr = fileattr::ioctl_fsgetxattr(rt, file)?;
                Ok(Value::Record(
                    Record::default()
                        .with("xflags", Value::set(letters_of::<XFlag>(attr.xflags.bits())))
                        .with("raw", u64::from(attr.xflags.bits()))
                        .with("extsize", u64::from(attr.extsize))
                        .with("cowextsize", u64::from(attr.cowextsize))
                        .with("nextents", space::nextents(rt, file)?)
                        .with("projid", u64::from(attr.projid)),
                ))
            }),
            Do::Fssetxattr { target, xflags, projid, extsize, cowextsize } => {
                let new = xflags.bits();
                // A program that fills the structure itself leaves at zero what it does not name.
                let zero = |n: &Option<u64>| Some(n.unwrap_or(0));
                self.fsx(target, |_| new, zero(projid), zero(extsize), zero(cowextsize)).map(unit)
            }
            Do::Fschattr { change, target, projid, extsize, cowextsize } => {
                self.fsx(target, |old| change.apply(old), *projid, *extsize, *cowextsize).map(unit)
            }
            Do::Stat { target } => self.stat(target, true).map(|(record, _)| Value::Record(record)),
            Do::Statx { target, flags } => self.statx(target, *flags),
            Do::Chmod { target, mode } => {
                self.with_target(target, |file| attr::fchmod(rt, file, mode.0 as u16)).map(unit)
            }
            Do::Chown { target, uid, gid } => {
                self.with_target(target, |file| attr::fchown(rt, file, *uid as u32, *gid as u32)).map(unit)
            }
            Do::Setxattr { target, name, value } => {
                self.with_target(target, |file| attr::fsetxattr(rt, file, name.0.as_bytes(), &value.to_vec())).map(unit)
            }
            Do::Getxattr { target, name } => {
                self.with_target(target, |file| attr::fgetxattr(rt, file, name.0.as_bytes())).map(Value::Bytes)
            }
            Do::Listxattr { target } => self.with_target(target, |file| {
                let names = attr::flistxattr(rt, file)?;
                Ok(Value::List(
                    names.iter().map(|name| Value::Text(String::from_utf8_lossy(name).into_owned())).collect(),
                ))
            }),
            Do::Removexattr { target, name } => {
                self.with_target(target, |file| attr::fremovexattr(rt, file, name.0.as_bytes())).map(unit)
            }
            Do::FssetxattrBad { target } => {
                self.with_target(target, |file| fileattr::ioctl_fssetxattr_unreadable(rt, file)).map(unit)
            }
            Do::EnableVerity { fd } => self.fd(&fd.0.text).and_then(|file| protect::enable_verity(rt, file)).map(unit),
            Do::SetEncryption { target } => {
                self.with_target(target, |file| protect::set_encryption(rt, file)).map(unit)
            }
            _ => return None,
        })
    }

    fn statx(&self, target: &Target, flags: Set<StatxFlag>) -> Done {
        let (record, st) = self.stat(target, !flags.contains(StatxFlag::Nofollow))?;
        Ok(Value::Record(
            record
                .with("attributes", Value::set(words_of(&st, st.attributes)))
                .with("attributes_mask", Value::set(words_of(&st, st.attributes_mask)))
                .with("dax", st.attributes & st.dax_bit != 0),
        ))
    }

    fn stat(&self, target: &Target, follow: bool) -> Result<(Record, statx::Statx), Fail> {
        let st = match target {
            Target::Path(path) => statx::statx(self.rt, self.at(path)?, follow)?,
            Target::Fd(fd) => statx::fstatx(self.rt, self.fd(&fd.0.text)?)?,
        };
        let kind = match FileKind::from_mode(st.mode) {
            Some(FileKind::Regular) => "regular",
            Some(FileKind::Directory) => "directory",
            Some(FileKind::Symlink) => "symlink",
            _ => "special",
        };
        let record = Record::default()
            .with("type", kind)
            .with("mode", u64::from(st.mode & 0o7777))
            .with("size", st.size)
            .with("blocks", st.blocks)
            .with("nlink", u64::from(st.nlink))
            .with("uid", u64::from(st.uid))
            .with("gid", u64::from(st.gid))
            .with("ino", st.ino);
        Ok((record, st))
    }
}

/// The words of `STATX_ATTR_*`. Which bit is DAX depends on the release.
fn words_of(st: &statx::Statx, bits: u64) -> impl Iterator<Item = &'static str> {
    let named = statx::ATTRIBUTES.into_iter().chain([(st.dax_bit, "dax")]);
    named.filter(move |(bit, _)| bits & bit != 0).map(|(_, word)| word)
}
