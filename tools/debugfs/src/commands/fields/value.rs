//! Values as debugfs reads them, for the fields of our own table.
//!
//! Numbers are those of C in any base, negative ones wrap where a field is wide enough for them. Beyond that a field takes what the field
//! table writes for it: flags by name, dates, UUIDs.

use super::wanted::Wanted;
use crate::output::shown;
use anyhow::{Context, Result, bail};
use daxkit_build::options::{random_uuid, time_uuid};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::field::{Access, Format, ValueError, parse_integer, parse_number, parse_time};
use daxkit_format::{FieldKind, FieldValue};

/// Names of encodings that debugfs knows.
const ENCODINGS: &[(&str, u64)] = &[("utf8", 1), ("utf8-12.1", 1)];

/// Writes a value into the bytes of a structure.
///
/// Returns the value, where it is the same for every structure, to be [`store`]d in more of them.
pub(in crate::commands) fn set(
    wanted: &Wanted,
    bytes: &mut [u8],
    word: &[u8],
    now: Timestamp,
) -> Result<Option<FieldValue>> {
    let access = &wanted.access;
    let value = match wanted.bit {
        Some(bit) => flagged(access, bytes, bit, word)?,
        None => value(wanted, bytes, word, now)?,
    };
    store(wanted, bytes, &value, word)?;
    let same = wanted.bit.is_none() && wanted.format != Format::TimeNanos;
    Ok(same.then_some(value))
}

/// Puts a value that `word` stands for into its field.
pub(super) fn store(wanted: &Wanted, bytes: &mut [u8], value: &FieldValue, word: &[u8]) -> Result<()> {
    if !wanted.access.set(bytes, value) {
        bail!(too_large(&wanted.access, word));
    }
    Ok(())
}

/// What a field holds after one of its bits is set or cleared.
fn flagged(access: &Access, bytes: &[u8], bit: u64, word: &[u8]) -> Result<FieldValue> {
    let Some(FieldValue::Int(old)) = access.get(bytes) else { bail!("the field is not one integer") };
    match word {
        b"1" => Ok(FieldValue::Int(old | bit)),
        b"0" => Ok(FieldValue::Int(old & !bit)),
        _ => bail!("{}: a single flag is 0 or 1", shown(word)),
    }
}

fn value(wanted: &Wanted, bytes: &[u8], word: &[u8], now: Timestamp) -> Result<FieldValue> {
    let (access, format) = (&wanted.access, wanted.format);
    let kind = access.kind();
    if format == Format::Text && !word.starts_with(b"\"") {
        return Ok(FieldValue::Bytes(word.to_vec()));
    }
    let text = std::str::from_utf8(word).ok().with_context(|| format!("{}: not {}", shown(word), format.describe()))?;
    // Most are plain numbers; leading blanks and a plus sign are C's.
    let plain = text.trim_start();
    let plain = plain.strip_prefix('+').unwrap_or(plain);
    let single = matches!(kind, FieldKind::Le { count: 1, .. } | FieldKind::Be { count: 1, .. });
    match format {
        Format::Time | Format::TimeNanos => return time_value(access, bytes, text, now),
        Format::Uuid => {
            if let Some(uuid) = drawn(text, now)? {
                return uuid_value(kind, &uuid);
            }
        }
        _ if single => {
            if let Some(number) = parse_number(plain) {
                return Ok(FieldValue::Int(number));
            }
        }
        _ => {}
    }
    let word = if format == Format::Uuid { text.to_ascii_lowercase() } else { text.to_owned() };
    let error = match format.parse(kind, &word) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if single {
        let encoding = ENCODINGS.iter().find(|(name, _)| access.name == "s_encoding" && *name == text);
        let width = kind.len() as u32 * 8;
        if let Some(number) = encoding.map(|(_, value)| *value).or_else(|| parse_integer(plain, width)) {
            return Ok(FieldValue::Int(number));
        }
    }
    Err(error.into())
}

fn too_large(access: &Access, word: &[u8]) -> ValueError {
    let bytes = access.low.kind.len() + access.second().map_or(0, |f| f.kind.len());
    ValueError::Range { text: shown(word), bytes }
}

/// A UUID that is not written out.
fn drawn(text: &str, now: Timestamp) -> Result<Option<[u8; 16]>> {
    let random = || daxkit_cli::chance::random().context("the host has no random bytes");
    Ok(if text.eq_ignore_ascii_case("random") {
        Some(random_uuid(random()?))
    } else if text.eq_ignore_ascii_case("time") {
        Some(time_uuid(now, random()?))
    } else {
        None
    })
}

/// A UUID in the shape of its field.
fn uuid_value(kind: FieldKind, uuid: &[u8; 16]) -> Result<FieldValue> {
    let text = uuid.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Ok(Format::Uuid.parse(kind, &text)?)
}

/// A time as debugfs reads it.
pub(in crate::commands) fn time(word: &[u8], now: Timestamp) -> Result<Timestamp> {
    if word == b"now" { Ok(now) } else { parse(&shown(word)) }
}

