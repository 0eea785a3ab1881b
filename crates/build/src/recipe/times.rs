//! Times of inodes: dates with a zone, or seconds since 1970.

use super::reader::Field;
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::field::parse_time;
use toml::de::DeValue;
use toml::value::Datetime;

const WANTED: &str = "a time such as 2020-01-01T00:00:00.5Z, \"@1577836800.5\" or seconds since 1970";

/// A time that an inode can hold.
pub(super) fn time(field: Field<'_>) -> Option<Timestamp> {
    let time = match field.value() {
        DeValue::Datetime(date) => date_time(date),
        DeValue::String(text) => match text.strip_prefix('@') {
            Some(seconds) => decimal(seconds),
            None => text.parse().ok().and_then(|date| date_time(&date)),
        },
        _ => {
            let seconds = field.integer().map(|n| n.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
            seconds.map(|seconds| Timestamp { seconds, nanos: 0 })
        }
    };
    let Some(time) = time else { return field.wants(WANTED) };
    if (Timestamp::MIN_SECONDS..=Timestamp::MAX_SECONDS).contains(&time.seconds) {
        return Some(time);
    }
    field.refuse("is outside what an inode can hold, 1901-12-13T20:45:52Z to 2446-05-10T22:38:55Z")
}

/// A date with time and zone. Seconds may be left out; a leap second is none of the inode's.
fn date_time(t: &Datetime) -> Option<Timestamp> {
    let (date, clock, offset) = (t.date?, t.time?, t.offset?);
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let text = format!("{date}T{:02}:{:02}:{:02}Z", clock.hour, clock.minute, clock.second.unwrap_or(0));
    let local = parse_time(&text)?;
    Some(Timestamp { seconds: local.seconds - minutes * 60, nanos: clock.nanosecond.unwrap_or(0) })
}

/// Decimal seconds with up to nine digits of fraction. A negative number counts back from 1970 with its fraction.
fn decimal(text: &str) -> Option<Timestamp> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !number(whole) || !number(fraction) || fraction.len() > 9 {
        return None;
    }
    // What does not fit is far outside an inode's range all the same.
    let seconds = whole.parse().unwrap_or(i64::MAX);
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp { seconds: -seconds, nanos },
        (true, _) => Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_have_fractions() {
        let t = |seconds, nanos| Some(Timestamp { seconds, nanos });
        assert_eq!(decimal("1234"), t(1234, 0));
        assert_eq!(decimal("1234.5"), t(1234, 500_000_000));
        assert_eq!(decimal("0.000000001"), t(0, 1));
        assert_eq!(decimal("-1"), t(-1, 0));
        assert_eq!(decimal("-1.5"), t(-2, 500_000_000));
        assert_eq!(decimal("-0.25"), t(-1, 750_000_000));
        assert_eq!(decimal("-99999999999999999999.5"), t(i64::MIN, 500_000_000));
        for bad in ["", "-", ".", "1.", ".5", "1.0000000000", "+1", "--1", "1e3", "1.-5"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    /// `date -u -d '2020-02-29T12:30:00+02:00' +%s`
    #[test]
    fn dates_have_a_zone() {
        let parse = |text: &str| text.parse().ok().and_then(|date| date_time(&date));
        let t = |seconds, nanos| Some(Timestamp { seconds, nanos });
        assert_eq!(parse("2020-02-29T10:30:00Z"), t(1_582_972_200, 0));
        assert_eq!(parse("2020-02-29T12:30:00.25+02:00"), t(1_582_972_200, 250_000_000));
        assert_eq!(parse("2020-02-29 05:00:00-05:30"), t(1_582_972_200, 0));
        for bad in
            ["2020-02-29T10:30:00", "2020-02-29", "10:30:00", "2016-12-31T23:59:60Z", "2021-02-29T00:00:00Z", "x"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
