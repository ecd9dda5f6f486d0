//! One stream to the leader for all proposals of this controller: what waits goes together, answers come by number.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::{ForwardAnswers, ForwardBatch, Forwarded};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::Leader;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use tracing::{Instrument as _, debug};

use super::{Failed, lost, refused_to_connect, single};
use crate::clock::{self, millis};
use crate::context::Context;
use crate::ways::{Answer, Waiting};

/// Proposals of one stream that are not answered yet: more would only wait in the leader's memory.
pub(super) const OPEN_MAX: usize = 1024;
/// Bytes after which no further proposal goes into a batch. One has at most 1 MiB (`COMMAND_BYTES_MAX`): together they stay
/// below the 4 MiB of a message.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that HTTP/2 has not taken yet: what waits for them grows the next one.
const BATCHES_MAX: usize = 2;
/// A leader that lives answers at once; one that cannot be reached is not waited for as long as an election takes.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// A leader that is replaced is noticed within this.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Keeps the stream, to whoever leads. Runs until it is dropped, and once.
pub(crate) async fn drive(context: Arc<Context>) {
    let Some(mut queue) = context.link.take() else { return };
    while let Some(first) = queue.recv().await {
        match context.raft.leader() {
            (term, Some(leader)) if leader.node != context.node => {
                pass_to(&context, &leader, term, first, &mut queue).await;
            }
            // Who asked looks again where to go.
            _ => first.not_sent(Refusal::new(Code::NoQuorum, "the leader changed")),
        }
    }
}

/// Opens a stream to the leader of this term and uses it until it breaks or the leader is another one.
async fn pass_to(
    context: &Context,
    leader: &Leader,
    term: u64,
    first: Waiting,
    queue: &mut mpsc::Receiver<Waiting>,
) {
    let mut session = match Session::open(context, leader).await {
        Ok(session) => session,
        Err(NoSession::Older(channel)) => {
            one_by_one(&channel, first, queue);
            return;
        }
        Err(NoSession::Unreached(refusal)) => {
            debug!(leader = %leader.node, reason = %refusal, "no way to the leader");
            first.not_sent(refusal.clone());
            while let Ok(waiting) = queue.try_recv() {
                waiting.not_sent(refusal.clone());
            }
            return;
        }
    };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held = Some(first);
    let why = loop {
        let room = session.open.len() < OPEN_MAX;
        tokio::select! {
            place = session.out.clone().reserve_owned(), if held.is_some() && room => match (place, held.take()) {
                (Ok(place), Some(first)) => {
                    held = session.send(place, first, queue);
                    context.metrics.forwarded_together();
                }
                _ => break "the stream ended".to_owned(),
            },
            next = queue.recv(), if held.is_none() && room => match next {
                Some(next) => held = Some(next),
                None => break "this controller ends".to_owned(),
            },
            answers = session.answers.message() => match answers {
                Ok(Some(answers)) => session.answer(answers),
                Ok(None) => break "the stream ended".to_owned(),
                Err(status) => break status.message().to_owned(),
            },
            _ = looks.tick() => {
                let (now, leads) = context.raft.leader();
                if now != term || leads.is_none_or(|leads| leads.node != leader.node) {
                    break "another leader is elected".to_owned();
                }
            }
        }
    };
    debug!(leader = %leader.node, why, open = session.open.len(), "the stream to the leader ends");
    if let Some(held) = held {
        held.not_sent(Refusal::new(Code::NoQuorum, why.as_str()));
    }
    session.lose(&why);
}

/// Each way has its own bound: the queue's, and the time that each one waits.
fn one_by_one(channel: &Channel, first: Waiting, queue: &mut mpsc::Receiver<Waiting>) {
    let waiting = std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok()));
    for waiting in waiting {
        tokio::spawn(single::pass(channel.clone(), waiting).in_current_span());
    }
}

/// Why there is no stream; nothing was sent.
enum NoSession {
    /// The leader's program knows no such stream.
    Older(Channel),
    /// There is no way to it.
    Unreached(Refusal),
}

/// A stream that is open.
#[derive(Debug)]
struct Session {
    leader: NodeId,
    out: mpsc::Sender<ForwardBatch>,
    answers: Streaming<ForwardAnswers>,
    open: HashMap<u64, oneshot::Sender<Answer>>,
    next: u64,
}

impl Session {
    /// Nothing was sent yet: an error says that nothing was done.
    async fn open(context: &Context, leader: &Leader) -> Result<Self, NoSession> {
        let address = context.grpc_of(leader.node).unwrap_or_else(|| leader.address.clone());
        let channel = context.peers.channel(&address).map_err(NoSession::Unreached)?;
        let mut client = ControlClient::new(channel.clone());
        let (out, batches) = mpsc::channel(BATCHES_MAX);
        let unreached = |what: &str| {
            let sentence = format!("leader {} at {address} {what}", leader.node);
            NoSession::Unreached(Refusal::new(Code::NoQuorum, sentence))
        };
        match timeout(OPEN_TIMEOUT, client.forward(ReceiverStream::new(batches))).await {
            Ok(Ok(reply)) => {
                let (answers, open) = (reply.into_inner(), HashMap::new());
                Ok(Self { leader: leader.node, out, answers, open, next: 0 })
            }
            Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => Err(NoSession::Older(channel)),
            Ok(Err(status)) if refused_to_connect(&status) => Err(unreached("does not listen")),
            Ok(Err(status)) => Err(unreached(status.message())),
            Err(_) => Err(unreached("does not answer")),
        }
    }

    /// Sends what waits, as far as it goes into one batch; what does not comes back.
    fn send(
        &mut self,
        place: mpsc::OwnedPermit<ForwardBatch>,
        first: Waiting,
        queue: &mut mpsc::Receiver<Waiting>,
    ) -> Option<Waiting> {
        let mut batch = ForwardBatch::default();
        let (mut bytes, mut held) = (0, Some(first));
        while let Some(waiting) = held.take().or_else(|| queue.try_recv().ok()) {
            if bytes >= BATCH_BYTES || self.open.len() >= OPEN_MAX {
                held = Some(waiting);
                break;
            }
            if waiting.leader != self.leader {
                waiting.not_sent(Refusal::new(Code::NoQuorum, "the leader changed"));
                continue;
            }
            // Given up while it waited.
            if !waiting.ticket.take() {
                continue;
            }
            bytes += waiting.envelope.len();
            self.next += 1;
            batch.proposals.push(Forwarded {
                number: self.next,
                envelope: waiting.envelope,
                timeout_ms: millis(waiting.deadline.saturating_duration_since(clock::now())),
                traceparent: waiting.trace,
            });
            self.open.insert(self.next, waiting.answer);
        }
        if !batch.proposals.is_empty() {
            place.send(batch);
        }
        held
    }

    fn answer(&mut self, answers: ForwardAnswers) {
        for answer in answers.answers {
            if let Some(waiting) = self.open.remove(&answer.number) {
                // Whoever asked may have left.
                let _ = waiting.send(Ok(answer));
            }
        }
    }

    /// What was sent and not answered may have been done.
    fn lose(self, why: &str) {
        for (_, waiting) in self.open {
            let _ = waiting.send(Err(Failed::Unknown(lost(why))));
        }
    }
}
