//! Directory hashes compared with debugfs's over random names, all six versions it can compute, with and without seeds.

mod common;

use common::{Rng, dx_hash};
use daxkit_format::ext4::hash::{HashVersion, dirhash};

fn name(rng: &mut Rng, len: u64, ascii: bool) -> Vec<u8> {
    (0..len)
        .map(|_| {
            loop {
                let byte = if ascii { 0x20 + rng.below(0x5f) as u8 } else { rng.below(256) as u8 };
                // What a script line cannot carry, and what no file name holds.
                if ![0, b'\n', b'\r', b'/'].contains(&byte) {
                    return byte;
                }
            }
        })
        .collect()
}

#[test]
fn every_version_agrees_with_debugfs() {
    let mut rng = Rng(0x0bad_5eed_1234_5678);
    let mut questions = Vec::new();
    let mut ours = Vec::new();
    for version in HashVersion::ALL.into_iter().filter(|v| *v != HashVersion::SipHash) {
        let lengths = (1..=70).chain([95, 96, 97, 127, 128, 129, 254, 255]);
        for (round, len) in lengths.flat_map(|len| [(0, len), (1, len), (2, len), (3, len)]) {
            let name = name(&mut rng, len, round == 0);
            let seed: [u32; 4] = if round == 1 { [0; 4] } else { std::array::from_fn(|_| rng.next() as u32) };
            let bytes: Vec<u8> = seed.iter().flat_map(|w| w.to_le_bytes()).collect();
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
            // debugfs takes the unsigned versions by number only.
            questions.push((format!("-h {} -s {uuid}", version as u8), name.clone()));
            let hash = dirhash(&name, version, &seed);
            ours.push((hash.hash, hash.minor_hash));
        }
    }
    let theirs = dx_hash(&questions);
    for ((question, ours), theirs) in questions.iter().zip(ours).zip(theirs) {
        assert_eq!(Some(ours), theirs, "{} {:02x?}", question.0, question.1);
    }
}

#[test]
fn names_of_the_versions_are_debugfs_names() {
    for version in [HashVersion::Legacy, HashVersion::HalfMd4, HashVersion::Tea] {
        let hash = dirhash(b"lost+found", version, &[0; 4]);
        let theirs = dx_hash(&[(format!("-h {version}"), b"lost+found".to_vec())]);
        assert_eq!(theirs, [Some((hash.hash, hash.minor_hash))]);
    }
}
