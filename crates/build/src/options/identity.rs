//! UUID, hash seed, label, and the time of creation: whatever makes two images of the same content differ.

use super::error::{Notice, OptionError};
use super::request::{Facts, Request};
use crate::params::Identity;
use daxkit_format::ext4::inode::Timestamp;

/// Reads a UUID in its only form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[must_use]
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut uuid = [0u8; 16];
    let mut nibbles = 0;
    for (i, byte) in text.iter().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)? as u8;
        let slot = uuid.get_mut(nibbles / 2)?;
        *slot = *slot << 4 | digit;
        nibbles += 1;
    }
    Some(uuid)
}

/// Marks random bytes as a UUID of version 4 (RFC 9562, section 5.4).
#[must_use]
pub fn random_uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// A UUID of version 1 (RFC 9562, section 5.1) from a time; sequence and node come from random bytes, the node marked as
/// no real address.
#[must_use]
pub fn time_uuid(now: Timestamp, random: [u8; 16]) -> [u8; 16] {
    /// 100 ns intervals from 1582-10-15 to 1970-01-01.
    const GREGORIAN: i128 = 0x01B2_1DD2_1381_4000;
    let ticks = (i128::from(now.seconds) * 10_000_000 + i128::from(now.nanos / 100) + GREGORIAN) as u64;
    let mut uuid = random;
    uuid[0..4].copy_from_slice(&(ticks as u32).to_be_bytes());
    uuid[4..6].copy_from_slice(&((ticks >> 32) as u16).to_be_bytes());
    uuid[6..8].copy_from_slice(&((ticks >> 48) as u16 & 0x0fff | 0x1000).to_be_bytes());
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid[10] |= 1;
    uuid
}

/// UUID and hash seed, from `-U`, `-E hash_seed=`, chance, or later from the content.
pub(super) fn identity(request: &Request, hash_seed: Option<[u8; 16]>, facts: &Facts) -> Result<Identity, OptionError> {
    let reproducible = request.is_reproducible();
    let uuid = match request.uuid.as_deref() {
        None => None,
        Some(word) if word.eq_ignore_ascii_case("clear") || word.eq_ignore_ascii_case("null") => Some([0; 16]),
        Some(word) if word.eq_ignore_ascii_case("random") || word.eq_ignore_ascii_case("time") => {
            if reproducible {
                return Err(OptionError::conflict(
                    format!("-U {word}"),
                    "a reproducible image cannot depend on chance or the clock; leave -U out or give a UUID",
                ));
            }
            Some(if word.eq_ignore_ascii_case("time") {
                time_uuid(facts.now, facts.random_uuid)
            } else {
                random_uuid(facts.random_uuid)
            })
        }
        Some(text) => Some(parse_uuid(text).ok_or_else(|| {
            OptionError::value("-U", text, "wants a UUID (8-4-4-4-12 hexadecimal digits), random, time or clear")
        })?),
    };
    Ok(if reproducible {
        Identity::FromContent { uuid, hash_seed }
    } else {
        Identity::Given {
            uuid: uuid.unwrap_or_else(|| random_uuid(facts.random_uuid)),
            hash_seed: hash_seed.unwrap_or_else(|| random_uuid(facts.random_seed)),
        }
    })
}

/// The time of creation: the epoch given, the newest source, or the clock.
pub(super) fn time(request: &Request, facts: &Facts) -> Timestamp {
    let none = Timestamp { seconds: 0, nanos: 0 };
    match request.source_date_epoch {
        Some(seconds) => Timestamp { seconds, nanos: 0 },
        None if request.time.is_some() => request.time.unwrap_or(none),
        None if request.reproducible => facts.content.and_then(|c| c.newest).unwrap_or(none),
        None => facts.now,
    }
}

/// A field of so many bytes; more are cut off, and told so, as mke2fs does.
pub(super) fn text_field(
    option: &'static str,
    text: Option<&[u8]>,
    most: usize,
    notices: &mut Vec<Notice>,
) -> Result<Vec<u8>, OptionError> {
    let text = text.unwrap_or_default();
    if text.contains(&0) {
        return Err(OptionError::value(option, String::from_utf8_lossy(text), "must not hold a zero byte"));
    }
    let kept = text.get(..most).unwrap_or(text);
    if kept.len() < text.len() {
        notices.push(Notice::warning(format!(
            "{option}: longer than {most} bytes; cut to '{}'",
            String::from_utf8_lossy(kept)
        )));
    }
    Ok(kept.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_one_form() {
        let uuid = parse_uuid("01234567-89AB-cdef-0123-456789abcdef").unwrap();
        assert_eq!(uuid, [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        for bad in [
            "",
            "1",
            "0123456789abcdef0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89ab-cdef-0123+456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef0",
        ] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_uuid_has_the_fields_of_version_1() {
        // The example of RFC 9562, appendix A.1: 2022-02-22 14:22:22 -05:00.
        let now = Timestamp { seconds: 1_645_557_742, nanos: 0 };
        let mut random = [0; 16];
        random[8..].copy_from_slice(&[0x33, 0xc8, 0x9f, 0x6b, 0xde, 0xce, 0xd8, 0x46]);
        let uuid = time_uuid(now, random);
        assert_eq!(uuid[..8], [0xC2, 0x32, 0xAB, 0x00, 0x94, 0x14, 0x11, 0xEC]);
        assert_eq!(uuid[8..10], [0xB3, 0xC8]);
    }
}
