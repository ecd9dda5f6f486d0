//! A store that keeps messages in memory, over real gRPC. It does what a test tells it to.

pub(crate) mod blobs;
pub(crate) mod chunks;
mod queues;
mod records;
mod seen;
mod served;
mod values;
mod verdicts;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use coracle_proto::id::InvocationId;
use coracle_proto::pb::blobs_server::BlobsServer;
use coracle_proto::pb::chunks_server::ChunksServer;
use coracle_proto::pb::deliveries_server::DeliveriesServer;
use coracle_proto::pb::groups_server::GroupsServer;
use coracle_proto::pb::invocations_server::InvocationsServer;
use coracle_proto::pb::key_value_server::KeyValueServer;
use coracle_proto::pb::queues_server::QueuesServer;
use coracle_proto::pb::webhooks_server::WebhooksServer;
use coracle_proto::pb::{self, settle_reply, settle_request};
use coracle_proto::status::{Code, Refusal};
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status};

pub(crate) use self::blobs::BlobBucket;
use self::chunks::Kept;
use self::served::Served;
use self::values::Values;
use self::verdicts::{has_answer, has_effects, overtaken};

/// The group that it has.
pub(crate) const GROUP: u32 = 1;
/// Attempts of each message.
const ATTEMPTS_MAX: u32 = 3;

/// A message, from its acceptance on.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) delivery: pb::Delivery,
    pub(crate) state: pb::InvocationState,
    pub(crate) reports: Vec<pb::AttemptReport>,
    pub(crate) answer: Option<pb::EventAnswer>,
    pub(crate) last_error: String,
    ready_at: Instant,
    /// The number of the reply that it was given out with.
    given: u64,
    key: String,
    fingerprint: Vec<u8>,
}

/// All that it has, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) messages: Vec<Message>,
    /// Requests as they came.
    pub(crate) takes: Vec<pb::TakeRequest>,
    pub(crate) settles: Vec<pb::SettleRequest>,
    pub(crate) submits: Vec<pb::SubmitRequest>,
    pub(crate) publishes: Vec<pb::PublishRequest>,
    pub(crate) hooked: Vec<pb::DeliverWebhookRequest>,
    /// Queues of people, and topics with how many have subscribed to them.
    pub(crate) queues: BTreeSet<String>,
    pub(crate) topics: BTreeMap<String, u32>,
    pub(crate) writes: Vec<pb::KvWriteRequest>,
    /// Values of buckets.
    pub(crate) buckets: BTreeMap<String, Values>,
    /// Buckets of blobs, by `BUCKET` or `NAMESPACE/BUCKET`, and how many calls led to each commit.
    pub(crate) blob_buckets: BTreeMap<String, BlobBucket>,
    pub(crate) blob_hops: Vec<u32>,
    pub(crate) kept: Kept,
    /// Times that it was asked how far it is.
    pub(crate) asked: u32,
    /// Requests to cancel, or to give another life.
    pub(crate) changes: u32,
    /// Requests that were done, by their ids.
    done: BTreeSet<Vec<u8>>,
    /// Says that another one leads.
    pub(crate) follows: bool,
    /// So many of the next changes are done, and their answers lost.
    pub(crate) loses: u32,
    /// So many of the next changes are neither done nor answered.
    pub(crate) deaf: u32,
    /// Refuses submissions, and what is published, with it.
    pub(crate) refuses: Option<Code>,
    /// Refuses settlements that have an answer with it.
    pub(crate) refuses_answers: Option<Code>,
    /// Refuses the next settlements that have effects with these.
    pub(crate) refuses_effects: Vec<Code>,
    /// The version of the one value that all calls read and change: what is settled with another one is overtaken.
    pub(crate) hot: Option<Arc<AtomicU64>>,
    /// Settles without doing what calls did, as stores of an earlier release do.
    pub(crate) drops_effects: bool,
    sequence: u64,
    number: u64,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

/// The store. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    _stop: DropGuard,
}

impl Store {
    pub(crate) async fn start() -> Self {
        let state = Mutex::new(State { sequence: 100, ..State::default() });
        let inner = Arc::new(Inner { state, changed: Notify::new() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let served = Served(Arc::clone(&inner));
        let serving = tonic::transport::Server::builder()
            .add_service(DeliveriesServer::new(served.clone()))
            .add_service(InvocationsServer::new(served.clone()))
            .add_service(QueuesServer::new(served.clone()))
            .add_service(KeyValueServer::new(served.clone()))
            .add_service(WebhooksServer::new(served.clone()))
            .add_service(BlobsServer::new(served.clone()))
            .add_service(ChunksServer::new(served.clone()))
            .add_service(GroupsServer::new(served))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(serving).await });
        Self { address, inner, _stop: stop.drop_guard() }
    }

