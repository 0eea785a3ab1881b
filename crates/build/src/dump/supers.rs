//! The superblock, its copies, and the block of multiple mount protection.

use super::DumpError;
use super::cover::Cover;
use super::fields::{Known, fields};
use super::image::{Geometry, Image};
use daxkit_format::OnDisk;
use daxkit_format::ext4::features::Incompat;
use daxkit_format::ext4::mmp::{self, MmpStruct};
use daxkit_format::ext4::super_block::{MAGIC, SUPER_BLOCK_OFFSET, SuperBlock};
use daxkit_format::field::{Access, Structure};

impl Image<'_> {
    pub(super) fn super_block(&mut self) -> Result<(), DumpError> {
        if !self.claim(SUPER_BLOCK_OFFSET..SUPER_BLOCK_OFFSET + 1024) {
            return Ok(());
        }
        let bytes = self.read(SUPER_BLOCK_OFFSET, 1024)?;
        let sb = self.sb;
        let mut cover = Cover::new(&bytes);
        writeln!(self.out, "super")?;
        let known = |name: &str| {
            (name == "s_checksum" && sb.has_metadata_csum()).then(|| Known::Fits(u64::from(sb.checksum())))
        };
        fields(self.out, &mut cover, Structure::SuperBlock, 0, 1024, &known)?;
        cover.rest(self.out, "  ", "", 0)
    }

    /// The copies at the start of other groups: only what differs from the primary one.
    pub(super) fn super_copies(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        let primary = self.read(SUPER_BLOCK_OFFSET, 1024)?;
        for group in 1..geo.groups {
            if !self.sb.group_has_super(group) {
                continue;
            }
            let Some(range) = self.block_range(geo, geo.group_start(group), 1) else { continue };
            if self.is_hole(range.clone())? {
                continue;
            }
            let bytes = self.read(range.start, 1024)?;
            let Some(copy) = SuperBlock::peek(&bytes).filter(|c| c.s_magic.get() == MAGIC) else { continue };
            if !self.claim(range.start..range.start + 1024) {
                continue;
            }
            writeln!(self.out, "super:{group} @{}", geo.group_start(group))?;
            for def in Structure::SuperBlock.fields() {
                let Some(access) = Access::find(Structure::SuperBlock, def.name) else { continue };
                if def.name == "s_checksum" && copy.has_metadata_csum() {
                    let fits = copy.s_checksum.get() == copy.checksum();
                    let text = if fits { "ok".to_owned() } else { format!("{:#x}", copy.s_checksum.get()) };
                    writeln!(self.out, "  .s_checksum {text}")?;
                } else if access.get(&primary) != access.get(&bytes)
                    && let Some(text) = access.get_text(&bytes)
                {
                    writeln!(self.out, "  .{} {text}", def.name)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn mmp(&mut self, geo: &Geometry) -> Result<(), DumpError> {
        let block = self.sb.s_mmp_block.get();
        if !self.has_incompat(Incompat::MMP) || block == 0 {
            return Ok(());
        }
        let Some(bytes) = self.read_block(geo, block)? else { return Ok(()) };
        let Some(mmp) = MmpStruct::peek(&bytes).filter(|m| m.mmp_magic.get() == mmp::MAGIC).copied() else {
            return Ok(());
        };
        if !self.claim_block(geo, block) {
            return Ok(());
        }
        writeln!(self.out, "mmp @{block}")?;
        let mut cover = Cover::new(&bytes);
        let seed = geo.seed;
        let known = |name: &str| {
            (name == "mmp_checksum").then(|| seed.map(|s| Known::Fits(u64::from(mmp.checksum(s))))).flatten()
        };
        fields(self.out, &mut cover, Structure::MmpStruct, 0, 1024, &known)?;
        cover.rest(self.out, "  ", "", 0)
    }
}
