//! In which of the content modes a request comes (HTTP binding of `CloudEvents` 1.0.2, 1.3 and 3).

use bytes::Bytes;
use coracle_proto::status::Code;
use http::HeaderMap;

use super::attributes::Event;
use super::{binary, structured};
use crate::call::CallError;
use crate::stores::{BODY_BYTES_MAX, PUBLISHED_BYTES_MAX};

const BATCH: &str = "application/cloudevents-batch";
const STRUCTURED: &str = "application/cloudevents";

/// How a request tells its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The body is the data, and nothing says that it is one.
    Own,
    Binary,
    Structured,
    Batch,
}

impl Mode {
    /// What the headers say.
    ///
    /// # Errors
    /// [`Code::BadRequest`]: events in a format that is not understood.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, CallError> {
        let kind = binary::content_type(headers)?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let format =
            |prefix: &str| kind.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('+'));
        let (mode, format) = match (format(BATCH), format(STRUCTURED)) {
            (Some(format), _) => (Self::Batch, format),
            (None, Some(format)) => (Self::Structured, format),
            (None, None) if binary::is_event(headers) => return Ok(Self::Binary),
            (None, None) => return Ok(Self::Own),
        };
        if format == "+json" {
            return Ok(mode);
        }
        let said = format!(
            "header 'content-type': events as '{kind}' are not understood, only '{STRUCTURED}+json' and '{BATCH}+json'"
        );
        Err(CallError::new(Code::BadRequest, said))
    }

    /// Bytes of a body.
    pub(super) const fn bytes_max(self) -> usize {
        match self {
            Self::Own | Self::Binary => BODY_BYTES_MAX,
            Self::Structured | Self::Batch => PUBLISHED_BYTES_MAX,
        }
    }

    /// Whose body it is, for people.
    pub(super) const fn body(self) -> &'static str {
        match self {
            Self::Own | Self::Binary => "the body of a message",
            Self::Structured | Self::Batch => "a request with events",
        }
    }

    /// The events, each as it has to be. What says nothing of itself is made one by `own`.
    pub(super) fn events(
        self,
        headers: &HeaderMap,
        body: &Bytes,
        own: impl FnOnce() -> Result<Event, CallError>,
    ) -> Result<Vec<Event>, CallError> {
        match self {
            Self::Own => Ok(vec![own()?]),
            Self::Binary => Ok(vec![binary::event(headers, body.clone())?]),
            Self::Structured => Ok(vec![structured::one(body)?]),
            Self::Batch => structured::batch(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_the_mode_and_then_the_headers() {
        let mode = |headers: &[(&'static str, &'static str)]| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            Mode::of(&headers).map_err(|error| error.code())
        };
        let id = ("ce-id", "1");
        assert_eq!(mode(&[]), Ok(Mode::Own));
        assert_eq!(mode(&[("content-type", "text/plain"), ("cet", "1")]), Ok(Mode::Own));
        assert_eq!(mode(&[("content-type", "application/json"), id]), Ok(Mode::Binary));
        for kind in ["application/cloudevents+json", "Application/CloudEvents+JSON ; charset=UTF-8"] {
            assert_eq!(mode(&[("content-type", kind), id]), Ok(Mode::Structured), "{kind}");
        }
        assert_eq!(mode(&[("content-type", "application/cloudevents-batch+json;a=b")]), Ok(Mode::Batch));
        for kind in [
            "application/cloudevents",
            "application/cloudevents+avro",
            "application/cloudevents-batch+protobuf",
        ] {
            assert_eq!(mode(&[("content-type", kind), id]), Err(Code::BadRequest), "{kind}");
        }
        assert_eq!(mode(&[("content-type", "application/cloudeventsx+json")]), Ok(Mode::Own));
    }
}
