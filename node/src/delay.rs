//! How long a message waits, as people and guests write it.

use std::time::Duration;

use crate::stores::DELAY_MAX;

const UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A number with its unit, such as `10s`.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let quantity = || {
        let (number, unit) = text.split_at_checked(digits)?;
        let (_, ms) = UNITS_MS.iter().find(|(name, _)| *name == unit.trim_start())?;
        number.parse::<u64>().ok()?.checked_mul(*ms)
    };
    let delay = quantity().map(Duration::from_millis);
    let delay =
        delay.ok_or_else(|| format!("'{text}': expected a number with ms, s, m, h or d, such as 10s"))?;
    if delay > DELAY_MAX {
        let days = DELAY_MAX.as_secs() / 86_400;
        return Err(format!("'{text}' is more than {days} days"));
    }
    Ok(delay)
}
