//! Places, checksums, units, free windows, and the DAX decision: what debugfs has no request for.
//!
//! Oracle where there is one: debugfs for where things lie and for damage that is made on purpose.

mod common;

use common::{Scratch, ours, run, spawn, tool};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn image(scratch: &Scratch) -> PathBuf {
    scratch.image("image", "64M", &["-t", "ext4", "-b", "4096", "-O", "metadata_csum"])
}

/// The results of requests, as JSON.
fn json(image: &Path, requests: &[&str]) -> Vec<Value> {
    let mut args = vec!["--json", "--keep-going"];
    requests.iter().for_each(|r| args.extend(["-R", r]));
    let image = image.to_str().unwrap();
    args.push(image);
    let output = tool(&args, b"");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["result"].clone()).collect()
}

fn number(text: &str, behind: &str) -> u64 {
    let rest = text.split(behind).nth(1).unwrap_or_else(|| panic!("no {behind:?} in {text}"));
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn one_goes_to_places_and_comes_back() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let script = "locate super\npush inode:2.i_flags\nprint .i_mode\nlocate /node\nback\nback\nforward\npop\nhistory\n";
    let output = tool(&[image.to_str().unwrap()], script.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("structure ext4_super_block") && text.contains("i_mode = 040755"), "{text}");
    assert!(text.contains("structure ext4_extent_header"), "{text}");
    let end = "inode:2.i_mode\ninode:2.i_flags\ninode:2.i_mode\nsuper\n";
    let history = "  super\n  inode:2.i_flags\n  inode:2.i_mode\n* super\n";
    assert!(text.ends_with(&format!("{end}{history}")), "{text}");
}

#[test]
fn places_lie_where_debugfs_says() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let imap = run("debugfs", &["-R", "imap hello", image.to_str().unwrap()]);
    let (inode, block) = (number(&imap, "Inode"), number(&imap, "located at block"));
    let found = json(&image, &[&format!("locate inode:{inode}"), "locate inode./hello", "locate dir:2.entry.hello"]);
    assert_eq!(found[0]["object"]["block"], block);
    assert_eq!(found[0]["object"], found[1]["object"]);
    assert_eq!(found[0]["checksums"][0]["verdict"], "right");
    assert_eq!(found[2]["structure"]["name"], "ext4_dir_entry_2");
    let byte = found[0]["object"]["offset"].as_u64().unwrap();
    let convert = json(
        &image,
        &[
            &format!("convert byte {byte}"),
            &format!("convert inode {inode} byte"),
            "convert block 9 sector",
            "convert group 0 agblock 7 block",
            &format!("convert group 0 agino {} inode", inode - 1),
        ],
    );
    assert_eq!((&convert[0]["inode"], &convert[0]["block"]), (&Value::from(inode), &Value::from(block)));
    assert_eq!(convert[1]["byte"], byte);
    assert_eq!((&convert[2]["sector"], &convert[3]["block"]), (&Value::from(72), &Value::from(7)));
    assert_eq!(convert[4]["inode"], inode);
    let print = json(&image, &[&format!("print inode:{inode}"), "print super.s_inode_size"]);
    assert_eq!(print[0]["fields"]["i_links_count"], 2);
    assert_eq!(print[0]["structure"], "ext4_inode");
    assert_eq!(print[1]["fields"]["s_inode_size"], "256");
}

#[test]
fn wrong_checksums_are_found() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let sound = json(&image, &["sums -a"]);
    assert_eq!(sound[0]["bad"], 0);
    assert!(sound[0]["inodes"].as_u64().unwrap() > 10 && sound[0]["directories"].as_u64().unwrap() >= 4);
    // A bit in a directory block, one in an inode, one in a bitmap.
    let at = |place: &str| json(&image, &[&format!("locate {place}")])[0]["object"]["offset"].as_u64().unwrap();
    let bytes = [at("dir:2/block:0") + 20, at("inode./hello") + 8, at("group.0/block_bitmap") + 100];
    let mut content = std::fs::read(&image).unwrap();
    for byte in bytes {
        content[usize::try_from(byte).unwrap()] ^= 0x40;
    }
    std::fs::write(&image, content).unwrap();
    let output = tool(&["-R", "sums -a", image.to_str().unwrap()], b"");
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(text.ends_with(": 3 bad\n"), "{text}{errors}");
    assert_eq!(errors.lines().count(), 3, "{errors}");
    let bitmap = tool(&["-R", "sums group.0/block_bitmap", image.to_str().unwrap()], b"");
    assert_eq!(bitmap.status.code(), Some(1));
    assert!(String::from_utf8(bitmap.stdout).unwrap().contains("wrong: "));
    // What can be read is read.
    let names = tool(&["-R", "ncheck 12 13 14 15", image.to_str().unwrap()], b"");
    assert!(String::from_utf8(names.stdout).unwrap().lines().count() > 3);
}

