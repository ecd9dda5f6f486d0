//! Until when a caller waits.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

use crate::clock;
use crate::context::REQUEST_TIMEOUT;

/// The caller's `grpc-timeout`, at most [`REQUEST_TIMEOUT`].
pub(super) fn deadline(metadata: &MetadataMap) -> Instant {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    clock::now() + asked.unwrap_or(REQUEST_TIMEOUT).min(REQUEST_TIMEOUT)
}

/// `TimeoutValue TimeoutUnit` of the gRPC protocol: at most eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value = (digits.len() <= 8).then(|| digits.parse::<u64>().ok())??;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "1", "123456789S", "-1S", "1x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
