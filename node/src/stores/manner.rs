//! How a function wants the messages of a queue (docs/adr/0019).

use std::time::Duration;

use http::Uri;

/// Where it is other than usual: one message a call, as an event in the headers of a request to `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// Of the request.
    pub uri: Uri,
    /// The event is JSON in the body.
    pub structured: bool,
    /// The queue or topic to which an event goes that is the answer; none: it is only kept.
    pub reply: Option<String>,
    /// Several messages of one call; none: one.
    pub batch: Option<Batch>,
}

/// Messages of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// At most, and at least two.
    pub most: usize,
    /// How long the oldest of them may wait for others.
    pub wait: Duration,
}

impl Default for Manner {
    /// As is usual.
    fn default() -> Self {
        Self { uri: Uri::from_static("http://localhost/"), structured: false, reply: None, batch: None }
    }
}
