//! A message: what was published, and apart from it how far it is, so that an attempt does not write the body anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::{InvocationId, NodeId};

use super::super::name::Place;

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who made its id.
    pub source: String,
    /// Its id.
    pub id: String,
    /// A CloudEvent's.
    pub attributes: BTreeMap<String, String>,
    /// When it was, Unix milliseconds.
    pub published_ms: u64,
    /// Its body.
    pub data: Bytes,
    /// What fired.
    pub kind: String,
    /// The request that it was; none: it was none.
    pub http: Option<HttpHead>,
}

/// What an HTTP request has beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpHead {
    /// Its method.
    pub method: String,
    /// Absolute, as the function is to see it.
    pub uri: String,
    /// In order; a name may come more than once.
    pub headers: Vec<(String, Bytes)>,
    /// The prefix that its route has matched.
    pub route: String,
}

/// How far a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Attempts that were begun, since it was published or redriven.
    pub attempts: u32,
    /// When it has waited for too long, Unix milliseconds.
    pub deadline_ms: u64,
    /// Bytes for which its queue answers.
    pub weight: u64,
    /// Its group; empty: none.
    pub group: String,
    /// What went wrong at its last attempt; empty: nothing yet.
    pub last_error: String,
    /// Under which its record is found.
    pub invocation: InvocationId,
    /// Where it is.
    pub state: State,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may be claimed.
    Ready,
    /// It waits for its time.
    Delayed {
        /// When, Unix milliseconds.
        at_ms: u64,
    },
    /// It waits for another one of its group, and then for its time.
    Behind {
        /// When, Unix milliseconds.
        at_ms: u64,
    },
    /// It is being tried.
    Claimed(Claim),
    /// It is a dead letter.
    Dead(Burial),
}

impl State {
    /// Whether it is to be delivered and nobody has it.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        match self {
            Self::Ready | Self::Delayed { .. } | Self::Behind { .. } => true,
            Self::Claimed(_) | Self::Dead(_) => false,
        }
    }

    /// Whether it is a dead letter.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self, Self::Dead(_))
    }
}

/// An attempt under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who makes it.
    pub node: NodeId,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// When it counts as lost, Unix milliseconds.
    pub until_ms: u64,
    /// What its end must show.
    pub fence: Fence,
}

/// What tells one attempt from all others: greater than that of any attempt before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Of the leader that gave the message out.
    pub term: u64,
    /// The number of the claim in the group.
    pub sequence: u64,
}

/// Which attempt of which message is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Of which queue.
    pub queue: Place,
    /// Which message.
    pub message: u64,
    /// Which attempt.
    pub fence: Fence,
}

/// Why and when a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burial {
    /// Why.
    pub cause: Cause,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Until when it is kept.
    pub until_ms: u64,
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its last attempt failed.
    Attempts,
    /// It waited for too long.
    Age,
    /// Whoever got it wants no other attempt.
    Rejected,
}

/// That an id was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Dedup {
    /// The message that was made of it.
    pub(in super::super) message: u64,
    /// How long it is remembered, Unix milliseconds.
    pub(in super::super) until_ms: u64,
    /// The message's.
    pub(in super::super) invocation: InvocationId,
    /// Of the request; empty: it is not compared.
    pub(in super::super) fingerprint: Bytes,
}
