//! Invocations read off a view: records, and how far their messages are. What is over its time is not shown.

mod list;

use coracle_proto::id::{InvocationId, NodeId};
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::fault::unreadable;
use super::group::group;
use super::record::{Answer, Cause, Delivery, How, Invocation, State};
use super::{keys, view};

pub use list::{Listing, Mark, Wanted, invocations};

/// How far an invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// For a place, for its time, or for another one of its group.
    Waiting,
    /// A node has it.
    Running,
    /// As all that follow: it has ended so.
    Succeeded,
    /// It may be given another life.
    Dead,
    /// Nobody wanted it any more.
    Cancelled,
    /// Purged, or a dead letter whose time was over.
    Dropped,
}

impl Phase {
    pub(super) const fn of(how: How) -> Self {
        match how {
            How::Succeeded => Self::Succeeded,
            How::Dead => Self::Dead,
            How::Cancelled => Self::Cancelled,
            How::Dropped => Self::Dropped,
        }
    }

    pub(super) const fn of_state(state: &State) -> Self {
        match state {
            State::Ready | State::Delayed { .. } | State::Behind { .. } => Self::Waiting,
            State::Claimed(_) => Self::Running,
            State::Dead(_) => Self::Dead,
        }
    }

    /// What it does, or did.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Waiting => "waits",
            Self::Running => "runs",
            Self::Succeeded => "succeeded",
            Self::Dead => "is a dead letter",
            Self::Cancelled => "was cancelled",
            Self::Dropped => "was dropped",
        }
    }

    /// Whether it is over, if nobody revives it.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Dropped => true,
        }
    }
}

/// An invocation as it is seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which one.
    pub invocation: InvocationId,
    /// Its record.
    pub record: Invocation,
    /// How far it is.
    pub phase: Phase,
    /// Attempts that were begun, since it was accepted or revived.
    pub attempts: u32,
    /// What went wrong at last; empty: nothing.
    pub last_error: String,
    /// Why it is, or was, a dead letter.
    pub cause: Option<Cause>,
    /// When it may run, Unix milliseconds; 0: now, or it does not wait.
    pub next_ms: u64,
    /// Who runs it.
    pub node: Option<NodeId>,
}

/// The invocation; none: there is none, or not any more.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn invocation(reader: &dyn Reader, id: InvocationId) -> Result<Option<Seen>, Stop> {
    found(reader, id, now_ms(reader)?)?.map(|record| seen(reader, id, record)).transpose()
}

/// What it was answered at its last attempt; none: nothing is kept.
///
/// # Errors
/// When it cannot be read.
pub fn answer(reader: &dyn Reader, id: InvocationId) -> Result<Option<Answer>, Stop> {
    match found(reader, id, now_ms(reader)?)? {
        Some(record) if record.answered => view::get(reader, &keys::answer(id)),
        Some(_) | None => Ok(None),
    }
}

/// Whether a record is not over its time. That of a dead letter goes with the letter.
pub(super) fn is_shown(record: &Invocation, now_ms: u64) -> bool {
    record.ended.as_ref().is_none_or(|ended| ended.how == How::Dead || now_ms < ended.until_ms)
}

fn now_ms(reader: &dyn Reader) -> Result<u64, Stop> {
    Ok(group(reader)?.map_or(0, |group| group.time_ms))
}

fn found(reader: &dyn Reader, id: InvocationId, now_ms: u64) -> Result<Option<Invocation>, Stop> {
    let record: Option<Invocation> = view::get(reader, &keys::invocation(id))?;
    Ok(record.filter(|record| is_shown(record, now_ms)))
}

/// With how far its message is, while it has one to wait for.
fn seen(reader: &dyn Reader, invocation: InvocationId, record: Invocation) -> Result<Seen, Stop> {
    if let Some(ended) = &record.ended {
        let (phase, attempts, cause) = (Phase::of(ended.how), ended.attempts, ended.cause);
        let last_error = ended.last_error.clone();
        return Ok(Seen { invocation, record, phase, attempts, last_error, cause, next_ms: 0, node: None });
    }
    let delivery: Option<Delivery> = view::get(reader, &keys::delivery(&record.queue, record.message))?;
    let delivery = delivery.ok_or_else(|| unreadable("a record without a message"))?;
    let (next_ms, node) = match delivery.state {
        State::Delayed { at_ms } | State::Behind { at_ms } => (at_ms, None),
        State::Claimed(claim) => (0, Some(claim.node)),
        State::Ready | State::Dead(_) => (0, None),
    };
    let (phase, attempts, last_error) =
        (Phase::of_state(&delivery.state), delivery.attempts, delivery.last_error);
    Ok(Seen { invocation, record, phase, attempts, last_error, cause: None, next_ms, node })
}
