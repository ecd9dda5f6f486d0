//! What somebody sends to a webhook, and what a store says to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::InvocationId;
use http::HeaderMap;

/// A request as it came. Whether it is its sender's the store finds out.
#[derive(Debug, Clone)]
pub struct Hooked {
    /// Made by whoever passes it on.
    pub invocation: InvocationId,
    /// As they came.
    pub headers: HeaderMap,
    /// As it came, at most [`BODY_BYTES_MAX`](super::BODY_BYTES_MAX).
    pub body: Bytes,
    /// Of whoever sends it.
    pub trace: BTreeMap<String, String>,
    /// Calls in the chain that led to it.
    pub hops: u32,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is kept, and its function is called.
    Kept {
        /// That of the first one, where this was a repetition.
        invocation: InvocationId,
        /// Whether its sender's id was known.
        repeated: bool,
    },
    /// Nothing is run: the sender wants to hear this.
    Asked(Bytes),
}
