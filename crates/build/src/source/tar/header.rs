//! One header block: where its fields lie (POSIX ustar, `pax(1)`; GNU tar's manual, "Basic Tar Format"), and its checksum.
//!
//! A block that was read is a [`Header`] only when its checksum fits. Its numbers are read when they are asked for, since a PAX
//! record may stand in for what does not fit into a field.

use super::error::TarError;
use super::number;
use daxkit_format::ext4::inode::Timestamp;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a block: headers are blocks, and data is padded to them.
pub(super) const BLOCK: usize = 512;

/// A block as it was read.
pub(super) type Block = [u8; BLOCK];

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fields {
    name: [u8; 100],
    mode: [u8; 8],
    uid: [u8; 8],
    gid: [u8; 8],
    size: [u8; 12],
    mtime: [u8; 12],
    checksum: [u8; 8],
    typeflag: u8,
    linkname: [u8; 100],
    magic: [u8; 8],
    uname: [u8; 32],
    gname: [u8; 32],
    devmajor: [u8; 8],
    devminor: [u8; 8],
    tail: [u8; 167],
}

/// What stands behind the device numbers where the magic is GNU's.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GnuTail {
    atime: [u8; 12],
    ctime: [u8; 12],
    offset: [u8; 12],
    longnames: [u8; 4],
    unused: u8,
    sparse: [[u8; 24]; 4],
    is_extended: u8,
    real_size: [u8; 12],
    padding: [u8; 17],
}

/// A block that goes on with the map of an old GNU sparse file.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SparseBlock {
    /// Pairs of numeric fields, 12 bytes each: offset and length.
    pub(super) sparse: [[u8; 24]; 21],
    /// Not zero when another such block follows.
    pub(super) is_extended: u8,
    padding: [u8; 7],
}

const _: () = assert!(size_of::<Fields>() == BLOCK && size_of::<SparseBlock>() == BLOCK);
const _: () = assert!(size_of::<GnuTail>() == 167);

/// The start of the map of an old GNU sparse file.
pub(super) struct SparseHead<'a> {
    /// Bytes the file has.
    pub(super) size: u64,
    /// Pairs of numeric fields, as in a [`SparseBlock`].
    pub(super) entries: &'a [[u8; 24]],
    /// A [`SparseBlock`] follows.
    pub(super) goes_on: bool,
}

/// Bytes of the prefix of a POSIX name.
const PREFIX: usize = 155;

/// Whose header it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Unix V7: no magic, no device numbers.
    V7,
    /// POSIX `ustar`, and PAX with it.
    Posix,
    /// GNU tar's own.
    Gnu,
}

/// A header whose checksum fits.
pub(super) struct Header {
    block: Block,
    /// Where it lies in the archive.
    pub(super) at: u64,
}

/// True for a block of zeroes: half of the end of an archive.
pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|b| *b == 0)
}

/// The sum is over the bytes of the block with blanks in the place of the sum; some old writers took them as signed.
fn checksum_fits(block: &Block) -> bool {
    let Ok(Some(stored)) = number::field(&fields(block).checksum) else { return false };
    let blanks = i64::from(b' ') * 8;
    let unsigned = |bytes: &[u8]| i64::from(bytes.iter().map(|b| u32::from(*b)).sum::<u32>());
    let signed = |bytes: &[u8]| i64::from(bytes.iter().map(|b| i32::from(b.cast_signed())).sum::<i32>());
    let own = &fields(block).checksum;
    stored == unsigned(block) - unsigned(own) + blanks || stored == signed(block) - signed(own) + blanks
}

fn fields(block: &Block) -> &Fields {
    zerocopy::transmute_ref!(block)
}

/// The bytes before the first NUL.
pub(super) fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

impl Header {
    /// The header in a block that was read from the byte `at` of the archive; `None` when its checksum does not fit.
    pub(super) fn new(block: &Block, at: u64) -> Option<Self> {
        checksum_fits(block).then_some(Self { block: *block, at })
    }

    fn fields(&self) -> &Fields {
        fields(&self.block)
    }

    fn gnu(&self) -> Option<&GnuTail> {
        (self.dialect() == Dialect::Gnu).then(|| zerocopy::transmute_ref!(&self.fields().tail))
    }

    /// Whose it is, by the magic.
    pub(super) fn dialect(&self) -> Dialect {
        match &self.fields().magic {
            b"ustar  \0" => Dialect::Gnu,
            // The version behind it is "00", but not with every writer.
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Posix,
            _ => Dialect::V7,
        }
    }

    /// What the header stands before.
    pub(super) fn typeflag(&self) -> u8 {
        self.fields().typeflag
    }

