//! What an archive is compressed with, told by its first bytes, and how that is undone.
//!
//! gzip members and zstd frames that follow each other are one stream, as `gzip(1)` and `zstd(1)` have it.

use super::error::TarError;
use super::header::{BLOCK, Block, Header, is_zero};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// A compression that is undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// None.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// First bytes of formats that are known and not read: what they are called and the program that undoes them.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (b"\xfd7zXZ\0", "xz", "xz"),
    (b"BZh", "bzip2", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4", "lz4"),
    (b"\x5d\0\0", "lzma", "xz --format=lzma"),
    (b"\x1f\x9d", "compress", "gzip"),
    (b"LZIP", "lzip", "lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop", "lzop"),
];

/// Bytes that are read of a compressed stream at once.
const BUFFER: usize = 128 << 10;

impl Compression {
    /// Tells the compression by the first bytes of an archive: a block, or all there is.
    pub(super) fn of(head: &[u8]) -> Result<Self, TarError> {
        if head.is_empty() {
            return Err(TarError::Empty);
        }
        // A header is known by its checksum, whatever the name at its start looks like.
        if let Some(block) = head.first_chunk::<BLOCK>()
            && (is_zero(block) || Header::new(block, 0).is_some())
        {
            return Ok(Self::Plain);
        }
        match head {
            [0x1f, 0x8b, ..] => return Ok(Self::Gzip),
            // A frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Self::Zstd),
            _ => {}
        }
        match FOREIGN.iter().find(|(magic, ..)| head.starts_with(magic)) {
            Some((_, format, program)) => Err(TarError::Compressed { format, program }),
            None => Err(TarError::NotTar),
        }
    }

    /// The error of a read that failed.
    pub(super) fn error(self, source: io::Error) -> TarError {
        // An error of the system has a number; the others are the decompressor's.
        let format = match self {
            Self::Gzip if source.raw_os_error().is_none() => "gzip",
            Self::Zstd if source.raw_os_error().is_none() => "zstd",
            _ => return TarError::Read { source },
        };
        TarError::Decompress { format, source }
    }
}

/// What is in the stream.
pub(super) fn decompress(reader: Box<dyn Read + Send>, compression: Compression) -> Result<Box<dyn Read>, TarError> {
    Ok(match compression {
        Compression::Plain => reader,
        Compression::Gzip => Box::new(GzipMembers::new(BufReader::with_capacity(BUFFER, reader))),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, reader));
            Box::new(decoder.map_err(|source| compression.error(source))?)
        }
    })
}

/// gzip members one behind the other; zeroes may follow the last one, as they do on tapes.
struct GzipMembers<R: BufRead> {
    /// `None` at the end, and after an error.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    fn new(reader: R) -> Self {
        Self { member: Some(GzDecoder::new(reader)) }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(done) = self.member.take() else { break };
            let mut reader = done.into_inner();
            if another_member(&mut reader)? {
                self.member = Some(GzDecoder::new(reader));
            }
        }
        Ok(0)
    }
}

/// Looks behind a member.
fn another_member(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut zeroes = false;
    loop {
        let rest = reader.fill_buf()?;
        match rest.first() {
            None => return Ok(false),
            Some(0x1f) if !zeroes => return Ok(true),
            Some(0) => {
                zeroes = true;
                let len = rest.iter().take_while(|b| **b == 0).count();
                reader.consume(len);
            }
            Some(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "something else follows the compressed data"));
            }
        }
    }
}

/// Reads the first block, or all there is.
pub(super) fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(BLOCK);
    reader.take(size_of::<Block>() as u64).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &[u8]) -> String {
        Compression::of(head).map_or_else(|e| e.to_string(), |c| format!("{c:?}"))
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(told(b"\x1f\x8b\x08"), "Gzip");
        assert_eq!(told(b"\x28\xb5\x2f\xfd"), "Zstd");
        assert_eq!(told(b"\x5e\x2a\x4d\x18"), "Zstd");
        assert_eq!(told(&[0; 512]), "Plain");
        assert_eq!(told(b"\xfd7zXZ\0\0"), "compressed with xz, which is not read directly; use xz -dc FILE | ... -d -");
        assert!(told(b"BZh91AY").contains("bzip2 -dc FILE | ... -d -"));
        assert_eq!(told(b""), TarError::Empty.to_string());
        for bytes in [&[0u8; 511][..], b"x", &[b'x'; 512]] {
            assert_eq!(told(bytes), TarError::NotTar.to_string());
        }
    }
}
