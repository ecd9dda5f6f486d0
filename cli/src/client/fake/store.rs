//! A store for tests: it knows some invocations of the function `cart` and whatever it is given, and answers as it is
//! told.

mod blobs;
mod buckets;
mod queues;
mod schedules;
mod topics;
mod webhooks;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use coracle_proto::id::InvocationId;
use coracle_proto::pb::invocations_server::Invocations;
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::Answer;

pub(crate) use queues::queue;

/// The queue of all that a fake store knows.
const QUEUE: &str = "function/cart";

/// What it knows, how it answers, and what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) records: Vec<pb::InvocationRecord>,
    /// What it says first, whatever it is asked.
    pub(crate) refusals: VecDeque<Status>,
    /// So many changes are made and not acknowledged.
    pub(crate) lost_answers: usize,
    /// So many a page, or a move, has at most; 0: no bound.
    pub(crate) at_once: usize,
    /// What is run again stays dead.
    pub(crate) die_again: bool,
    /// After so many more reads what runs has succeeded.
    pub(crate) reads_until_end: usize,
    pub(crate) changes: Vec<pb::KvRequest>,
    pub(crate) moves: Vec<(u64, u64)>,
    pub(crate) waits_ms: Vec<u32>,
    /// Beside that of `cart`.
    pub(crate) queues: Vec<pb::QueueDetail>,
    /// So many messages come to the next queue that is told to have no function.
    pub(crate) late: u64,
    pub(crate) topics: Vec<pb::TopicDetail>,
    pub(crate) buckets: Vec<pb::KvBucket>,
    pub(crate) schedules: Vec<pb::ScheduleDetail>,
    pub(crate) webhooks: Vec<pb::WebhookDetail>,
    pub(crate) secrets: Vec<pb::SecretDetail>,
    /// By key, with the sizes of their parts.
    pub(crate) blobs: BTreeMap<String, (pb::BlobInfo, Vec<pb::BlobPart>)>,
    pub(crate) uploads: Vec<pb::BlobUpload>,
    /// Blobs that were committed, by the ids of their requests.
    pub(crate) committed: BTreeMap<Vec<u8>, pb::BlobInfo>,
    /// What was changed, a line each.
    pub(crate) log: Vec<String>,
    /// Calls for events, as often as they were asked for.
    pub(crate) submitted: Vec<pb::SubmitRequest>,
    /// What was published, each once.
    pub(crate) published: Vec<pb::PublishMessage>,
    /// What became of publishes, by their ids: what was refused is remembered as what was done.
    pub(crate) decided: BTreeMap<Vec<u8>, Result<pb::PublishReply, Refusal>>,
    /// How far the group was before each publish that was asked for, as it was told.
    pub(crate) since: Vec<u64>,
    /// Copies of messages that one publish may make; 0: no bound.
    pub(crate) copies_max: usize,
    /// After so many acknowledgements a stream breaks: what comes next is done and not acknowledged.
    pub(crate) breaks: VecDeque<usize>,
    /// A publish that has such data is refused, so often.
    pub(crate) refused_data: VecDeque<(&'static str, Code)>,
}

/// A running store.
#[derive(Debug, Clone)]
pub(crate) struct FakeStore {
    pub(crate) address: String,
    pub(super) kept: Arc<Mutex<Kept>>,
}

/// The invocation of that number, in this state.
pub(crate) fn record(number: u64, state: InvocationState) -> pb::InvocationRecord {
    pb::InvocationRecord {
        invocation: InvocationId::new(number.into()).to_wire(),
        namespace: "default".to_owned(),
        queue: QUEUE.to_owned(),
        function: "cart".to_owned(),
        kind: "async".to_owned(),
        state: state.into(),
        accepted_ms: number,
        message: number,
        ..pb::InvocationRecord::default()
    }
}

impl Kept {
    pub(super) fn refused(&mut self) -> Result<(), Status> {
        self.refusals.pop_front().map_or(Ok(()), Err)
    }

    pub(super) fn bound(&self) -> usize {
        if self.at_once == 0 { usize::MAX } else { self.at_once }
    }