    /// The name, with the prefix of POSIX.
    pub(super) fn name(&self) -> Vec<u8> {
        let fields = self.fields();
        let name = before_nul(&fields.name);
        let prefix = match self.dialect() {
            Dialect::Posix => fields.tail.get(..PREFIX).unwrap_or_default(),
            // Go before 1.8 wrote prefixes below GNU's magic. Times are digits, or begin with the bit of base-256.
            Dialect::Gnu if self.times().is_none() => fields.tail.get(..PREFIX).unwrap_or_default(),
            _ => &[],
        };
        match before_nul(prefix) {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    /// The target of a link.
    pub(super) fn link_name(&self) -> &[u8] {
        before_nul(&self.fields().linkname)
    }

    /// Bytes of data, as far as the header says.
    pub(super) fn size(&self) -> Result<u64, TarError> {
        self.unsigned("size", &self.fields().size)
    }

    /// Permission bits; 0 where nothing stands. What other bits there are is of no use.
    pub(super) fn mode(&self) -> Result<u16, TarError> {
        let mode = self.number("mode", &self.fields().mode)?;
        // Only the low bits are kept.
        Ok((mode & 0o7777) as u16)
    }

    /// Owner.
    pub(super) fn uid(&self) -> Result<u32, TarError> {
        self.unsigned("uid", &self.fields().uid)
    }

    /// Group.
    pub(super) fn gid(&self) -> Result<u32, TarError> {
        self.unsigned("gid", &self.fields().gid)
    }

    /// Last change of the content, in whole seconds.
    pub(super) fn mtime(&self) -> Result<Timestamp, TarError> {
        Ok(Timestamp { seconds: self.number("mtime", &self.fields().mtime)?, nanos: 0 })
    }

    /// Last access and last change of the inode, which GNU tar writes on request. `None` when it is something else that
    /// stands there; within, `None` for one that is not given.
    pub(super) fn times(&self) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
        let gnu = self.gnu()?;
        let time = |field: &[u8]| {
            let seconds = number::field(field).ok()?;
            Some(seconds.map(|seconds| Timestamp { seconds, nanos: 0 }))
        };
        Some((time(&gnu.atime)?, time(&gnu.ctime)?))
    }

    /// Major and minor number; zeroes in a header that has none.
    pub(super) fn device(&self) -> Result<(u32, u32), TarError> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let fields = self.fields();
        Ok((self.unsigned("devmajor", &fields.devmajor)?, self.unsigned("devminor", &fields.devminor)?))
    }

    /// What an old GNU sparse file has in its header; `None` in another's header.
    pub(super) fn sparse(&self) -> Result<Option<SparseHead<'_>>, TarError> {
        let Some(gnu) = self.gnu() else { return Ok(None) };
        let size = self.unsigned("realsize", &gnu.real_size)?;
        Ok(Some(SparseHead { size, entries: &gnu.sparse, goes_on: gnu.is_extended != 0 }))
    }

    fn number(&self, field: &'static str, bytes: &[u8]) -> Result<i64, TarError> {
        match number::field(bytes) {
            Ok(number) => Ok(number.unwrap_or(0)),
            Err(number::NotANumber) => Err(TarError::Field { at: self.at, field, text: bytes.to_vec() }),
        }
    }

    fn unsigned<T: TryFrom<i64>>(&self, field: &'static str, bytes: &[u8]) -> Result<T, TarError> {
        let number = self.number(field, bytes)?;
        T::try_from(number).map_err(|_| TarError::Range { at: self.at, field, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(change: impl FnOnce(&mut Block)) -> Header {
        let mut block = [0; BLOCK];
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        Header::new(&block, 7).expect("the sum fits")
    }

    #[test]
    fn prefixes_belong_to_posix() {
        let fill = |magic: &'static [u8; 8]| {
            move |b: &mut Block| {
                b[..3].copy_from_slice(b"a/b");
                b[257..265].copy_from_slice(magic);
                b[345..348].copy_from_slice(b"pre");
            }
        };
        assert_eq!(sealed(fill(b"ustar\x0000")).name(), b"pre/a/b");
        assert_eq!(sealed(fill(b"ustar  \0")).name(), b"pre/a/b", "as Go wrote them");
        assert_eq!(sealed(fill(b"\0\0\0\0\0\0\0\0")).name(), b"a/b");
        let gnu = sealed(|b| {
            fill(b"ustar  \0")(b);
            b[345..357].copy_from_slice(b"00000000012\0");
            b[357..369].copy_from_slice(&[0xff; 12]);
        });
        assert_eq!(gnu.name(), b"a/b");
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        assert_eq!(gnu.times(), Some((time(10), time(-1))));
    }

    #[test]
    fn a_sum_of_signed_bytes_fits_too() {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(&[0xe4, 0xf6, 0xfc, b'x']);
        block[148..156].fill(b' ');
        let sum: i32 = block.iter().map(|b| i32::from(b.cast_signed())).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(Header::new(&block, 0).is_some());
        block[0] ^= 1;
        assert!(Header::new(&block, 0).is_none());
        assert!(Header::new(&[0; BLOCK], 0).is_none() && is_zero(&[0; BLOCK]) && !is_zero(&block));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let header = sealed(|b| b[108..116].fill(0xff));
        assert_eq!(header.uid().unwrap_err().to_string(), "the header at byte 7: uid is -1, which is out of range");
        let header = sealed(|b| b[124..130].copy_from_slice(b"12\n9 \0"));
        assert_eq!(
            header.size().unwrap_err().to_string(),
            r"the header at byte 7: size is not a number: 12\n9 \x00\x00\x00\x00\x00\x00\x00"
        );
    }
}
