//! What becomes of a message by what its function answered, or by why it did not (docs/guide.md, the delivery table).

use std::time::Duration;

use coracle_proto::status::{Again, Code};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// A function may put off its next attempt for so long.
pub(super) const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is done.
    Done,
    /// It is tried again: after so long, or as its queue says.
    Retry(Option<Duration>),
    /// It never is.
    Dead,
    /// Nothing was run: it comes again, and no attempt is counted.
    Offer,
}

/// By an answer that came whole.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, now_ms: u64) -> Decision {
    if status.is_success() {
        return Decision::Done;
    }
    match status.as_u16() {
        404 | 408 | 409 | 425 | 429 | 500.. => Decision::Retry(retry_after(headers, now_ms)),
        _ => Decision::Dead,
    }
}

/// By an error instead of an answer, or in the middle of it. Whether the view is `current` makes a difference for what is not
/// in it.
pub(super) const fn of_error(code: Code, current: bool) -> Decision {
    match (code, code.retry()) {
        (_, Again::NotStarted) => Decision::Offer,
        // Others may know of it.
        (Code::FunctionNotFound, _) if !current => Decision::Offer,
        // It may have been deleted to be made anew, and a gateway may know of it late.
        (Code::FunctionNotFound, _) | (_, Again::Unknown) => Decision::Retry(None),
        (_, Again::Never) => Decision::Dead,
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3), from a day down to nothing.
fn retry_after(headers: &HeaderMap, now_ms: u64) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        at.saturating_sub(Duration::from_millis(now_ms))
    };
    Some(after.min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delivery_table_of_answers() {
        let decision = |status: u16| of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), 0);
        for status in [200, 201, 202, 204, 206, 299] {
            assert_eq!(decision(status), Decision::Done, "{status}");
        }
        for status in [404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 507, 599, 600, 999] {
            assert_eq!(decision(status), Decision::Retry(None), "{status}");
        }
        for status in
            [100, 199, 300, 301, 304, 307, 400, 401, 403, 405, 406, 410, 413, 415, 422, 431, 451, 499]
        {
            assert_eq!(decision(status), Decision::Dead, "{status}");
        }
    }

    #[test]
    fn the_delivery_table_of_errors() {
        for code in [
            Code::FunctionNotFound,
            Code::FunctionTrapped,
            Code::FunctionFailed,
            Code::InvalidResponse,
            Code::ResponseTimeout,
            Code::IdleTimeout,
            Code::CpuTimeExceeded,
            Code::MemoryExceeded,
            Code::NodeOutOfMemory,
            Code::ResponseTooLarge,
            Code::NodeLost,
            Code::Internal,
        ] {
            assert_eq!(of_error(code, true), Decision::Retry(None), "{code}");
        }
        for code in [
            Code::NoReplica,
            Code::NoView,
            Code::NotReady,
            Code::StaleReplica,
            Code::ConcurrencyLimit,
            Code::Overloaded,
            Code::Draining,
        ] {
            assert_eq!(of_error(code, true), Decision::Offer, "{code}");
        }
        for code in [Code::BadRequest, Code::LoopDetected, Code::RequestTooLarge, Code::EventRejected] {
            assert_eq!(of_error(code, true), Decision::Dead, "{code}");
            assert_eq!(of_error(code, false), Decision::Dead, "{code}");
        }
        assert_eq!(of_error(Code::FunctionNotFound, false), Decision::Offer);
        assert_eq!(of_error(Code::FunctionTrapped, false), Decision::Retry(None));
    }

    #[test]
    fn a_function_says_when_it_is_asked_again() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let after = |value: &str| {
            let headers = [(RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
            match of_answer(StatusCode::SERVICE_UNAVAILABLE, &headers, now_ms) {
                Decision::Retry(after) => after.map(|after| after.as_secs()),
                other => panic!("{other:?}"),
            }
        };
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:48:37 GMT", Some(86_400)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(after(value), seconds, "{value}");
        }
    }
}
