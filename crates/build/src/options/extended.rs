//! Extended options (`-E`): words separated by commas, most with an argument behind `=`.

use super::error::OptionError;
use super::identity::parse_uuid;
use super::numbers::{number, number_in, switch};
use crate::params::QuotaKinds;

/// Who owns the root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootOwner {
    /// Whoever runs the tool.
    Caller,
    /// User and group.
    Ids(u32, u32),
}

/// The words of all `-E` options, read but not weighed against anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) desc_size: Option<u16>,
    pub(super) hash_seed: Option<[u8; 16]>,
    pub(super) offset: u64,
    pub(super) mmp_interval: Option<u16>,
    pub(super) copy_xattrs: bool,
    pub(super) num_backup_sb: u8,
    pub(super) packed: Option<bool>,
    pub(super) stride: u16,
    pub(super) stripe_width: u32,
    pub(super) resize: Option<String>,
    pub(super) test_fs: bool,
    pub(super) lazy_itable_init: bool,
    pub(super) lazy_journal_init: bool,
    pub(super) prezeroed: bool,
    pub(super) root_owner: Option<RootOwner>,
    pub(super) root_perms: Option<u16>,
    pub(super) root_selinux: Option<Vec<u8>>,
    pub(super) discard: bool,
    pub(super) quota: Option<QuotaKinds>,
    pub(super) encoding: Option<u16>,
    pub(super) encoding_flags: Option<String>,
    pub(super) orphan_file: Option<String>,
    pub(super) revision: Option<u32>,
}

impl Default for Extended {
    fn default() -> Self {
        Self {
            desc_size: None,
            hash_seed: None,
            offset: 0,
            mmp_interval: None,
            copy_xattrs: true,
            num_backup_sb: 2,
            packed: None,
            stride: 0,
            stripe_width: 0,
            resize: None,
            test_fs: false,
            lazy_itable_init: true,
            lazy_journal_init: false,
            prezeroed: false,
            root_owner: None,
            root_perms: None,
            root_selinux: None,
            discard: true,
            quota: None,
            encoding: None,
            encoding_flags: None,
            orphan_file: None,
            revision: None,
        }
    }
}

/// The words there are.
const WORDS: &str = "assume_storage_prezeroed, desc_size, discard, encoding, encoding_flags, hash_seed, lazy_itable_init, \
                     lazy_journal_init, mmp_update_interval, no_copy_xattrs, nodiscard, num_backup_sb, offset, \
                     orphan_file_size, packed_meta_blocks, quotatype, resize, revision, root_owner, root_perms, \
                     root_selinux, stride, stripe_width, test_fs";
/// Most seconds between two MMP updates (`EXT4_MMP_MAX_UPDATE_INTERVAL` of e2fsprogs).
const MMP_MAX_INTERVAL: u64 = 300;

impl Extended {
    pub(super) fn parse(options: &[String]) -> Result<Self, OptionError> {
        let mut e = Self::default();
        for option in options {
            if option.is_empty() {
                continue;
            }
            // A comma at the end is let through, as mke2fs does.
            for token in option.strip_suffix(',').unwrap_or(option).split(',') {
                let (word, arg) = match token.split_once('=') {
                    Some((word, arg)) => (word, Some(arg)),
                    None => (token, None),
                };
                e.word(word, arg)?;
            }
        }
        Ok(e)
    }

    fn word(&mut self, word: &str, arg: Option<&str>) -> Result<(), OptionError> {
        let needed = |option: &'static str| {
            arg.filter(|a| !a.is_empty()).ok_or_else(|| OptionError::value(option, "", "wants a value behind '='"))
        };
        match word {
            "desc-size" | "desc_size" => self.desc_size = Some(desc_size(needed("-E desc_size=")?)?),
            "hash_seed" => self.hash_seed = hash_seed(needed("-E hash_seed=")?)?,
            "offset" => self.offset = number_in("-E offset=", needed("-E offset=")?, 0..=i64::MAX as u64)?,
            "mmp_update_interval" => {
                let option = "-E mmp_update_interval=";
                self.mmp_interval = Some(number_in(option, needed(option)?, 0..=MMP_MAX_INTERVAL)? as u16);
            }
            "no_copy_xattrs" => self.copy_xattrs = false,
            "num_backup_sb" => {
                self.num_backup_sb = number_in("-E num_backup_sb=", needed("-E num_backup_sb=")?, 0..=2)? as u8;
            }
            "packed_meta_blocks" => self.packed = Some(switch("-E packed_meta_blocks=", arg)?),
            "stride" => {
                self.stride = number_in("-E stride=", needed("-E stride=")?, 0..=u64::from(u16::MAX))? as u16;
            }
            "stripe-width" | "stripe_width" => {
                let option = "-E stripe_width=";
                self.stripe_width = number_in(option, needed(option)?, 0..=u64::from(u32::MAX))? as u32;
            }
            "resize" => self.resize = Some(needed("-E resize=")?.to_owned()),
            "test_fs" => self.test_fs = true,
            "lazy_itable_init" => self.lazy_itable_init = switch("-E lazy_itable_init=", arg)?,
            "lazy_journal_init" => self.lazy_journal_init = switch("-E lazy_journal_init=", arg)?,
            "assume_storage_prezeroed" => self.prezeroed = switch("-E assume_storage_prezeroed=", arg)?,
            "root_owner" => self.root_owner = Some(root_owner(arg)?),
            "root_perms" => self.root_perms = Some(root_perms(needed("-E root_perms=")?)?),
            "root_selinux" => self.root_selinux = Some(needed("-E root_selinux=")?.as_bytes().to_vec()),
            "discard" => self.discard = true,
            "nodiscard" => self.discard = false,
            "quotatype" => self.quota = Some(quota_kinds(needed("-E quotatype=")?)?),
            "encoding" => self.encoding = Some(encoding(needed("-E encoding=")?)?),
            "encoding_flags" => self.encoding_flags = Some(needed("-E encoding_flags=")?.to_owned()),
            "orphan_file_size" => self.orphan_file = Some(needed("-E orphan_file_size=")?.to_owned()),
            "revision" => self.revision = Some(number_in("-E revision=", needed("-E revision=")?, 0..=1)? as u32),
            _ => {
                return Err(OptionError::Word { option: "-E", word: word.to_owned(), known: WORDS.to_owned() });
            }
        }
        Ok(())
    }
}

