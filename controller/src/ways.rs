//! The ways to the leader: what waits there to be passed on or asked. The tasks that go them are of [`crate::propose`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::pb::ForwardAnswer;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::Position;
use tokio::sync::{mpsc, oneshot};

use crate::queue::{Ended, Queue};

/// Proposals that wait to be sent; those above wait for a place as long as they wait at all.
const QUEUE_MAX: usize = 1024;

/// Why an attempt failed, and what may be done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nothing was proposed.
    NotStarted(Refusal),
    /// It may have been proposed.
    Unknown(Refusal),
    /// The answer.
    Final(Refusal),
}

/// Who decides first whether a proposal that waits is sent: the link, or whoever gives it up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// True for the first one that takes it.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What became of a proposal that was passed on.
pub(crate) type Answer = Result<ForwardAnswer, Failed>;

/// A proposal on its way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) envelope: Bytes,
    pub(crate) deadline: Instant,
    pub(crate) trace: String,
    /// Whom it is meant for.
    pub(crate) leader: NodeId,
    pub(crate) ticket: Ticket,
    pub(crate) answer: oneshot::Sender<Answer>,
}

impl Waiting {
    /// Whoever asked may have left.
    pub(crate) fn not_sent(self, refusal: Refusal) {
        let _ = self.answer.send(Err(Failed::NotStarted(refusal)));
    }
}

/// The way into the queue of those that are passed on.
#[derive(Debug)]
pub(crate) struct Link(Queue<Waiting>);

impl Link {
    pub(crate) fn new() -> Self {
        Self(Queue::new(QUEUE_MAX))
    }

    /// Waits for a place.
    pub(crate) async fn pass(&self, waiting: Waiting) -> Result<(), Failed> {
        let passed = self.0.put(waiting).await;
        passed.map_err(|Ended| Failed::NotStarted(Refusal::new(Code::NoQuorum, "this controller ends")))
    }

    /// What its task takes from; once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Waiting>> {
        self.0.take()
    }
}

/// Questions that wait while another one is asked.
pub(crate) const WAITING_MAX: usize = 1024;

/// Where the answer to a read goes.
pub(crate) type Asker = oneshot::Sender<Result<Position, Refusal>>;

/// What all reads of this controller ask the leader, together: those that come while one question is under way are the next
/// one. Each costs the leader a round of heartbeats.
#[derive(Debug)]
pub(crate) struct Reads(Queue<Asker>);

impl Reads {
    pub(crate) fn new() -> Self {
        Self(Queue::new(WAITING_MAX))
    }

    /// Waits for a place.
    pub(crate) async fn put(&self, asker: Asker) -> Result<(), Ended> {
        self.0.put(asker).await
    }

    /// What its task takes from; once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Asker>> {
        self.0.take()
    }
}
