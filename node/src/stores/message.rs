//! What is taken from queues, and what is said of it afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId, Namespace, NodeId, VersionNumber};
use http::{HeaderMap, Method, StatusCode, Uri};

use super::manner::Manner;
use crate::call::{Effect, Spent};
use crate::values::Said;

/// Bytes of a message's body, and of an answer's that are kept.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Headers of a message, and of an answer that are kept.
pub const HEADERS_MAX: usize = 128;
/// Bytes of names and values of a message's headers.
pub const HEADERS_BYTES_MAX: usize = 32 << 10;
/// Bytes of names and values of a message's attributes.
pub const ATTRIBUTES_BYTES_MAX: usize = crate::cloudevent::ATTRIBUTES_BYTES_MAX;
/// Attributes of a message beside its id and its source.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of a message's id, its source, and its group.
pub const TEXT_BYTES_MAX: usize = 256;
/// Messages that are published at once.
pub const PUBLISHED_MAX: usize = 256;
/// Bytes of data and attributes of all messages that are published at once: they are one entry of a log.
pub const PUBLISHED_BYTES_MAX: usize = 448 << 10;
/// How long a message may be delayed.
pub const DELAY_MAX: Duration = Duration::from_secs(15 * 24 * 60 * 60);
/// Bytes of names and values of an answer's headers that are kept.
pub const KEPT_HEADERS_BYTES_MAX: usize = 8 << 10;

/// Greater than that of whoever held the message before: what it guards refuses a smaller one. Shown as `TERM.SEQUENCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Of the group's leader.
    pub term: u64,
    /// Number in the group.
    pub sequence: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// An attempt: which message, and which claim of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Whose queue.
    pub namespace: Namespace,
    /// Its name.
    pub queue: String,
    /// The message's number in it.
    pub message: u64,
    /// Of the claim.
    pub fence: Fence,
}

/// An HTTP request as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// The method.
    pub method: Method,
    /// Absolute, as the guest is to see it.
    pub uri: Uri,
    /// As the guest is to see them.
    pub headers: HeaderMap,
    /// The matched prefix.
    pub route: String,
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What fired: `async`, `schedule`, ... Of what is published it is empty: its store says whether it was a queue or a topic.
    pub kind: String,
    /// Where it is from.
    pub source: String,
    /// Its id there.
    pub id: String,
    /// Of a `CloudEvent`; the trace of whoever sent it among them.
    pub attributes: BTreeMap<String, String>,
    /// None: it is no request.
    pub head: Option<EventHead>,
    /// The body.
    pub data: Bytes,
}

/// A message that is to be run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To be shown with whatever is said of it.
    pub ticket: Ticket,
    /// From 1, without gaps.
    pub attempt: u32,
    /// What is to take it.
    pub function: FunctionId,
    /// The same in each attempt.
    pub invocation: InvocationId,
    /// What was accepted.
    pub event: Event,
    /// How its function wants it.
    pub how: Manner,
}

/// What a node says of itself when it asks for messages.
#[derive(Debug, Clone, Default)]
pub struct Taking {
    /// Of this start of its process.
    pub session: u64,
    /// The number of the last reply that it got.
    pub heard: u64,
    /// All that it has and has not settled.
    pub running: Vec<Ticket>,
    /// Messages that it would run beside these.
    pub places: u32,
    /// Queues of which it wants no more just now.
    pub full: Vec<(Namespace, String)>,
    /// How long the store may wait for something to tell.
    pub waits: Duration,
}

/// A message that was given out, as far as this node understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// It can be run.
    Delivery(Box<Delivery>),
    /// It is of a newer program: why it is not understood.
    Foreign(Ticket, String),
}

/// What a node is given.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Of this reply.
    pub number: u64,
    /// To be run.
    pub offered: Vec<Offered>,
    /// Of what it runs: not held any more, nobody wants the result.
    pub lost: Vec<Ticket>,
}

/// What a function answered, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its status.
    pub status: StatusCode,
    /// At most [`HEADERS_MAX`], of [`KEPT_HEADERS_BYTES_MAX`] together.
    pub headers: HeaderMap,
    /// At most [`BODY_BYTES_MAX`].
    pub body: Bytes,
    /// Bytes that it had: more than `body` has where it was too large to be kept.
    pub body_bytes: u64,
}

impl Kept {
    /// Whether all of it is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body_bytes == self.body.len() as u64
    }
}