    /// Looks at it, or changes how it behaves.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// How many messages it has, and how many requests to publish there were.
    pub(crate) fn published(&self) -> (usize, usize) {
        let state = self.state();
        (state.messages.len(), state.publishes.len())
    }

    /// A message for a function of the namespace `default`: a POST to `/f` with that text.
    pub(crate) fn put(&self, function: &str, id: u128, text: &str) {
        let http = pb::EventHttp {
            method: "POST".to_owned(),
            uri: format!("http://localhost/{function}"),
            route: format!("/{function}"),
            ..Default::default()
        };
        let (kind, data) = ("async".to_owned(), text.to_owned().into());
        self.put_body(function, id, pb::EventBody { kind, http: Some(http), data, ..Default::default() });
    }

    pub(crate) fn put_body(&self, function: &str, id: u128, body: pb::EventBody) {
        let mut state = self.state();
        let message = state.message("default", function, InvocationId::new(id).to_wire(), body);
        state.messages.push(message);
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// Nobody wants it any more.
    pub(crate) fn cancel(&self, index: usize) {
        self.state().messages[index].state = pb::InvocationState::Cancelled;
        self.inner.changed.notify_waiters();
    }

    pub(crate) fn message(&self, index: usize) -> Message {
        self.state().messages[index].clone()
    }

    /// Whether all that it has ended well.
    pub(crate) fn all_done(&self) -> bool {
        self.state().messages.iter().all(|it| it.state == pb::InvocationState::Succeeded)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn message(
        &mut self,
        namespace: &str,
        function: &str,
        invocation: bytes::Bytes,
        body: pb::EventBody,
    ) -> Message {
        let ticket = pb::Ticket {
            namespace: namespace.to_owned(),
            queue: format!("function/{function}"),
            message: self.messages.len() as u64 + 1,
            ..Default::default()
        };
        let delivery = pb::Delivery {
            ticket: Some(ticket),
            attempt: 0,
            function: function.to_owned(),
            invocation,
            body: Some(body),
            accepted_ms: 1,
            how: None,
        };
        Message {
            delivery,
            state: pb::InvocationState::Waiting,
            reports: vec![],
            answer: None,
            last_error: String::new(),
            ready_at: crate::clock::now(),
            given: 0,
            key: String::new(),
            fingerprint: vec![],
        }
    }

    fn claimed(&mut self, ticket: &pb::Ticket) -> Option<&mut Message> {
        let held = |it: &&mut Message| {
            it.state == pb::InvocationState::Running && it.delivery.ticket.as_ref() == Some(ticket)
        };
        self.messages.iter_mut().find(held)
    }

    fn give(&mut self, request: &pb::TakeRequest) -> Vec<pb::Delivery> {
        let (places, full, now) = (request.places as usize, &request.full, crate::clock::now());
        let number = self.number + 1;
        // What the node never got.
        for message in self.messages.iter_mut().filter(|it| it.state == pb::InvocationState::Running) {
            if message.given > request.heard
                && !request.running.contains(message.delivery.ticket.as_ref().unwrap())
            {
                message.state = pb::InvocationState::Waiting;
                message.delivery.attempt -= 1;
            }
        }
        let mut given = Vec::new();
        for index in 0..self.messages.len() {
            let sequence = self.sequence + 1;
            let message = &mut self.messages[index];
            let ticket = message.delivery.ticket.as_mut().unwrap();
            let ready = message.state == pb::InvocationState::Waiting && message.ready_at <= now;
            if given.len() < places && ready && full.iter().all(|it| it.queue != ticket.queue) {
                (ticket.fence_term, ticket.fence_sequence) = (7, sequence);
                message.delivery.attempt += 1;
                (message.state, message.given) = (pb::InvocationState::Running, number);
                given.push(message.delivery.clone());
                self.sequence = sequence;
            }
        }
        given
    }

    /// Whether a request is to be done, and whether its answer arrives.
    fn comes(&mut self, request: Option<&pb::KvRequest>) -> Result<bool, Status> {
        if self.follows {
            return Err(Refusal::new(Code::NotLeader, "another one leads").into());
        }
        if self.deaf > 0 {
            self.deaf -= 1;
            return Err(Status::unavailable("it was lost"));
        }
        let request = request.unwrap();
        assert!(request.since >= 100, "{request:?}");
        Ok(self.done.insert(request.id.to_vec()))
    }

    fn answers<T>(&mut self, answer: T) -> Result<Response<T>, Status> {
        if self.loses > 0 {
            self.loses -= 1;
            return Err(Status::unavailable("the answer was lost"));
        }
        Ok(Response::new(answer))
    }

    /// Those of the others that nobody holds.
    fn done_with(&mut self, ticket: &pb::Ticket, others: Vec<pb::SettleOther>) -> Vec<u64> {
        let mut gone = Vec::new();
        for other in others {
            let pb::SettleOther { message, fence_term, fence_sequence, report } = other;
            match self.claimed(&pb::Ticket { message, fence_term, fence_sequence, ..ticket.clone() }) {
                Some(it) => {
                    it.state = pb::InvocationState::Succeeded;
                    it.reports.extend(report);
                }
                None => gone.push(message),
            }
        }
        gone
    }

    fn settle(&mut self, request: pb::SettleRequest) -> Result<pb::SettleReply, Refusal> {
        let ticket = request.ticket.clone().unwrap();
        let drops = self.drops_effects;
        let lost = || Refusal::new(Code::ClaimLost, "the claim is not held any more");
        let mut refuses = self.refuses_answers.filter(|_| has_answer(&request));
        if has_effects(&request) {
            refuses = refuses.or_else(|| self.refuses_effects.pop()).or_else(|| overtaken(self, &request));
        }
        let others = match &request.verdict {
            Some(settle_request::Verdict::Done(it)) => it.others.clone(),
            _ => vec![],
        };
        let is_held = self.claimed(&ticket).is_some();
        if let (Some(code), true) = (refuses, is_held) {
            return Err(Refusal::new(code, "no"));
        }
        let (count, gone) = (others.len(), self.done_with(&ticket, others));
        if !is_held && gone.len() < count {
            let effects = match &request.verdict {
                Some(settle_request::Verdict::Done(it)) => u32::try_from(it.effects.len()).unwrap(),
                _ => 0,
            };
            let lost = [vec![ticket.message], gone].concat();
            return Ok(pb::SettleReply {
                fate: Some(settle_reply::Fate::Done(pb::SettledDone { effects, lost })),
            });
        }
        let message = self.claimed(&ticket).ok_or_else(lost)?;
        message.reports.extend(request.report);
        let dead = message.delivery.attempt >= ATTEMPTS_MAX;
        let fate = match request.verdict.unwrap() {
            settle_request::Verdict::Done(it) => {
                (message.state, message.answer) = (pb::InvocationState::Succeeded, it.answer);
                let effects = if drops { 0 } else { u32::try_from(it.effects.len()).unwrap() };
                settle_reply::Fate::Done(pb::SettledDone { effects, lost: gone })
            }
            settle_request::Verdict::Retry(it) if !dead => {
                message.ready_at = crate::clock::now() + Duration::from_millis(it.after_ms.unwrap_or(0));
                (message.state, message.last_error) = (pb::InvocationState::Waiting, it.error);
                settle_reply::Fate::Retried(pb::SettledRetried::default())
            }
            settle_request::Verdict::Retry(pb::SettleRetry { error, answer, .. })
            | settle_request::Verdict::Dead(pb::SettleDead { error, answer }) => {
                (message.state, message.answer, message.last_error) =
                    (pb::InvocationState::Dead, answer, error);
                settle_reply::Fate::Dead(pb::SettledDead::default())
            }
            settle_request::Verdict::Offer(it) => {
                message.delivery.attempt -= 1;
                message.ready_at = crate::clock::now() + Duration::from_millis(it.after_ms);
                (message.state, message.last_error) = (pb::InvocationState::Waiting, it.error);
                settle_reply::Fate::Offered(pb::SettledOffered {})
            }
        };
        Ok(pb::SettleReply { fate: Some(fate) })
    }

    fn submit(&mut self, request: pb::SubmitRequest) -> Result<pb::SubmitReply, Refusal> {
        if let Some(code) = self.refuses {
            return Err(Refusal::new(code, "no"));
        }
        let key = request.idempotency_key;
        let source = |body: &Option<pb::EventBody>| body.as_ref().unwrap().source.clone();
        let known = self.messages.iter().find(|it| {
            !key.is_empty() && it.key == key && source(&it.delivery.body) == source(&request.body)
        });
        if let Some(known) = known {
            if known.fingerprint != request.fingerprint {
                return Err(Refusal::new(Code::IdempotencyConflict, "another request had that key"));
            }
            let invocation = known.delivery.invocation.clone();
            return Ok(pb::SubmitReply { invocation, repeated: true, sequence: self.next() });
        }
        let (place, invocation) = (request.place.unwrap(), request.invocation.clone());
        let message =
            self.message(&place.namespace, &request.function, request.invocation, request.body.unwrap());
        self.messages.push(Message { key, fingerprint: request.fingerprint.to_vec(), ..message });
        Ok(pb::SubmitReply { invocation, repeated: false, sequence: self.next() })
    }
}