/// mke2fs lets any power of two through; below 64 the kernel does not mount, above 1,024 nothing knows it.
fn desc_size(text: &str) -> Result<u16, OptionError> {
    number(text)
        .filter(|n| n.is_power_of_two() && (64..=1024).contains(n))
        .map(|n| n as u16)
        .ok_or_else(|| OptionError::value("-E desc_size=", text, "wants a power of two from 64 to 1024"))
}

/// All zeroes mean "none", as in mke2fs.
fn hash_seed(text: &str) -> Result<Option<[u8; 16]>, OptionError> {
    let seed = parse_uuid(text).ok_or_else(|| {
        OptionError::value("-E hash_seed=", text, "wants the form of a UUID (8-4-4-4-12 hexadecimal digits)")
    })?;
    Ok(Some(seed).filter(|s| *s != [0; 16]))
}

fn root_owner(arg: Option<&str>) -> Result<RootOwner, OptionError> {
    let Some(text) = arg else {
        return Ok(RootOwner::Caller);
    };
    let id = |t: &str| number(t).and_then(|n| u32::try_from(n).ok());
    text.split_once(':')
        .and_then(|(u, g)| Some(RootOwner::Ids(id(u)?, id(g)?)))
        .ok_or_else(|| OptionError::value("-E root_owner=", text, "wants UID:GID in numbers"))
}

fn root_perms(text: &str) -> Result<u16, OptionError> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|p| *p <= 0o7777 && !text.starts_with('+'))
        .ok_or_else(|| OptionError::value("-E root_perms=", text, "wants octal permissions up to 7777"))
}

fn quota_kinds(text: &str) -> Result<QuotaKinds, OptionError> {
    let mut kinds = QuotaKinds::default();
    for word in text.split(':') {
        match word {
            "usr" | "usrquota" => kinds.user = true,
            "grp" | "grpquota" => kinds.group = true,
            "prj" | "prjquota" => kinds.project = true,
            _ => {
                return Err(OptionError::value(
                    "-E quotatype=",
                    text,
                    "wants usrquota, grpquota and prjquota, separated by colons",
                ));
            }
        }
    }
    Ok(kinds)
}

fn encoding(text: &str) -> Result<u16, OptionError> {
    match text {
        "utf8" | "utf8-12.1" => Ok(daxkit_format::ext4::super_block::ENCODING_UTF8_12_1),
        _ => Err(OptionError::value("-E encoding=", text, "wants utf8 (Unicode 12.1)")),
    }
}

/// The flags of an encoding: `strict`, or `nostrict` to clear it.
pub(super) fn encoding_flags(text: &str) -> Result<u16, OptionError> {
    let mut flags = 0;
    for word in text.split([' ', ':', '-']).filter(|w| !w.is_empty()) {
        match word {
            "strict" => flags |= daxkit_format::ext4::super_block::ENCODING_STRICT,
            "nostrict" => flags &= !daxkit_format::ext4::super_block::ENCODING_STRICT,
            _ => return Err(OptionError::value("-E encoding_flags=", text, "wants strict or nostrict")),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Extended, OptionError> {
        Extended::parse(&[text.to_owned()])
    }

    #[test]
    fn words_are_read() {
        let e = parse("stride=16,stripe-width=0x20,nodiscard,root_owner=1:2,root_perms=0750,quotatype=usr:prjquota,")
            .unwrap();
        assert_eq!((e.stride, e.stripe_width, e.discard), (16, 32, false));
        assert_eq!(e.root_owner, Some(RootOwner::Ids(1, 2)));
        assert_eq!(e.root_perms, Some(0o750));
        assert_eq!(e.quota, Some(QuotaKinds { user: true, group: false, project: true }));
        let e = parse("packed_meta_blocks=0,lazy_itable_init=0,lazy_journal_init,root_owner").unwrap();
        assert_eq!((e.packed, e.lazy_itable_init, e.lazy_journal_init), (Some(false), false, true));
        assert_eq!(e.root_owner, Some(RootOwner::Caller));
        assert_eq!(parse("").unwrap(), Extended::default());
        assert_eq!(parse("hash_seed=00000000-0000-0000-0000-000000000000").unwrap().hash_seed, None);
    }

    #[test]
    fn bad_words_and_values_are_named() {
        for bad in [
            "bogus",
            "bogus=1",
            ",",
            "stride",
            "stride=",
            "stride=x",
            "stride=65536",
            "offset=1k",
            "num_backup_sb=3",
            "hash_seed=1",
            "root_owner=1",
            "root_owner=4294967296:1",
            "root_perms=8",
            "quotatype=bogus",
            "encoding=latin1",
            "desc_size=100",
            "desc_size=32",
            "mmp_update_interval=301",
            "revision=2",
            "lazy_itable_init=x",
        ] {
            let error = parse(bad).expect_err(bad).to_string();
            assert!(error.contains(bad.split('=').next().unwrap_or_default()), "{bad}: {error}");
            assert!(!error.contains('\n'));
        }
        assert!(encoding_flags("bogus").is_err());
        assert_eq!(encoding_flags("strict"), Ok(1));
    }
}
