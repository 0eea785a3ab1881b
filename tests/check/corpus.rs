//! The corpus: what its index demands of every image.

use crate::shared::tools;
use crate::verdict::{mended, ours, theirs, write};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No image may take longer.
const WATCHDOG: Duration = Duration::from_secs(20);

pub(crate) fn corpus() -> Option<PathBuf> {
    let place = std::env::var_os("DAXKIT_CORPUS").map(PathBuf::from);
    if place.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs DAXKIT_CORPUS, the folder of broken images");
        tools::note("DAXKIT_CORPUS is not set: the corpus of broken images is not looked at");
    }
    place
}

fn unpacked(path: &Path) -> Vec<u8> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}

/// Inodes and blocks in use, by the superblock.
pub(crate) fn used(file: &Path) -> (u64, u64) {
    let out = tools::output(tools::system("dumpe2fs").arg("-h").arg(file));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let number = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    (number("Inode count:") - number("Free inodes:"), number("Block count:") - number("Free blocks:"))
}

#[test]
fn every_image_is_answered_as_the_index_demands() {
    let Some(corpus) = corpus() else { return };
    let index = fs::read(corpus.join("ext4/index.json")).expect("the corpus has an index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let images = index["images"].as_array().or_else(|| index.as_array()).expect("a list of images");
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let file = scratch.path().join("image");
    let (mut wrong, mut soft, mut cleaned) = (Vec::new(), 0, 0);
    for image in images {
        let name = image["name"].as_str().expect("a name");
        let packed = Path::new(image["file"].as_str().expect("a file"));
        let bytes = unpacked(&corpus.join("ext4").join(packed.file_name().expect("a file name")));
        let begin = Instant::now();
        let report = ours(&bytes);
        let errors = !report.is_clean();
        let status = image["e2fsck_fn_exit"].as_i64();
        if status.is_some_and(|s| s & 4 != 0) && !errors {
            wrong.push(format!("{name}: e2fsck finds errors, we find none"));
        }
        if status == Some(0) && errors {
            if image["soft_clean"].as_bool() == Some(true) {
                soft += 1;
            } else {
                wrong.push(format!("{name}: e2fsck finds nothing, we find {:?}", report.findings.first()));
            }
        }
        let (after, _, left) = mended(&bytes);
        if begin.elapsed() > WATCHDOG {
            wrong.push(format!("{name}: {:?}", begin.elapsed()));
        }
        if image["clean_after_fy"].as_bool() != Some(true) {
            continue;
        }
        write(&file, &after);
        let (status, told) = theirs(&file, "-fn");
        if status != 0 || !left.is_empty() {
            wrong.push(format!("{name}: after the repair e2fsck says {status}, we {left:?}\n{told}"));
            continue;
        }
        cleaned += 1;
        let (inodes, blocks) = used(&file);
        let want = |key: &str| image["used_after_fy"][key].as_u64().unwrap_or(0);
        if inodes < want("inodes") || blocks * 10 < want("blocks") * 9 {
            wrong.push(format!(
                "{name}: {inodes} inodes and {blocks} blocks are kept, e2fsck keeps {} and {}",
                want("inodes"),
                want("blocks")
            ));
        }
    }
    tools::note(format!(
        "{} images, {cleaned} repaired to what e2fsck finds clean, {soft} of the doubtful ones answered with errors",
        images.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
