//! A moment as text.

const DAY_MS: u64 = 86_400_000;

/// `2026-11-21T08:00:00.123Z` (RFC 3339), of Unix milliseconds.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Whether it is a moment by RFC 3339, 5.6.
pub(super) fn is_rfc3339(text: &str) -> bool {
    text.split_once(['T', 't']).is_some_and(|(date, time)| is_date(date) && is_time(time))
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut next = |count| digits(parts.next(), count);
    let (Some(year), Some(month), Some(day)) = (next(4), next(2), next(2)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day) && parts.next().is_none()
}

fn is_time(text: &str) -> bool {
    // A minute may have a leap second.
    let clock = |(clock, _): &(&str, &str)| is_clock(clock, &[23, 59, 60]);
    let Some((_, rest)) = text.split_at_checked(8).filter(clock) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|char: char| char.is_ascii_digit()),
        None => rest,
    };
    if rest.len() == zone.len() + 1 {
        // A point, and nothing behind it.
        return false;
    }
    matches!(zone, "Z" | "z") || zone.strip_prefix(['+', '-']).is_some_and(|zone| is_clock(zone, &[23, 59]))
}

/// Two digits for each of the bounds.
fn is_clock(text: &str, bounds: &[u32]) -> bool {
    let mut parts = text.split(':');
    bounds.iter().all(|max| digits(parts.next(), 2).is_some_and(|number| number <= *max))
        && parts.next().is_none()
}

/// The number that so many digits say.
fn digits(text: Option<&str>, count: usize) -> Option<u32> {
    let text = text.filter(|text| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_774_999_999_001, "2026-03-31T23:33:19.001Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn moments_of_others_are_told_from_what_is_none() {
        for text in [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00.123456789z",
            "2018-04-05T17:31:00+05:30",
            "1990-12-31T15:59:60-08:00",
            "2000-02-29T00:00:00Z",
            "0000-01-01T00:00:00-00:00",
        ] {
            assert!(is_rfc3339(text), "{text}");
        }
        for text in [
            "",
            "now",
            "2018-04-05",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00ZZ",
            "2018-04-05T17:31:00+0530",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "2018-13-05T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2018-04-31T17:31:00Z",
            "1900-02-29T00:00:00Z",
            "18-04-05T17:31:00Z",
            "2018-4-5T17:31:00Z",
            "2018-04-05-06T17:31:00Z",
            "+018-04-05T17:31:00Z",
            "2018-04-05T17:31:0€Z",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}
