//! The trace of one command: of its span where spans are recorded, else one of its own, so that servers which
//! record theirs can still be asked for it by the id that the command prints.

use std::fmt;

use coracle_proto::trace::{self, TRACEPARENT};
use http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tracing::Span;

/// The trace context that goes with each request of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    id: String,
    /// Sent where there is no recorded span. W3C Trace Context, version 00, sampled.
    own: Option<String>,
}

impl Trace {
    /// The trace of the current span, or a new one.
    pub(crate) fn current() -> Self {
        match trace::trace_id(&Span::current()) {
            Some(id) => Self { id: id.to_string(), own: None },
            None => Self::new(rand::random(), rand::random()),
        }
    }

    fn new(trace: u128, span: u64) -> Self {
        // All zeros mean 'invalid' in the standard.
        let id = format!("{:032x}", trace.max(1));
        let own = Some(format!("00-{id}-{:016x}-01", span.max(1)));
        Self { id, own }
    }

    /// As a message keeps it for whoever takes it (W3C `traceparent`).
    pub(crate) fn kept(&self) -> String {
        self.own.clone().unwrap_or_else(trace::current)
    }

    /// Writes it into the headers of an HTTP request.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        match self.own.as_deref().map(HeaderValue::from_str) {
            Some(Ok(value)) => {
                // What the caller gave goes first: the command is then a part of that trace.
                headers.entry(TRACEPARENT).or_insert(value);
            }
            Some(Err(_)) | None => trace::write_headers(&Span::current(), headers),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl Interceptor for Trace {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        match self.own.as_deref().map(MetadataValue::try_from) {
            Some(Ok(value)) => {
                request.metadata_mut().insert(TRACEPARENT, value);
            }
            Some(Err(_)) | None => trace::write_metadata(request.metadata_mut()),
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_recorded_span_a_trace_of_its_own_goes_with_each_request() {
        let mut trace = Trace::new(0xabc, 0xd);
        assert_eq!(trace.to_string(), "00000000000000000000000000000abc");
        let expected = "00-00000000000000000000000000000abc-000000000000000d-01";
        assert_eq!(trace.kept(), expected);
        let mut headers = HeaderMap::new();
        trace.write(&mut headers);
        assert_eq!(headers[TRACEPARENT], expected);
        let request = trace.call(tonic::Request::new(())).unwrap();
        assert_eq!(request.metadata().get(TRACEPARENT).unwrap().to_str().unwrap(), expected);
        assert_ne!(Trace::current(), Trace::current());
    }
}
