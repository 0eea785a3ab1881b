//! The size rules, seen from outside: `dax-mkfs -n` and `mke2fs -n` plan the same number of blocks, groups and inodes.

mod common;

use common::{Bench, oracle};

/// The numbers before the words in a plan.
fn number(text: &str, after: &str) -> Option<u64> {
    let end = text.find(after)?;
    text.get(..end)?.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Blocks and inodes of a plan.
type Numbers = Option<(u64, u64)>;

#[test]
fn plans_agree_with_mke2fs() {
    let bench = Bench::new();
    let image = bench.file("image", 100 << 20);
    let image = image.to_str().unwrap();
    let mut wrong = Vec::new();
    for block in [1024u64, 2048, 4096] {
        for size in ["2M", "8M", "9000k", "64M", "129M", "1G", "5G", "100G", "15T"] {
            for kind in ["ext2", "ext3", "ext4"] {
                let block_text = block.to_string();
                let args = ["-n", "-F", "-b", &block_text, "-t", kind, "-i", "16384", image, size];
                let ours = bench.run(&args);
                let ours: Numbers = number(&ours.stdout, " blocks (").zip(number(&ours.stdout, " inodes, "));
                let theirs = oracle("mke2fs", &args);
                let theirs: Numbers = theirs
                    .stdout
                    .split_once("Creating filesystem with ")
                    .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok().zip(number(rest, " inodes\n")));
                // Inode tables are rounded up here, where mke2fs may round a few inodes a group down.
                let agree = match (ours, theirs) {
                    (Some((blocks, inodes)), Some((their_blocks, their_inodes))) => {
                        let groups = blocks.div_ceil(block * 8);
                        blocks == their_blocks && (their_inodes..=their_inodes + 16 * groups).contains(&inodes)
                    }
                    (ours, theirs) => ours == theirs,
                };
                if !agree {
                    wrong.push(format!("-t {kind} -b {block} {size}: we {ours:?}, mke2fs {theirs:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
