//! What is done to values, blobs and queues.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::InvocationId;

use super::super::name::Place;
use super::super::record::HttpHead;
use super::blob::BlobChange;

/// One thing that a call has done, or a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A change of a value.
    Write(Write),
    /// A message.
    Publish(Box<Publish>),
    /// Nothing is done: what was read must be as it was, or all is refused.
    Check(Check),
    /// A change of a blob.
    Blob(Box<BlobChange>),
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// In which bucket.
    pub bucket: Place,
    /// Under which key.
    pub key: Bytes,
    /// Which version it had; 0: it was not there.
    pub version: u64,
}

/// A message for a queue, or for all who subscribe to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Which queue, or which topic.
    pub queue: Place,
    /// Who makes its ids.
    pub source: String,
    /// The same one of the same source is taken once within a day. Empty: whoever publishes it gave it none, and it is like no other.
    pub id: String,
    /// Messages of one group are delivered one after the other; empty: of none.
    pub group: String,
    /// A CloudEvent's.
    pub attributes: BTreeMap<String, String>,
    /// How long it is held back, milliseconds.
    pub delay_ms: u64,
    /// Its body.
    pub data: Bytes,
    /// Under which its record is found. Made by who publishes; no other message may have it. Those of a topic's copies are drawn.
    pub invocation: InvocationId,
    /// What fired: `async`, `schedule` and others; empty: `queue` or `topic`, whatever it goes to.
    pub kind: String,
    /// The request that it was; none: it was none.
    pub http: Option<HttpHead>,
    /// Of the request: the same id with another one is refused. Empty: they are not compared.
    pub fingerprint: Bytes,
    /// Taken once within a day, too, whatever its id and its source. Empty: only those count.
    pub also: String,
}

impl Publish {
    /// The id that its message has: where it was given none that of its invocation.
    #[must_use]
    pub fn message_id(&self) -> String {
        if self.id.is_empty() { self.invocation.to_string() } else { self.id.clone() }
    }
}

/// A change of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// In which bucket.
    pub bucket: Place,
    /// Under which key: any bytes, at least one.
    pub key: Bytes,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this from now on.
    Set {
        /// The value.
        data: Bytes,
        /// How long it is there, milliseconds; none: until it is changed.
        ttl_ms: Option<u64>,
    },
    /// It is not there any more.
    Delete,
    /// As [`Change::Set`], if nobody changed it.
    CompareAndSet {
        /// The version that it must have; none: it must not be there.
        expected: Option<u64>,
        /// The value.
        data: Bytes,
        /// As for [`Change::Set`].
        ttl_ms: Option<u64>,
    },
    /// Adds to a number, which is written in decimal digits, and begins at 0. Its time to live stays as it is.
    Increment {
        /// How much; less than zero takes away.
        by: i64,
    },
}
