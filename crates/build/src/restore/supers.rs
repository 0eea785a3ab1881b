//! The superblock, its copies, and the block of multiple mount protection.

use super::buffer::Buffer;
use super::error::Read;
use daxkit_format::FieldValue;
use daxkit_format::OnDisk;
use daxkit_format::ext4::mmp::MmpStruct;
use daxkit_format::ext4::super_block::{SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::field::{Access, Structure};
use zerocopy::IntoBytes;

/// The fields of a superblock.
pub(super) struct SuperSection {
    buffer: Buffer,
    primary: bool,
}

impl SuperSection {
    pub(super) fn primary() -> Self {
        let mut buffer = Buffer::new(SUPER_BLOCK_OFFSET, size_of::<SuperBlock>());
        buffer.begin(Structure::SuperBlock, 0);
        Self { buffer, primary: true }
    }

    /// A copy is like the primary one, apart from its lines.
    pub(super) fn copy(primary: &SuperBlock, at: u64) -> Self {
        Self { buffer: Buffer::over(at, primary.as_bytes().to_vec()), primary: false }
    }

    pub(super) fn is_primary(&self) -> bool {
        self.primary
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        named(&mut self.buffer, &[(Structure::SuperBlock, 0)], line)
    }

    /// Where it lies, and what it says.
    pub(super) fn finish(self) -> Read<(u64, SuperBlock)> {
        self.buffer.only_fit(&["s_checksum"])?;
        let mut sb = SuperBlock::peek(&self.buffer.bytes).copied().unwrap_or_else(OnDisk::zeroed);
        if self.buffer.fits("s_checksum") {
            sb.s_checksum.set(sb.checksum());
        }
        Ok((self.buffer.at, sb))
    }
}

/// `.FIELD VALUE` or `+0xOFFSET CONTENT`.
pub(super) fn named(buffer: &mut Buffer, structures: &[(Structure, usize)], line: &str) -> Read {
    if let Some(text) = line.strip_prefix('.') {
        let (name, text) = text.split_once(' ').ok_or("a field has a value")?;
        return buffer.field(structures, name, text);
    }
    match line.strip_prefix('+') {
        Some(text) => buffer.raw(text),
        None => Err("a line is `.FIELD VALUE` or `+0xOFFSET CONTENT` here".into()),
    }
}

/// The fields of multiple mount protection.
pub(super) struct MmpSection(Buffer);

impl MmpSection {
    pub(super) fn new(mut buffer: Buffer) -> Self {
        buffer.begin(Structure::MmpStruct, 0);
        Self(buffer)
    }

    pub(super) fn line(&mut self, line: &str) -> Read {
        named(&mut self.0, &[(Structure::MmpStruct, 0)], line)
    }

    pub(super) fn finish(mut self, seed: Option<u32>) -> Read<Buffer> {
        self.0.only_fit(&["mmp_checksum"])?;
        if self.0.fits("mmp_checksum") {
            let seed = seed.ok_or("mmp_checksum: the file system has no checksums")?;
            let sum = MmpStruct::peek(&self.0.bytes).map(|mmp| mmp.checksum(seed));
            set(&mut self.0.bytes, Structure::MmpStruct, "mmp_checksum", sum.unwrap_or_default().into())?;
        }
        Ok(self.0)
    }
}

/// Sets a field to a number that was computed.
pub(super) fn set(bytes: &mut [u8], structure: Structure, name: &str, value: u64) -> Read {
    let done = Access::find(structure, name).is_some_and(|access| access.set(bytes, &FieldValue::Int(value)));
    if done { Ok(()) } else { Err(format!("{name}: there is no room for it").into()) }
}
