//! How a function wants the messages of a queue (docs/adr/0019).

use super::super::name::Name;

/// Other than as is usual: a message a call, as an event in the headers of a request to `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// Of the request; empty: `/`.
    pub path: String,
    /// The event is JSON in the request's body.
    pub structured: bool,
    /// The queue or topic of its namespace to which an event goes that is the answer; none: it is only kept.
    pub reply: Option<Name>,
    /// Messages of one call; 0: one, and no batch.
    pub batch_max: u32,
    /// How long the oldest message of a batch may wait for others.
    pub batch_wait_ms: u64,
}

impl Manner {
    /// As is usual.
    pub const USUAL: Self =
        Self { path: String::new(), structured: false, reply: None, batch_max: 0, batch_wait_ms: 0 };
}
