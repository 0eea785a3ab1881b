//! Times as text: UTC, by the proleptic Gregorian calendar, without any time zone table.

use crate::ext4::inode::Timestamp;

/// `2024-02-29T12:00:00Z`, with nine digits of fraction where `nanos` is not 0. Seconds outside the years 0 to 9999, and
/// fractions of a second or more, are written as `@SECONDS` or `@SECONDS.NANOS`.
#[must_use]
pub fn format_time(t: Timestamp) -> String {
    let days = t.seconds.div_euclid(86_400);
    let rest = t.seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) || t.nanos >= 1_000_000_000 {
        return if t.nanos == 0 { format!("@{}", t.seconds) } else { format!("@{}.{}", t.seconds, t.nanos) };
    }
    let fraction = if t.nanos == 0 { String::new() } else { format!(".{:09}", t.nanos) };
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}{fraction}Z")
}

/// Reads what [`format_time`] wrote, and debugfs's forms: `@SECONDS`, `YYYYMMDD`, `YYYYMMDDhhmm`, `YYYYMMDDhhmmss` (UTC), and
/// any other plain number as seconds. `None` for anything else; `now` is for the caller, who has the clock.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(number) = text.strip_prefix('@') {
        let (seconds, nanos) = number.split_once('.').unwrap_or((number, "0"));
        return Some(Timestamp { seconds: parse_seconds(seconds)?, nanos: nanos.parse().ok()? });
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    if digits && matches!(text.len(), 8 | 12 | 14) {
        let part = |from: usize, to: usize| text.get(from..to).map_or(Some(0), |p| p.parse::<i64>().ok());
        return at(part(0, 4)?, part(4, 6)?, part(6, 8)?, (part(8, 10)?, part(10, 12)?, part(12, 14)?), 0);
    }
    let Some((date, clock)) = text.split_once('T') else {
        return parse_seconds(text).map(|seconds| Timestamp { seconds, nanos: 0 });
    };
    let mut date = date.split('-').map(|p| p.parse::<i64>().ok());
    let (clock, fraction) = clock.strip_suffix('Z')?.split_once('.').unwrap_or((clock.strip_suffix('Z')?, ""));
    let mut clock = clock.split(':').map(|p| p.parse::<i64>().ok());
    let nanos = match fraction.len() {
        0 => 0,
        1..=9 if fraction.bytes().all(|b| b.is_ascii_digit()) => format!("{fraction:0<9}").parse().ok()?,
        _ => return None,
    };
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let hms = (clock.next()??, clock.next()??, clock.next()??);
    if date.next().is_some() || clock.next().is_some() {
        return None;
    }
    at(year, month, day, hms, nanos)
}

fn parse_seconds(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn at(year: i64, month: i64, day: i64, (h, m, s): (i64, i64, i64), nanos: u32) -> Option<Timestamp> {
    if !(0..=9999).contains(&year) || !(0..24).contains(&h) || !(0..60).contains(&m) || !(0..60).contains(&s) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as another one.
    (civil(days) == (year, month, day)).then_some(Timestamp { seconds: days * 86_400 + h * 3600 + m * 60 + s, nanos })
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01 the leap day is the last of its year, and 400 years have 146,097 days.
    let z = days.saturating_add(719_468);
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}
