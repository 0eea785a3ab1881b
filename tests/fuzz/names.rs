//! Targets for names: directory hashes, casefolding, ACLs, places.

use daxkit_format::ext4::hash::{HashVersion, dirhash};
use daxkit_format::ext4::{acl, casefold};
use daxkit_format::field::Place;

use super::input::Input;

pub(crate) fn dir_hash(data: &[u8]) {
    let mut input = Input(data);
    let seed = [input.u32(), input.u32(), input.u32(), input.u32()];
    for version in HashVersion::ALL {
        let hash = dirhash(input.0, version, &seed);
        assert_eq!(hash.hash & 1, 0, "{version}: the lowest bit is not the hash's");
        assert_eq!(HashVersion::from_name(version.name()), Some(version));
    }
}

pub(crate) fn casefold(data: &[u8]) {
    let mut input = Input(data);
    let a = input.slice();
    let b = input.0;
    let seed = [1, 2, 3, 4];
    let mut folded = Vec::new();
    let valid = casefold::validate(a).is_ok();
    if casefold::casefold(a, &mut folded).is_ok() {
        assert!(casefold::eq_folded(a, a));
    }
    for strict in [false, true] {
        let hash = casefold::dirhash_casefold(a, HashVersion::HalfMd4, &seed, strict);
        assert_eq!(
            hash.is_ok(),
            !strict || valid || a.is_ascii(),
            "only strict mode refuses, and only what is not UTF-8"
        );
    }
    assert_eq!(casefold::eq_folded(a, b), casefold::eq_folded(b, a));
}

pub(crate) fn acl(data: &[u8]) {
    if let Ok(value) = acl::from_disk(data)
        && let Ok(disk) = acl::to_disk(&value)
    {
        assert_eq!(disk, data, "an ACL is stored as it was read");
    }
    if let Ok(disk) = acl::to_disk(data) {
        // Entries without a name may carry any number, which is not kept.
        let value = acl::from_disk(&disk).expect("what was stored is read");
        assert_eq!(acl::to_disk(&value).as_ref(), Ok(&disk));
    }
}

pub(crate) fn place(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(place) = text.parse::<Place>() else { return };
    let shown = place.to_string();
    assert_eq!(shown.parse::<Place>().as_ref(), Ok(&place), "{text:?} is shown as {shown:?}, which is another place");
}
