//! Values that functions keep in buckets, and how they are changed (docs/adr/0017): what runtime and stores speak of.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{InvocationId, Namespace};

/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Bytes of a value's key.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Writes that are done together.
pub const WRITES_MAX: usize = 256;

/// A bucket: whose it is, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Of the functions that may use it.
    pub namespace: Namespace,
    /// Within the namespace.
    pub name: String,
}

/// What a bucket holds, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Values.
    Values,
    /// Blobs (docs/adr/0018).
    Blobs,
}

/// What is there under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// At most [`VALUE_BYTES_MAX`].
    pub data: Bytes,
    /// Greater than that of whatever was written before it.
    pub version: u64,
}

/// Which keys are asked for, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// They begin so.
    pub prefix: Bytes,
    /// They are behind this one; empty: from the first on.
    pub after: Bytes,
    /// At most so many; zero: as many as a page has.
    pub most: u32,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Keys, each with its value's version.
    pub keys: Vec<(Bytes, u64)>,
    /// Where the next page begins: behind this key. Empty: the list ends here.
    pub after: Bytes,
}

/// A change of what is under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Bytes,
    /// What becomes of it.
    pub change: Change,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this from now on.
    Set {
        /// At most [`VALUE_BYTES_MAX`].
        data: Bytes,
        /// It is gone after so long; none: it stays.
        ttl: Option<Duration>,
        /// Only where it is at this version; zero: only where there is none.
        if_version: Option<u64>,
    },
    /// It is gone.
    Delete,
    /// It is a number, greater by so much; there was none: by so much than zero.
    Increment {
        /// Less than zero takes away.
        by: i64,
    },
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Zero of what was deleted.
    pub version: u64,
    /// That an increment made.
    pub number: Option<i64>,
    /// Of what was deleted: whether there was anything.
    pub existed: bool,
}

/// A message that a function publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// A queue or a topic of the function's namespace.
    pub to: String,
    /// Made by whoever publishes.
    pub invocation: InvocationId,
    /// Which function it is.
    pub source: String,
    /// With one it is taken once a day; empty: it is like no other.
    pub id: String,
    /// Messages of one group are delivered one after the other; empty: of none.
    pub group: String,
    /// How long it waits.
    pub delay: Duration,
    /// Of a `CloudEvent`; the trace of the call among them, and how far its chain of events has come.
    pub attributes: BTreeMap<String, String>,
    /// At most 64 KiB.
    pub data: Bytes,
}
