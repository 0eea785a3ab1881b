//! Sizes as people type and read them: powers of 1024.

pub use daxkit_build::options::{bytes as parse, human as exact};

/// A size in three digits or so, as `1.5 GiB`.
#[must_use]
pub fn rough(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(rough(0), "0 bytes");
        assert_eq!(rough(1023), "1023 bytes");
        assert_eq!(rough(1024), "1 KiB");
        assert_eq!(rough(1_572_864), "1.5 MiB");
        assert_eq!(rough((1 << 30) - 1), "1 GiB");
        assert_eq!(rough(u64::MAX), "16 EiB");
    }
}
