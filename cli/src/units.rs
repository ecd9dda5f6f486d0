//! Sizes and durations as people write them: `64MiB`, `30s`.

use std::time::Duration;

use thiserror::Error;

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{text}' is no {what}: expected {expected}")]
pub(crate) struct UnitError {
    text: String,
    what: &'static str,
    expected: &'static str,
}

const SIZES: [(&str, u64); 6] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const DURATIONS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes: a number, or one with `KiB`, `MiB`, `GiB` or `TiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, UnitError> {
    quantity(text, &SIZES).ok_or_else(|| UnitError {
        text: text.to_owned(),
        what: "size",
        expected: "a number of bytes, or one with KiB, MiB, GiB or TiB, such as 64MiB",
    })
}

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let millis = quantity(text, &DURATIONS_MS).ok_or_else(|| UnitError {
        text: text.to_owned(),
        what: "duration",
        expected: "a number with ms, s, m, h or d, such as 30s",
    })?;
    Ok(Duration::from_millis(millis))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Bytes for people, in the largest unit that keeps it readable.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let (unit, size) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..0x10_0000 => ("KiB", 1_u64 << 10),
        0x10_0000..0x4000_0000 => ("MiB", 1 << 20),
        0x4000_0000..0x100_0000_0000 => ("GiB", 1 << 30),
        0x100_0000_0000.. => ("TiB", 1 << 40),
    };
    let tenths = bytes.saturating_mul(10) / size;
    if tenths.is_multiple_of(10) || tenths >= 1000 {
        return format!("{} {unit}", tenths / 10);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A duration for people: three digits or so.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => tenths(micros / 100, "ms"),
        1_000_000..60_000_000 => tenths(micros / 100_000, "s"),
        60_000_000..3_600_000_000 => {
            let seconds = micros / 1_000_000;
            format!("{} m {} s", seconds / 60, seconds % 60)
        }
        3_600_000_000.. => {
            let minutes = micros / 60_000_000;
            format!("{} h {} m", minutes / 60, minutes % 60)
        }
    }
}

fn tenths(tenths: u128, unit: &str) -> String {
    if tenths >= 1000 || tenths.is_multiple_of(10) {
        return format!("{} {unit}", tenths / 10);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, expected) in [("7", 7), ("7B", 7), ("2KiB", 2048), ("64MiB", 64 << 20), ("2TiB", 2 << 40)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "MiB", "64MB", "-1", "1.5GiB", "64 mib", "99999999999GiB", "1G"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in
            [("500ms", 500), ("30s", 30_000), ("15m", 900_000), ("2h", 7_200_000), ("14d", 1_209_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for bad in ["", "30", "s", "1w", "1.5s", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            duration("30").unwrap_err().to_string(),
            "'30' is no duration: expected a number with ms, s, m, h or d, such as 30s"
        );
    }

    #[test]
    fn quantities_are_shown_for_people() {
        assert_eq!(show_bytes(1023), "1023 B");
        assert_eq!(show_bytes(64 << 20), "64 MiB");
        assert_eq!(show_bytes(1536), "1.5 KiB");
        assert_eq!((show_bytes(1023 << 30), show_bytes(16 << 40)), ("1023 GiB".into(), "16 TiB".into()));
        assert_eq!(show_duration(Duration::from_micros(204)), "204 µs");
        assert_eq!(show_duration(Duration::from_micros(3_260)), "3.2 ms");
        assert_eq!(show_duration(Duration::from_millis(12_000)), "12 s");
        assert_eq!(show_duration(Duration::from_secs(95)), "1 m 35 s");
    }
}