/// One attempt, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From 1; zero where the store counts.
    pub attempt: u32,
    /// Where it ran; none: nowhere.
    pub node: Option<NodeId>,
    /// What ran; zero: nothing.
    pub version: VersionNumber,
    /// Unix milliseconds.
    pub started_ms: u64,
    /// Unix milliseconds.
    pub ended_ms: u64,
    /// Whether code had to be mapped.
    pub cold: bool,
    /// A status, or a code of the platform.
    pub outcome: String,
    /// For people; empty where there was none.
    pub error: String,
    /// What it took.
    pub spent: Spent,
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is tried again: after so long, or as its queue says.
    Retry {
        /// None: as its queue says.
        after: Option<Duration>,
        /// Why, for people.
        error: String,
    },
    /// It is never tried again.
    Dead {
        /// Why, for people.
        error: String,
    },
    /// Nothing was run: it comes again after so long, and no attempt is counted.
    Offer {
        /// How long nobody is given it.
        after: Duration,
        /// Why, for people.
        error: String,
    },
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Of the claim.
    pub ticket: Ticket,
    /// None: nothing was run.
    pub report: Option<Report>,
    /// What is to become of it.
    pub verdict: Verdict,
    /// What was answered, if anything was.
    pub answer: Option<Kept>,
    /// Done with it, where it is done: all of them, or the word counts for nothing.
    pub effects: Vec<Effect>,
    /// The event that was answered, which is published with it, where it is done.
    pub reply: Option<Box<Reply>>,
    /// Messages of the same queue and the same call, which are done with it, where it is done.
    pub others: Vec<Other>,
}

/// An attempt that was made with another one's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Of the claim.
    pub ticket: Ticket,
    /// Where and how it ran.
    pub report: Option<Report>,
}

/// An event that is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The queue or topic of the message's namespace.
    pub to: String,
    /// What is published.
    pub message: Message,
}

impl Settlement {
    /// Of an attempt that was none: nothing was run.
    #[must_use]
    pub const fn offered(ticket: Ticket, verdict: Verdict) -> Self {
        let others = Vec::new();
        Self { ticket, report: None, verdict, answer: None, effects: Vec::new(), reply: None, others }
    }

    /// Effects that are to be done with it, its reply among them.
    #[must_use]
    pub fn effects_count(&self) -> usize {
        self.effects.len().saturating_add(usize::from(self.reply.is_some()))
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is tried again.
    Retried,
    /// It is a dead letter.
    Dead,
    /// It comes again, uncounted.
    Offered,
}

impl Fate {
    /// The word for it in metrics and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Offered => "offered",
        }
    }
}

/// What a store says of the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// What became of the message, and of the others that were done with it.
    pub fate: Fate,
    /// Effects that were done with it.
    pub effects: usize,
    /// Of these messages those that were left out: nobody holds them any more.
    pub lost: Vec<u64>,
}

/// What is to be run later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// What is to take it.
    pub function: FunctionId,
    /// Made by whoever submits.
    pub invocation: InvocationId,
    /// What is to be run.
    pub event: Event,
    /// Empty: none was given.
    pub idempotency_key: String,
    /// Of the request: the same key with another one is refused.
    pub fingerprint: Bytes,
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// That of the first one, where this was a repetition.
    pub invocation: InvocationId,
    /// Whether it was accepted before.
    pub repeated: bool,
}

/// What is put into a queue, or said to all who have subscribed to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Made by whoever publishes.
    pub invocation: InvocationId,
    /// What is to be delivered. With an id it is taken once a day for each source; without one it is like no other.
    pub event: Event,
    /// Messages of one group are delivered one after the other; empty: of none.
    pub group: String,
    /// How long it waits before it may be delivered, at most [`DELAY_MAX`].
    pub delay: Duration,
    /// Of what was asked, at most 32 bytes: the same id with another one is refused. Empty: that is not looked at.
    pub fingerprint: Bytes,
}

/// What became of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Of a queue's message: that of the first one, where this was a repetition. None: it went to a topic, where each copy has
    /// one of its own.
    pub invocation: Option<InvocationId>,
    /// Whether all who were to have it had it before.
    pub repeated: bool,
    /// Its number in its queue; none: it went to a topic.
    pub message: Option<u64>,
    /// Queues that have it.
    pub copies: u32,
}

impl From<Said> for Message {
    /// As an event that is like no other, unless the function gave it an id.
    fn from(said: Said) -> Self {
        let Said { to: _, invocation, source, id, group, delay, attributes, data } = said;
        // The store knows whether it goes to a queue or to a topic, and remembers no id that nobody gave.
        let kind = String::new();
        let event = Event { kind, source, id, attributes, head: None, data };
        Self { invocation, event, group, delay, fingerprint: Bytes::new() }
    }
}
