//! One call on its way through the data plane: the contract between gateway, worker and runtime.

mod gathered;
mod receipt;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{Epoch, InvocationId};
use coracle_proto::record::Version;
use coracle_proto::status::{Again, Code, Refusal};
use http::Method;
use http_body_util::combinators::UnsyncBoxBody;
use thiserror::Error;

pub use self::gathered::{EFFECTS_BYTES_MAX, EFFECTS_MAX, Effect, Gathered};
pub use self::receipt::{Receipt, Spent, Told};
use crate::text::on_one_line;

/// A body that streams. Dropping it stops whoever produces it.
pub type Body = UnsyncBoxBody<Bytes, CallError>;

/// A call of one version of a function.
#[derive(Debug)]
pub struct Call {
    /// What is called.
    pub version: Arc<Version>,
    /// The assignment that the caller knows of.
    pub epoch: Epoch,
    /// The same on each attempt.
    pub invocation: InvocationId,
    /// From 1.
    pub attempt: u32,
    /// What fired.
    pub trigger: Trigger,
    /// What is left of the time to the response's head.
    pub head_timeout: Duration,
    /// Request with the whole path; `traceparent` in its headers is the caller's span.
    pub request: http::Request<Body>,
    /// Of the worker that admitted it.
    pub lease: Lease,
    /// Where is told what it took, and what it did in the platform, if somebody wants to know.
    pub receipt: Receipt,
}

/// The kind of a queue's message that is an HTTP request: it was accepted to be run later. All others are events.
pub const ASYNC: &str = "async";

/// Why a request to a function is refused that only events call.
pub(crate) const EVENTS_ONLY: &str = "only events call the function: its component exports neither 'wasi:http/incoming-handler' nor 'wasi:cli/run'";

/// What fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A request to the gateway.
    Http {
        /// The matched prefix; empty where the function was called by its name.
        route: String,
        /// Who sent it, where that is known.
        remote: Option<SocketAddr>,
    },
    /// A message of a queue.
    Queue {
        /// What had it put there: [`ASYNC`], `queue`, `topic`, `schedule`, ...
        kind: String,
        /// The matched prefix of a request that was accepted; empty where there was none.
        route: String,
    },
}

impl Trigger {
    /// Its name in traces and bills, by OpenTelemetry's conventions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Queue { kind, .. } if kind == "schedule" => "timer",
            Self::Queue { .. } => "pubsub",
        }
    }

    /// What had it put into a queue; empty for a request to the gateway.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Http { .. } => "",
            Self::Queue { kind, .. } => kind,
        }
    }

    /// Whether it is an event, and no request.
    #[must_use]
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Queue { kind, .. } if kind != ASYNC)
    }

    /// The matched prefix: `SCRIPT_NAME`.
    #[must_use]
    pub fn route(&self) -> &str {
        match self {
            Self::Http { route, .. } | Self::Queue { route, .. } => route,
        }
    }

    /// Who sent it, where that is known.
    #[must_use]
    pub const fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Http { remote, .. } => *remote,
            Self::Queue { .. } => None,
        }
    }
}

/// What a call takes up on its node. It is given back with the last clone: a guest that was stopped in the middle of its
/// work ends a little later than the call, and still has its memory until then.
#[derive(Clone, Default)]
pub struct Lease(#[expect(dead_code, reason = "held until it is dropped")] Option<Arc<dyn Send + Sync>>);

impl Lease {
    /// Holds `what` until the last clone is dropped.
    #[must_use]
    pub fn of(what: Arc<dyn Send + Sync>) -> Self {
        Self(Some(what))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

/// What a call came to, at the response's head.
#[derive(Debug)]
pub struct Answer {
    /// Head, and a body that may still stream.
    pub response: http::Response<Body>,
    /// Whether the code had to be mapped or instances were not there yet.
    pub cold: bool,
    /// Time spent waiting for a slot.
    pub queue_wait: Duration,
}

/// Why a call, or the rest of its body, did not come.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{refusal}")]
pub struct CallError {
    /// Code and sentence.
    pub refusal: Refusal,
    /// Whether it was a cold start.
    pub cold: bool,
}

/// What is told of an error: some of it is the guest's own text, and it travels in a frame and in a log line.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

impl CallError {
    /// An error of a warm call, or of one that did not start. Its message is one line; what is over 4 KiB of it is cut.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = on_one_line(message.into());
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { refusal: Refusal::new(code, message), cold: false }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.refusal.code
    }

    /// Whether nothing was run, so that another worker may be tried whatever the method.
    #[must_use]
    pub fn not_started(&self) -> bool {
        self.code().retry() == Again::NotStarted
    }
}

/// Whether a request may be sent twice by its method alone (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = CallError::new(Code::FunctionFailed, format!("a{}", "é".repeat(MESSAGE_BYTES_MAX)));
        let message = &error.refusal.message;
        assert_eq!(message.len(), MESSAGE_BYTES_MAX - 1, "the last character would not fit whole");
        assert!(message.ends_with('é'));
    }
}
