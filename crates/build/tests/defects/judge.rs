//! A defect, judged twice: sealed, `e2fsck -fn` complains about the field (where it looks at it) and about no checksum; stale,
//! it complains about the checksum. `debugfs` shows the new value.

use crate::images::{build, kind};
use crate::places::open;
use crate::tools::{damage, debugfs, debugfs_catastrophic, e2fsck, load};
use daxkit_build::recipe::{Checksum, DefectChange};
use daxkit_device::{BlockDevice, Overlay};
use daxkit_format::field::parse_hex;
use daxkit_volume::Volume;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What the stale image makes e2fsck say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    /// That a checksum is wrong.
    Complains,
    /// This, which it says in no other case.
    Says(&'static str),
    /// Nothing about checksums: there are none, or it does not look.
    Blind,
}
impl Stale {
    fn is_in(self, said: &str) -> bool {
        match self {
            Self::Complains => talks_of_checksums(said),
            Self::Says(text) => said.contains(text),
            Self::Blind => false,
        }
    }
}

/// A line of a table; its columns are separated by ` | `:
///
/// kind of image | place | change | what e2fsck says of the field | what a stale checksum makes it say | debugfs command | what that shows
///
/// Changes are `= VALUE`, `+ N`, `^ BITS`, `bytes HEX` and `bit N 0|1`. Of stale checksums e2fsck says `!` something with
/// "checksum", `!TEXT` that text, `-` nothing. In the last two columns `{after}` is the new value as the defect reports it.
struct Case {
    kind: &'static str,
    place: &'static str,
    change: DefectChange,
    says: &'static str,
    stale: Stale,
    show: (&'static str, &'static str),
}

impl Case {
    fn parse(line: &'static str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [kind, place, change, says, stale, command, shows] = columns[..] else { panic!("columns of {line:?}") };
        let (how, what) = change.split_once(' ').unwrap_or_else(|| panic!("change of {line:?}"));
        let change = match how {
            "=" => DefectChange::Set(what.to_owned()),
            "+" => DefectChange::Add(what.parse().unwrap()),
            "^" => DefectChange::Xor(what.to_owned()),
            "bytes" => DefectChange::Bytes(parse_hex(what).unwrap()),
            "bit" => {
                let (index, to) = what.split_once(' ').unwrap();
                DefectChange::Bit { index: index.parse().unwrap(), to: to == "1" }
            }
            _ => panic!("change of {line:?}"),
        };
        let stale = match stale.strip_prefix('!') {
            None => Stale::Blind,
            Some("") => Stale::Complains,
            Some(text) => Stale::Says(text),
        };
        Self { kind, place, change, says, stale, show: (command, shows) }
    }
}

/// Fills in what only the image knows: `{=PLACE}` is the value of a field, `{@PLACE}` the block in which an object lies.
pub fn fill(text: &str, volume: &Volume) -> String {
    let Some((before, (place, after))) = text.split_once('{').and_then(|(b, rest)| Some((b, rest.split_once('}')?)))
    else {
        return text.to_owned();
    };
    let (what, place) = place.split_at(1);
    let located = volume.locate(&place.parse().unwrap()).unwrap_or_else(|e| panic!("{e}"));
    let value = match what {
        "=" => located.field.unwrap().get_text(&located.read(&**volume.device()).unwrap()).unwrap(),
        _ => (located.object.start / u64::from(volume.block_size())).to_string(),
    };
    fill(&format!("{before}{value}{after}"), volume)
}

/// Runs a command of debugfs; images it does not like are opened with `-c`.
fn show(image: &Path, command: &str, wanted: &str) -> String {
    let said = debugfs(image, command);
    if said.contains(wanted) { said } else { said + &debugfs_catastrophic(image, command) }
}

/// Writes what an overlay changed into the image file, with the bytes of `device`.
pub fn write_changes(image: &Path, overlay: &Overlay<Arc<dyn BlockDevice>>, device: &dyn BlockDevice) {
    let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
    for change in overlay.changes() {
        let mut bytes = vec![0; (change.range.end - change.range.start) as usize];
        device.read_at(change.range.start, &mut bytes).unwrap();
        file.write_all_at(&bytes, change.range.start).unwrap();
    }
}

fn talks_of_checksums(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("checksum") || said.contains("csum")
}

/// Tries the cases of one image; returns what is not as it should be.
fn judge(image: &Path, cases: &[Case]) -> Vec<String> {
    let device = load(image);
    let volume = open(&device);
    let mut wrong = Vec::new();
    for c in cases {
        let place = fill(c.place, &volume);
        let what = format!("{} {place} {:?}", c.kind, c.change);
        for checksum in [Checksum::Seal, Checksum::Stale] {
            let overlay = Arc::new(Overlay::new(Arc::clone(&device)));
            let shared: Arc<dyn BlockDevice> = Arc::<Overlay<_>>::clone(&overlay);
            let applied = match damage(&shared, &place, c.change.clone(), checksum) {
                Ok(applied) => applied,
                Err(e) => {
                    wrong.push(format!("{what}: {e}"));
                    continue;
                }
            };
            write_changes(image, &overlay, &*overlay);
            let said = e2fsck(image).1;
            match checksum {
                Checksum::Seal => {
                    if talks_of_checksums(&said) || c.stale.is_in(&said) {
                        wrong.push(format!("{what}: sealed, but e2fsck says {said}"));
                    }
                    if !said.contains(c.says) {
                        wrong.push(format!("{what}: e2fsck does not say {:?}: {said}", c.says));
                    }
                    let wanted = fill(&c.show.1.replace("{after}", &applied.after), &volume);
                    let shown = show(image, &fill(c.show.0, &volume), &wanted);
                    if !shown.contains(&wanted) {
                        wrong.push(format!("{what}: debugfs {} does not show {wanted:?}: {shown}", c.show.0));
                    }
                }
                Checksum::Stale => {
                    if c.stale == Stale::Blind && talks_of_checksums(&said)
                        || c.stale != Stale::Blind && !c.stale.is_in(&said)
                    {
                        wrong.push(format!("{what}: stale, and e2fsck says {said}"));
                    }
                }
            }
            write_changes(image, &overlay, &*device);
        }
    }
    wrong
}

/// Tries every line of a table, image by image.
pub fn judge_all(table: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let cases: Vec<Case> = table.lines().filter(|l| !l.trim().is_empty()).map(Case::parse).collect();
    let wrong: Vec<String> = cases
        .chunk_by(|a, b| a.kind == b.kind)
        .flat_map(|cases| judge(&build(kind(cases[0].kind), dir.path()), cases))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
