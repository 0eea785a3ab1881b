//! Blocks of attributes of version 1, held against e2fsck.

use crate::bases;
use crate::by_hand::image;
use crate::shared::tools;
use crate::verdict::{NOW, write};
use daxkit_check::{Options, check, repair};
use daxkit_device::{BlockDevice, MemoryDevice};
use std::path::Path;
use std::sync::Arc;

fn options(old: bool) -> Options {
    let mut options = Options::new(NOW);
    options.wishes.old_attributes = old;
    options
}

fn theirs(file: &Path, old: bool) -> Option<i32> {
    let version = if old { "ea_ver=1" } else { "ea_ver=2" };
    tools::output(tools::system("e2fsck").args(["-fn", "-E", version]).arg(file)).status.code()
}

#[test]
fn attributes_of_version_1() {
    let script = format!("write $DIR/blocks /f\nea_set /f user.long {}\n", "v".repeat(200));
    let sound = image(&["-t", "ext2", "-b", "1024", "-N", "64"], "1M", &script);
    let volume = crate::mutate::open_any(&sound).1.expect("sound");
    let block = volume.resolve(b"/f", true).expect("there").file_acl();
    let at = block as usize * 1024;
    assert_eq!(sound[at..at + 4], 0xEA02_0000u32.to_le_bytes());
    let (gone, name) = (format!("XAT001 block:{block}"), format!("XAT005 block:{block}"));
    // The magic number's version, h_blocks, the length of the name and its index; what is found as version 1, and as version 2.
    let cases: &[([u8; 4], Option<&String>, Option<&String>)] = &[
        ([2, 1, 4, 1], Some(&gone), None),
        ([1, 1, 4, 0], None, Some(&gone)),
        ([1, 1, 4, 1], Some(&name), Some(&gone)),
        ([1, 1, 0, 0], Some(&name), Some(&gone)),
        ([1, 2, 4, 0], Some(&gone), Some(&gone)),
        ([2, 1, 4, 0], Some(&gone), Some(&name)),
        ([3, 1, 4, 0], Some(&gone), Some(&gone)),
    ];
    let scratch = bases::scratch();
    let file = scratch.path().join("image");
    for (case, one, two) in cases {
        let mut bytes = sound.clone();
        [bytes[at + 2], bytes[at + 8], bytes[at + 32], bytes[at + 33]] = *case;
        for (old, expected) in [(true, one), (false, two)] {
            write(&file, &bytes);
            assert_eq!(theirs(&file, old), Some(if expected.is_some() { 4 } else { 0 }), "{case:?} {old}");
            let device = Arc::new(MemoryDevice::from_bytes(&bytes));
            let below = || Arc::clone(&device) as Arc<dyn BlockDevice>;
            let report = check(below(), &options(old));
            let found: Vec<String> = report.findings.iter().map(|f| format!("{} {}", f.code.id(), f.at)).collect();
            assert_eq!(found, expected.map(String::clone).into_iter().collect::<Vec<_>>(), "{case:?} {old}");
            let done = repair(below(), &options(old), &mut |_| true);
            assert!(done.is_clean(), "{case:?} {old}: {:?}", done.left);
            done.edits().apply_to(&device).expect("memory is writable");
            write(&file, &device.to_vec());
            assert_eq!(theirs(&file, old), Some(0), "{case:?} {old}");
        }
    }
}
