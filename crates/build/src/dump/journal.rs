//! The journal's blocks: its superblock, descriptors, commits, revokes; everything else in the log is content.

use super::DumpError;
use super::content::Digest;
use super::cover::Cover;
use super::fields::{Known, fields, plain};
use super::image::{Geometry, Image};
use super::maps::Run;
use daxkit_format::OnDisk;
use daxkit_format::field::{BitSet, Structure, to_hex};
use daxkit_format::jbd2::{
    self, BlockType, JournalHeader, JournalSuperBlock, TagChecksum, TagFormat, commit_block, descriptor_block,
    journal_seed, revoke_block,
};

/// What the journal's superblock says of the other blocks.
#[derive(Clone, Copy)]
struct Log {
    format: TagFormat,
    seed: u32,
}

impl Image<'_> {
    pub(super) fn journal(&mut self, geo: &Geometry, runs: &[Run]) -> Result<(), DumpError> {
        let geo = *geo;
        let mut log = None;
        // Unlike `each_block` calls, those of the log are hashed in runs.
        let mut data: Option<(u64, u64, Digest)> = None;
        self.each_block(&geo, runs, &mut |image, logical, block, bytes| {
            let kind = JournalHeader::of(bytes);
            if kind.is_none() {
                if image.wants_full() {
                    writeln!(image.out, "journal/block:{logical} @{block} content")?;
                    let start = block * u64::from(geo.block_size);
                    return image.full(start..start + u64::from(geo.block_size), None, &|o| format!("+{o:#x}"));
                }
                if let Some((first, count, digest)) = &mut data
                    && *first + *count == logical
                {
                    *count += 1;
                    digest.update(bytes);
                } else {
                    image.finish_log_data(&mut data)?;
                    let mut digest = Digest::default();
                    digest.update(bytes);
                    data = Some((logical, 1, digest));
                }
                return Ok(());
            }
            image.finish_log_data(&mut data)?;
            let mut cover = Cover::new(bytes);
            match kind {
                Some((BlockType::SuperBlockV1 | BlockType::SuperBlockV2, _)) if logical == 0 => {
                    log = image.journal_super(block, &mut cover)?;
                }
                Some((kind, _)) => {
                    writeln!(image.out, "journal/block:{logical} @{block}")?;
                    image.log_block(kind, log, &mut cover)?;
                }
                None => {}
            }
            cover.rest(image.out, "  ", "", 0)
        })?;
        self.finish_log_data(&mut data)
    }

    fn finish_log_data(&mut self, data: &mut Option<(u64, u64, Digest)>) -> Result<(), DumpError> {
        match data.take() {
            Some((first, _, digest)) => digest.finish(self.out, "", &format!("journal/block:{first}")),
            None => Ok(()),
        }
    }

    fn journal_super(&mut self, block: u64, cover: &mut Cover<'_>) -> Result<Option<Log>, DumpError> {
        let Some(sb) = JournalSuperBlock::peek(cover.bytes()).copied() else { return Ok(None) };
        writeln!(self.out, "journal @{block}")?;
        let known =
            |name: &str| (name == "s_checksum" && sb.has_checksum()).then(|| Known::Fits(u64::from(sb.checksum())));
        fields(self.out, cover, Structure::JournalSuperBlock, 0, 1024, &known)?;
        let incompat = sb.incompat();
        let format = TagFormat::of(incompat);
        Ok(Some(Log { format, seed: journal_seed(&sb.s_uuid) }))
    }

    fn log_block(&mut self, kind: BlockType, log: Option<Log>, cover: &mut Cover<'_>) -> Result<(), DumpError> {
        let bytes = cover.bytes();
        let summed = log.filter(|l| l.format.checksum != TagChecksum::None);
        match kind {
            BlockType::Commit => {
                let fits = summed.is_some_and(|l| commit_block::verify(bytes, l.seed).is_ok());
                // The first of eight words is the checksum: a value of its own when it fits, else part of the field.
                if fits && cover.take(16..20) {
                    writeln!(self.out, "  .h_chksum ok")?;
                }
                fields(self.out, cover, Structure::CommitHeader, 0, 60, &plain)?;
            }
            BlockType::Descriptor => {
                fields(self.out, cover, Structure::JournalHeader, 0, 12, &plain)?;
                let Some(log) = log else { return Ok(()) };
                for tag in descriptor_block::tags(bytes, log.format) {
                    let mut again = [0; 16];
                    let n = log.format.tag_bytes();
                    let stored = bytes.get(tag.offset..tag.offset + n).unwrap_or_default();
                    // A tag that would be written otherwise is left over.
                    if !log.format.write(&mut again, tag.block, tag.flags, tag.checksum)
                        || again.get(..n) != Some(stored)
                    {
                        continue;
                    }
                    write!(
                        self.out,
                        "  tag {} block {} {}",
                        tag.offset,
                        tag.block,
                        BitSet::Tag.format(u64::from(tag.flags.bits()))
                    )?;
                    if log.format.checksum != TagChecksum::None {
                        write!(self.out, " checksum {:#x}", tag.checksum)?;
                    }
                    cover.mark(tag.offset..tag.offset + n);
                    if let Some(uuid) = tag.uuid {
                        write!(self.out, " uuid {}", to_hex(&uuid))?;
                        cover.mark(tag.offset + n..tag.offset + n + 16);
                    }
                    writeln!(self.out)?;
                }
                self.log_tail(summed, cover)?;
            }
            BlockType::Revoke => {
                fields(self.out, cover, Structure::RevokeHeader, 0, 16, &plain)?;
                let Some(log) = log else { return Ok(()) };
                if let Ok((_, records)) = revoke_block::records(bytes, log.format) {
                    let width = log.format.revoke_bytes();
                    for (i, block) in records.enumerate() {
                        writeln!(self.out, "  revoke {i} block {block}")?;
                        cover.mark(16 + i * width..16 + (i + 1) * width);
                    }
                }
                self.log_tail(summed, cover)?;
            }
            BlockType::SuperBlockV1 | BlockType::SuperBlockV2 => {
                fields(self.out, cover, Structure::JournalHeader, 0, 12, &plain)?;
            }
        }
        Ok(())
    }

    fn log_tail(&mut self, log: Option<Log>, cover: &mut Cover<'_>) -> Result<(), DumpError> {
        let bytes = cover.bytes();
        let at = bytes.len().saturating_sub(4);
        if log.is_some_and(|l| jbd2::BlockTail::verify(bytes, l.seed).is_ok()) && cover.take(at..bytes.len()) {
            writeln!(self.out, "  .t_checksum ok")?;
        }
        Ok(())
    }
}
