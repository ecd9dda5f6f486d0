//! Until when a caller waits.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

use crate::clock;
use crate::context::REQUEST_TIMEOUT;

/// So long before its caller gives up a request is answered, or a tenth of its time where that is less: a refusal that says
/// that nothing was done must be heard, or the caller can only say that it does not know.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);

/// A moment before the caller's `grpc-timeout`, at most [`REQUEST_TIMEOUT`].
pub(super) fn deadline(metadata: &MetadataMap) -> Instant {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    clock::now() + asked.map_or(REQUEST_TIMEOUT, heard_within).min(REQUEST_TIMEOUT)
}

fn heard_within(asked: Duration) -> Duration {
    asked.saturating_sub(ANSWER_MARGIN.min(asked / 10))
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
    fn an_answer_comes_before_its_caller_leaves() {
        assert_eq!(heard_within(Duration::from_secs(30)), Duration::from_millis(29_800));
        assert_eq!(heard_within(Duration::from_millis(100)), Duration::from_millis(90));
    }

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