    fn find(&mut self, id: &[u8]) -> Result<&mut pb::InvocationRecord, Status> {
        let unknown = || Refusal::new(Code::InvocationNotFound, "no such invocation").into();
        self.records.iter_mut().find(|record| record.invocation == id).ok_or_else(unknown)
    }

    pub(super) fn acknowledged<T>(&mut self, reply: T) -> Answer<T> {
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return Err(Status::unavailable("reset by peer"));
        }
        Ok(Response::new(reply))
    }

    fn change(
        &mut self,
        request: pb::ChangeInvocationRequest,
        to: InvocationState,
    ) -> Answer<pb::GetInvocationReply> {
        self.refused()?;
        self.changes.push(request.request.unwrap());
        let record = self.find(&request.invocation)?;
        record.state = to.into();
        let reply = pb::GetInvocationReply { record: Some(record.clone()), ..Default::default() };
        self.acknowledged(reply)
    }

    pub(super) fn shift(
        &mut self,
        request: &pb::MoveMessagesRequest,
        to: InvocationState,
    ) -> Answer<pb::MoveMessagesReply> {
        self.refused()?;
        self.moves.push((request.from, request.to));
        let (bound, stays) = (self.bound(), self.die_again);
        let in_range = |number: u64| number >= request.from && (request.to == 0 || number < request.to);
        let dead = self.records.iter_mut().filter(|record| record.state() == InvocationState::Dead);
        let meant = dead.filter(|record| in_range(record.message) && record.queue == request.queue);
        let (mut moved, mut next) = (0, 0);
        for record in meant {
            if moved == bound {
                next = record.message;
                break;
            }
            moved += 1;
            if !stays {
                record.state = to.into();
            }
        }
        let moved = u64::try_from(moved).unwrap();
        self.acknowledged(pb::MoveMessagesReply { moved, next, to: 1000 })
    }
}

impl FakeStore {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap())
    }
}

#[tonic::async_trait]
impl Invocations for FakeStore {
    async fn submit(&self, request: Request<pb::SubmitRequest>) -> Answer<pb::SubmitReply> {
        let request = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let invocation = request.invocation.clone();
            kept.submitted.push(request);
            kept.acknowledged(pb::SubmitReply { invocation, repeated: false, sequence: 42 })
        })
    }

    async fn get(&self, request: Request<pb::GetInvocationRequest>) -> Answer<pb::GetInvocationReply> {
        let request = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            kept.waits_ms.push(request.wait_ms);
            let ends = kept.reads_until_end == 0;
            kept.reads_until_end = kept.reads_until_end.saturating_sub(1);
            let record = kept.find(&request.invocation)?;
            if ends && record.state() == InvocationState::Running {
                record.state = InvocationState::Succeeded.into();
            }
            let done =
                pb::EventAnswer { status: 200, body: "done".into(), body_bytes: 4, ..Default::default() };
            let answer = request.answer.then_some(done);
            Ok(Response::new(pb::GetInvocationReply { record: Some(record.clone()), answer, sequence: 1 }))
        })
    }

    async fn list(&self, request: Request<pb::ListInvocationsRequest>) -> Answer<pb::ListInvocationsReply> {
        let request = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let skip = request.after.first().copied().map_or(0, usize::from);
            let most = kept.bound().min(request.limit as usize);
            let records: Vec<_> = kept.records.iter().skip(skip).take(most).cloned().collect();
            let seen = skip + records.len();
            let rest = seen < kept.records.len();
            let after = if rest { vec![u8::try_from(seen).unwrap()].into() } else { Vec::new().into() };
            Ok(Response::new(pb::ListInvocationsReply { records, after }))
        })
    }

    async fn cancel(&self, request: Request<pb::ChangeInvocationRequest>) -> Answer<pb::GetInvocationReply> {
        self.with(|kept| kept.change(request.into_inner(), InvocationState::Cancelled))
    }

    async fn retry(&self, request: Request<pb::ChangeInvocationRequest>) -> Answer<pb::GetInvocationReply> {
        self.with(|kept| kept.change(request.into_inner(), InvocationState::Waiting))
    }
}
