//! The way of an operation into the log: those of all callers gather to entries, of which two are on their way at once.

use std::sync::Arc;

use coracle_proto::id::{ClusterId, GroupId};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Leader, ProposeError, Role};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::debug;

use crate::clock::GroupClock;
use crate::model::{self, Asked, BATCH_BYTES_MAX, BATCH_OPS_MAX, Batch, Outcome, Reply};
use crate::replicas::Replica;

/// Entries on their way: while the log syncs one the next one gathers, and is replicated beside it.
const ENTRIES_AT_ONCE: usize = 2;
/// Operations that wait for an entry, and their bytes: some tenths of a second of a fast disk. Who comes beyond is refused.
const WAITING_MAX: usize = 4 * BATCH_OPS_MAX;
const WAITING_BYTES_MAX: usize = 32 * BATCH_BYTES_MAX;
/// What an entry has beside its operations, at most.
const ENVELOPE_BYTES: usize = 256;

/// The proposer of one group. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    waiting: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
}

/// An operation and who waits for it.
#[derive(Debug)]
struct Waiting {
    asked: Asked,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, Refusal>>,
    /// Of the bytes that may wait.
    _room: OwnedSemaphorePermit,
}

impl Proposer {
    /// Begins one; it ends with its last clone.
    pub(crate) fn start(cluster: ClusterId, group: GroupId, replica: Replica, clock: GroupClock) -> Self {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        tokio::spawn(gather(Group { cluster, group, replica, clock }, taken));
        Self { waiting, bytes: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) }
    }

    /// Brings an operation into the log, and waits until it is done on this replica.
    ///
    /// # Errors
    /// `not-leader`, `no-quorum`, `overloaded` where nothing was done, `outcome-unknown` where it may have been. What the group
    /// itself refuses is an outcome.
    pub(crate) async fn propose(&self, asked: Asked) -> Result<Outcome, Refusal> {
        let (answer, answered) = oneshot::channel();
        let bytes = model::codec::bytes(&asked);
        if bytes + ENVELOPE_BYTES > BATCH_BYTES_MAX {
            let sentence =
                format!("{bytes} bytes of changes at once, and at most {BATCH_BYTES_MAX} are allowed");
            return Err(Refusal::new(Code::InvalidArgument, sentence));
        }
        let ended = || Refusal::new(Code::OutcomeUnknown, "this replica ends");
        let full = |what: &str| {
            Refusal::new(Code::Overloaded, format!("{what} wait to be written in this data group"))
        };
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bytes).try_acquire_many_owned(wanted);
        let _room = room.map_err(|_| full(&format!("{WAITING_BYTES_MAX} bytes")))?;
        self.waiting.try_send(Waiting { asked, bytes, answer, _room }).map_err(|error| match error {
            TrySendError::Full(_) => full(&format!("{WAITING_MAX} operations")),
            TrySendError::Closed(_) => ended(),
        })?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Whose operations they are.
#[derive(Clone)]
struct Group {
    cluster: ClusterId,
    group: GroupId,
    replica: Replica,
    clock: GroupClock,
}

async fn gather(of: Group, mut waiting: mpsc::Receiver<Waiting>) {
    let places = Arc::new(Semaphore::new(ENTRIES_AT_ONCE));
    let mut first = waiting.recv().await;
    while let Some(next) = first.take() {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (together, left) = fill(next, &mut waiting);
        let of = of.clone();
        tokio::spawn(async move {
            entry(&of, together).await;
            drop(place);
        });
        first = match left {
            Some(left) => Some(left),
            None => waiting.recv().await,
        };
    }
}

/// Those that wait now, as far as they make one entry; the one that did not fit into it.
fn fill(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = ENVELOPE_BYTES + first.bytes;
    let mut together = vec![first];
    while together.len() < BATCH_OPS_MAX
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.bytes;
        if bytes > BATCH_BYTES_MAX {
            return (together, Some(next));
        }
        together.push(next);
    }
    (together, None)
}

async fn entry(of: &Group, together: Vec<Waiting>) {
    let (ops, answers): (Vec<_>, Vec<_>) = together.into_iter().map(|it| (it.asked, it.answer)).unzip();
    let outcomes = decided(of, ops).await;
    match outcomes {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Who asked may have left.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(refusal) => {
            debug!(group = %of.group, %refusal, operations = answers.len(), "an entry was not decided");
            for answer in answers {
                let _ = answer.send(Err(refusal.clone()));
            }
        }
    }
}