#[test]
fn the_decision_is_explained() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("tree/large"), vec![5; 5 << 20]).unwrap();
    let image = image(&scratch);
    let script = "sif large flags 0x2080000\nsif sub flags 0x2080000\n";
    spawn("debugfs", &["-w", "-f", "-", image.to_str().unwrap()], script.as_bytes());
    let found = json(&image, &["dax large", "dax hello", "dax sub/data", "dax -n large", "dax --page-size 64K large"]);
    let answers = |document: &Value| {
        let modes = document["mounts"].as_array().unwrap().clone();
        modes
            .iter()
            .map(|m| if m["mounts"] == true { format!("{}{}", m["row"], m["s_dax"]) } else { "refused".to_owned() })
            .collect::<Vec<_>>()
    };
    assert_eq!(answers(&found[0]), ["8true", "9true", "1false"]);
    assert_eq!(answers(&found[1]), ["8true", "9false", "1false"]);
    assert_eq!(answers(&found[3]), ["refused", "7false", "1false"]);
    assert_eq!(answers(&found[4]), ["refused", "7false", "1false"]);
    assert_eq!((&found[0]["dax_flag"], &found[0]["parent"]["dax_flag"]), (&Value::from(true), &Value::from(false)));
    assert_eq!((&found[2]["dax_flag"], &found[2]["parent"]["dax_flag"]), (&Value::from(false), &Value::from(true)));
    let windows = found[0]["windows"].as_array().unwrap();
    let count: u64 = windows.iter().map(|w| w["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 3);
    assert_eq!(windows.last().unwrap()["state"], "tail");
    let text = ours(&image, "dax large");
    assert!(text.contains("the DAX flag is set") && text.contains("row 9, the DAX flag is set"), "{text}");
    assert!(text.contains("set on it, or inherited before"), "{text}");

    let inherit = json(&image, &["inherit sub", "inherit /"]);
    let dax: Vec<bool> =
        inherit[0]["new"].as_array().unwrap().iter().map(|n| n["dax_flag"].as_bool().unwrap()).collect();
    assert_eq!(dax, [true, true, false, false]);
    let differ: Vec<&str> =
        inherit[0]["differ"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(differ.len(), 3, "{differ:?}");
    let differ: Vec<&str> =
        inherit[1]["differ"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(differ.contains(&"large") && differ.contains(&"sub") && differ.len() == 2, "{differ:?}");
}

/// A map of indirect blocks answers no question across the end of one, wherever the data lie: `dax` and `pmd` both know.
#[test]
fn every_other_window_of_an_indirect_map_is_mappable() {
    let scratch = Scratch::new();
    let image = scratch.image("ext3", "64M", &["-t", "ext3", "-b", "4096"]);
    std::fs::write(scratch.path("eight"), vec![5; 8 << 20]).unwrap();
    let write = format!("write {} eight", scratch.path("eight").display());
    assert!(tool(&["-w", "-R", &write, image.to_str().unwrap()], b"").status.success());
    let found = json(&image, &["dax eight", "pmd eight"]);
    let windows = found[0]["windows"].as_array().unwrap();
    assert_eq!(windows, found[1]["runs"].as_array().unwrap());
    let faults: Vec<&str> = windows.iter().map(|w| w["write_fault"].as_str().unwrap()).collect();
    assert_eq!(faults, ["4K", "2M", "4K", "2M"], "{windows:?}");
}

#[test]
fn windows_that_are_free_are_counted() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let document = &json(&image, &["freesp -A 2M -b"])[0];
    let list = document["list"].as_array().unwrap();
    let mut windows = 0;
    for run in list {
        let (first, len) = (run["first"].as_u64().unwrap(), run["len"].as_u64().unwrap());
        // Counted one by one.
        windows += (first..first + len).filter(|b| b % 512 == 0 && b + 512 <= first + len).count() as u64;
    }
    assert_eq!(document["aligned_windows"], windows);
    let blocks: u64 = list.iter().map(|r| r["len"].as_u64().unwrap()).sum();
    assert_eq!(document["free_blocks"], blocks);
    assert!(windows > 10);
}
