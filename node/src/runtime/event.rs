//! What a command is told of an event, and what its exit code says of it: attributes in the environment, data on standard
//! input.

use coracle_proto::attr;
use coracle_proto::trace::{TRACEPARENT, TRACESTATE};
use http::{HeaderMap, header, request};
use thiserror::Error;
use wasmtime_wasi::I32Exit;

use crate::cloudevent::{PREFIX, decode};

/// `EX_DATAERR` of `sysexits.h`: the input is wrong, and will be the next time.
const REJECTS: i32 = 65;
/// The attribute that is told by a header of another name.
const CONTENT_TYPE: &str = "datacontenttype";
/// Headers that say of which attempt it is.
const TOLD: [&str; 7] = [
    attr::HEADER_ATTEMPT,
    attr::HEADER_FENCE,
    attr::HEADER_QUEUE,
    attr::HEADER_INVOCATION,
    "idempotency-key",
    TRACEPARENT,
    TRACESTATE,
];

/// The function will never take the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the function exited with status {REJECTS}: it will never take this event")]
pub(super) struct Rejected;

/// Why a handler of events has not taken one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NotTaken {
    /// The function says so.
    #[error("the function answered: {0}")]
    Failed(String),
    /// It never can be: there is no function for it.
    #[error("{0}")]
    Never(String),
}

/// The environment that tells a command its event, which comes in the binary mode: `CE_ID` and so on, and of the attempt
/// `CORACLE_ATTEMPT` and so on.
pub(super) fn environment(request: &request::Parts) -> Vec<(String, String)> {
    let mut all = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        if attribute == CONTENT_TYPE {
            // It is what the header says that stands for it.
            continue;
        }
        // What was not written by this platform may be no attribute's value.
        let value = decode(value.as_bytes()).unwrap_or_default();
        if !value.contains('\0') {
            all.push((format!("CE_{}", variable(attribute)), value));
        }
    }
    if let Some(kind) = text(&request.headers, header::CONTENT_TYPE.as_str()) {
        all.push(("CE_DATACONTENTTYPE".to_owned(), kind.to_owned()));
    }
    for name in TOLD {
        if let Some(value) = text(&request.headers, name) {
            all.push((variable(name), value.to_owned()));
        }
    }
    all
}

/// Whether it is several events in one: in the batched mode of CloudEvents' HTTP binding (1.0.2, 3.3) they stand in the body.
pub(super) fn is_batch(headers: &HeaderMap) -> bool {
    const BATCH: &str = "application/cloudevents-batch";
    let kind = text(headers, header::CONTENT_TYPE.as_str()).and_then(|kind| kind.get(..BATCH.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(BATCH)) && !headers.contains_key("ce-specversion")
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A run that ended in the status which rejects the event is [`Rejected`].
pub(super) fn judged(ended: wasmtime::Result<()>) -> wasmtime::Result<()> {
    ended.map_err(|error| match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(REJECTS)) => Rejected.into(),
        Some(_) | None => error,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn attributes_and_the_attempt_are_told_and_nothing_else() {
        let request = Request::post("http://localhost/")
            .header("host", "localhost")
            .header("ce-specversion", "1.0")
            .header("ce-subject", "Euro%20%E2%82%AC")
            .header("ce-odd", "%00")
            .header("ce-datacontenttype", "text/html")
            .header("content-type", "text/csv")
            .header("coracle-attempt", "2")
            .header("coracle-fence", "40")
            .header("coracle-queue", "topic/done/f")
            .header("coracle-invocation-id", "7")
            .header("coracle-route", "/")
            .header("idempotency-key", "k")
            .header("traceparent", "00-1-2-01")
            .header("path", "/bin")
            .body(())
            .unwrap();
        let mut all = environment(&request.into_parts().0);
        all.sort();
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("CE_DATACONTENTTYPE", "text/csv"),
            ("CE_SPECVERSION", "1.0"),
            ("CE_SUBJECT", "Euro €"),
            ("CORACLE_ATTEMPT", "2"),
            ("CORACLE_FENCE", "40"),
            ("CORACLE_INVOCATION_ID", "7"),
            ("CORACLE_QUEUE", "topic/done/f"),
            ("IDEMPOTENCY_KEY", "k"),
            ("TRACEPARENT", "00-1-2-01"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn one_status_alone_rejects() {
        let ended = |status: i32| judged(Err(I32Exit(status).into())).unwrap_err();
        assert!(ended(REJECTS).is::<Rejected>());
        for other in [0, 1, 64, 66, -65, 65 + 256] {
            assert!(ended(other).downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == other), "{other}");
        }
        assert!(judged(Ok(())).is_ok());
    }
}