/// The value of a time's field. Where it has nanoseconds and the text has none they stay.
fn time_value(access: &Access, bytes: &[u8], text: &str, now: Timestamp) -> Result<FieldValue> {
    let time = time(text.as_bytes(), now)?;
    if access.format() == Format::TimeNanos {
        let old = match access.get(bytes) {
            Some(FieldValue::Ints(v)) => v.get(1).copied().unwrap_or(0),
            _ => 0,
        };
        let nanos = if text.contains('.') { time.nanos.into() } else { old };
        return Ok(FieldValue::Ints(vec![time.seconds.cast_unsigned(), nanos]));
    }
    // Fields of 32 bits are signed or not, as whoever reads them likes.
    let seconds = match access.kind().len() {
        4 => {
            i32::try_from(time.seconds).map(i32::cast_unsigned).or_else(|_| u32::try_from(time.seconds)).map(u64::from)
        }
        _ => u64::try_from(time.seconds),
    };
    Ok(FieldValue::Int(seconds.ok().with_context(|| too_large(access, text.as_bytes()).to_string())?))
}

/// debugfs's times: `@SECONDS`; digits that begin with year, month and day, as far as they go; any other number as
/// seconds. Besides them what the field table writes.
fn parse(text: &str) -> Result<Timestamp> {
    let syntax = || ValueError::Syntax { text: text.to_owned(), wanted: Format::Time.describe() };
    let number = |text: &str| match text.strip_prefix('-') {
        Some(digits) => i64::try_from(parse_number(digits)?).ok().map(|n| -n),
        None => i64::try_from(parse_number(text)?).ok(),
    };
    if let Some(seconds) = text.strip_prefix('@').and_then(number) {
        return Ok(Timestamp { seconds, nanos: 0 });
    }
    let digits = text.len() >= 6 && text.bytes().all(|b| b.is_ascii_digit());
    match digits.then(|| calendar(text)).flatten() {
        // Nobody means the sixteenth century who writes ten digits.
        Some(time) if time.seconds < Timestamp::MIN_SECONDS => {
            bail!("{text}: debugfs takes this for a date before 1901; write @{text} for seconds")
        }
        Some(time) => return Ok(time),
        None if digits => {}
        None => {
            if let Some(time) = parse_time(text) {
                return Ok(time);
            }
        }
    }
    let seconds = number(text).ok_or_else(syntax)?;
    Ok(Timestamp { seconds, nanos: 0 })
}

/// Year, month, day and then hour, minute, second, of which the last may be missing. As debugfs reads them, a number
/// ends where another digit would make it too large.
fn calendar(text: &str) -> Option<Timestamp> {
    let mut rest = text;
    let mut part = |most: u32, digits: usize, least: u32| -> Option<u32> {
        let mut value: Option<u32> = None;
        for _ in 0..digits {
            let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(10)) else { break };
            if value.is_some_and(|v| v * 10 > most) {
                break;
            }
            value = Some(value.unwrap_or(0) * 10 + digit);
            rest = rest.get(1..).unwrap_or_default();
        }
        value.filter(|v| (least..=most).contains(v))
    };
    let (year, month, day) = (part(9999, 4, 0)?, part(12, 2, 1)?, part(31, 2, 1)?);
    let clock = [part(23, 2, 0), part(59, 2, 0), part(59, 2, 0)].map(|p| p.unwrap_or(0));
    if !rest.is_empty() {
        return None;
    }
    let [hour, minute, second] = clock;
    // A day that the month does not have is one of the next month, as in debugfs.
    let mut time = parse_time(&format!("{year:04}-{month:02}-01T{hour:02}:{minute:02}:{second:02}Z"))?;
    time.seconds += i64::from(day - 1) * 86_400;
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_debugfs_reads_them() {
        let at = |text: &str| parse(text).ok().map(|t| t.seconds);
        for (text, seconds) in [
            ("@5", Some(5)),
            ("@-5", Some(-5)),
            ("5", Some(5)),
            ("0x10", Some(16)),
            ("2024", Some(2024)),
            ("20240229", Some(0x65df_c900)),
            ("2024022", Some(1_706_832_000)),
            ("2024022912", Some(0x65e0_71c0)),
            ("202402291234", Some(0x65e0_79b8)),
            ("2024022912345", Some(0x65e0_79bd)),
            ("20240229123456", Some(0x65e0_79f0)),
            ("2024-02-29T12:34:56Z", Some(0x65e0_79f0)),
            // The month 0 and the month 13 are none, so these are seconds.
            ("1700000000", Some(1_700_000_000)),
            ("20231301", Some(20_231_301)),
            ("99991231235959", Some(253_402_300_799)),
            // Dates that nobody can mean; days that there are not.
            ("1712103000", None),
            ("123456", None),
            ("@1712103000", Some(1_712_103_000)),
            ("20240230", Some(0x65e1_1a80)),
            ("2024-02-30", None),
            ("20240229x", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(at(text), seconds, "{text:?}");
        }
    }
}