async fn decided(of: &Group, ops: Vec<Asked>) -> Result<Vec<Outcome>, Refusal> {
    let Group { cluster, group, replica, clock } = of;
    let (cluster, group) = (*cluster, *group);
    let status = replica.status();
    if status.role != Role::Leader {
        return Err(not_leader(group, status.leader.as_ref()));
    }
    let (term, stamp_ms) = (status.term, clock.stamp_ms(status.term).await);
    let batch = Batch { cluster, group, term, stamp_ms, random: rand::random(), ops };
    let reply = replica.propose(model::codec::encode(&batch)).await.map_err(|error| refusal(group, error))?;
    let unreadable = |error: model::codec::DecodeError| Refusal::new(Code::Internal, error.to_string());
    match model::codec::decode_reply(&reply).map_err(unreadable)? {
        Reply::Outcomes(outcomes) => Ok(outcomes),
        Reply::Refused(why) => Err(refused(&why)),
    }
}

/// What the group refused, for whoever asked.
pub(crate) fn refused(why: &model::Refusal) -> Refusal {
    use model::Reason;
    let code = match why.reason {
        Reason::WrongGroup => Code::WrongCluster,
        // Another one led when it came into the log: it is asked of that one.
        Reason::WrongTerm => Code::NotLeader,
        Reason::TooMany | Reason::TooLarge | Reason::Invalid | Reason::NotANumber | Reason::Overflow => {
            Code::InvalidArgument
        }
        Reason::OutcomeUnknown => Code::OutcomeUnknown,
        // One that is being deleted will not come again.
        Reason::NoBucket | Reason::BucketDropping => Code::BucketNotFound,
        Reason::NoUpload => Code::UploadNotFound,
        Reason::Precondition => Code::PreconditionFailed,
        Reason::BucketFullKeys
        | Reason::BucketFullBytes
        | Reason::SchedulesFull
        | Reason::QueuesFull
        | Reason::BucketsFull
        | Reason::UploadsFull
        | Reason::SecretsFull
        | Reason::ListFull => Code::LimitReached,
        Reason::Mismatch
        | Reason::Late
        | Reason::Paused
        | Reason::Ended
        | Reason::NotDead
        | Reason::NameTaken
        | Reason::InUse => Code::Conflict,
        // It will not come again: nobody is to try what he did to it once more.
        Reason::Dropping | Reason::NoQueue | Reason::NoTopic | Reason::Nowhere => Code::QueueNotFound,
        Reason::Loop => Code::LoopDetected,
        Reason::NoSchedule => Code::ScheduleNotFound,
        Reason::NoSecret => Code::SecretNotFound,
        Reason::NoWebhook => Code::WebhookNotFound,
        Reason::QueueFullMessages | Reason::QueueFullBytes => Code::QueueFull,
        Reason::Stale => Code::ClaimLost,
        Reason::OtherRequest => Code::IdempotencyConflict,
        Reason::NoInvocation => Code::InvocationNotFound,
        Reason::NeverFits => Code::RequestTooLarge,
        Reason::Busy => Code::Overloaded,
    };
    Refusal::new(code, why.to_string())
}

/// Whom to ask instead.
pub(crate) fn not_leader(group: GroupId, leader: Option<&Leader>) -> Refusal {
    let who = match leader {
        Some(leader) => format!("node {} at {} does", leader.node, leader.address),
        None => "nobody does just now".to_owned(),
    };
    Refusal::new(Code::NotLeader, format!("this store does not lead data group {group}: {who}"))
}

/// Why Raft did not take it.
pub(crate) fn refusal(group: GroupId, error: ProposeError) -> Refusal {
    let code = match &error {
        ProposeError::NotLeader { leader } => return not_leader(group, leader.as_ref()),
        ProposeError::NoQuorum { .. } => Code::NoQuorum,
        ProposeError::OutcomeUnknown { .. }
        | ProposeError::TimedOut { .. }
        | ProposeError::Stopped { .. } => Code::OutcomeUnknown,
        ProposeError::TooLarge { .. } => Code::InvalidArgument,
        ProposeError::Membership { .. } => Code::Conflict,
    };
    Refusal::new(code, format!("data group {group}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    /// Whoever is told of a conflict does it again: in vain, and until his message is too old.
    #[test]
    fn what_is_being_deleted_is_not_found_and_what_was_read_is_a_conflict() {
        let code = |reason| {
            refused(&model::Refusal { reason, subject: "shop/q".to_owned(), found: 0, bound: 0 }).code
        };
        assert_eq!(
            (code(Reason::Dropping), code(Reason::NoQueue)),
            (Code::QueueNotFound, Code::QueueNotFound)
        );
        assert_eq!(code(Reason::BucketDropping), Code::BucketNotFound);
        assert_eq!(code(Reason::Mismatch), Code::Conflict);
    }
}
