//! Changes: proposed to the local log, or passed on to the leader, until they are committed and applied or
//! the time is up. The request id makes every repetition harmless.

mod barrier;

use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::attr;
use coracle_proto::codec::outcome_from_wire;
use coracle_proto::id::{GroupId, NodeId, RequestId, Revision};
use coracle_proto::pb::{self, control_client::ControlClient};
use coracle_proto::record::Outcome;
use coracle_proto::status::{Again, Code, Refusal};
use coracle_proto::trace;
use coracle_raft::ProposeError;
use prost::Message as _;
use tracing::{Instrument as _, debug, info_span};

use crate::clock;
use crate::context::Context;
use crate::model::{Command, Envelope, codec};

pub(crate) use barrier::{barrier, lead_barrier};

/// Elections end sooner than this unless there is no majority (design, Elections: at most 1.6 s, twice in a row).
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// Between two attempts: long enough for a new leader to be known, short beside an election.
const PAUSE: Duration = Duration::from_millis(50);
/// With the pause alone more than the longest deadline; bounds attempts that fail at once.
const ATTEMPTS_MAX: u32 = 1000;

/// A change that somebody asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Kept on each retry.
    pub(crate) request: RequestId,
    /// What the asker had seen before its first attempt.
    pub(crate) since: Revision,
    /// The revision at which the function must stand; zero for any.
    pub(crate) expected: Revision,
    /// What is asked.
    pub(crate) command: Command,
}

/// What an accepted change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    /// Never a rejection: that is an error here.
    pub(crate) outcome: Outcome,
    /// The revision that it made.
    pub(crate) revision: Revision,
}

impl Ask {
    /// A change of this controller's own.
    pub(crate) fn own(context: &Context, command: Command) -> Self {
        let since = context.hub.state().revision();
        Self { request: RequestId::new(rand::random()), since, expected: Revision::ZERO, command }
    }

    /// A change that a client asks for.
    ///
    /// # Errors
    /// When the context is no request id.
    pub(crate) fn from_client(
        context: &Context,
        asked: Option<pb::ChangeContext>,
        command: Command,
    ) -> Result<Self, Refusal> {
        let Some(asked) = asked else { return Ok(Self::own(context, command)) };
        let request = RequestId::try_from(&asked.request_id[..])
            .map_err(|error| Refusal::new(Code::InvalidArgument, format!("request_id: {error}")))?;
        let (since, expected) = (Revision::new(asked.since), Revision::new(asked.expected));
        Ok(Self { request, since, expected, command })
    }
}

/// Why an attempt failed, and what may be done.
enum Failed {
    /// Nothing was proposed.
    NotStarted(Refusal),
    /// It may have been proposed.
    Unknown(Refusal),
    /// The answer.
    Final(Refusal),
}

/// Proposes until there is an answer or the deadline passes.
///
/// # Errors
/// The command's refusal; `no-quorum` when nothing was proposed; `outcome-unknown` when it may have been.
pub(crate) async fn propose(context: &Context, ask: Ask, deadline: Instant) -> Result<Decided, Refusal> {
    let span = info_span!(
        attr::SPAN_PROPOSE,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        { attr::ERROR_TYPE } = tracing::field::Empty,
        { attr::REVISION } = tracing::field::Empty,
    );
    let outer = span.clone();
    async move {
        let envelope = Envelope {
            cluster: context.cluster,
            group: GroupId::META,
            request: ask.request,
            since: ask.since,
            time_ms: clock::unix_ms(),
            random: rand::random(),
            expected: ask.expected,
            command: ask.command,
        };
        let result = attempt_until(context, codec::encode(&envelope).into(), deadline).await;
        match &result {
            Ok(decided) => {
                span.record(attr::REVISION, decided.revision.get());
                context.metrics.proposed("ok");
            }
            Err(refusal) => {
                span.record(attr::ERROR_TYPE, refusal.code.name());
                context.metrics.proposed(refusal.code.name());
            }
        }
        result
    }
    .instrument(outer)
    .await
}

async fn attempt_until(context: &Context, envelope: Bytes, deadline: Instant) -> Result<Decided, Refusal> {
    let begun = clock::now();
    let mut unknown = false;
    let mut last = Refusal::new(Code::NoQuorum, "there is no leader");
    for _ in 0..ATTEMPTS_MAX {
        let now = clock::now();
        let waited = now.saturating_duration_since(begun);
        if now >= deadline || (context.raft.status().leader.is_none() && waited >= LEADER_WAIT) {
            break;
        }
        match attempt(context, envelope.clone(), deadline).await {
            Ok(reply) => return decided(reply),
            Err(Failed::Final(refusal)) => return Err(refusal),
            Err(Failed::NotStarted(refusal)) => last = refusal,
            Err(Failed::Unknown(refusal)) => {
                unknown = true;
                last = refusal;
            }
        }
        debug!(reason = %last, "not proposed yet");
        tokio::time::sleep(PAUSE).await;
    }
    let code = if unknown { Code::OutcomeUnknown } else { Code::NoQuorum };
    let seconds = clock::now().saturating_duration_since(begun).as_secs_f32();
    Err(Refusal::new(code, format!("no answer from a leader in {seconds:.1} s: {}", last.message)))
}

async fn attempt(context: &Context, envelope: Bytes, deadline: Instant) -> Result<pb::ProposeReply, Failed> {
    match context.raft.status().leader {
        Some(leader) if leader != context.node => forward(context, leader, envelope, deadline).await,
        Some(_) | None => propose_here(context, envelope, deadline).await,
    }
}

async fn propose_here(context: &Context, envelope: Bytes, deadline: Instant) -> Result<pb::ProposeReply, Failed> {
    let left = deadline.saturating_duration_since(clock::now());
    match tokio::time::timeout(left, context.raft.propose(envelope)).await {
        Ok(Ok(reply)) => pb::ProposeReply::decode(reply)
            .map_err(|error| Failed::Final(Refusal::new(Code::Internal, error.to_string()))),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Failed::Unknown(Refusal::new(Code::TimedOut, "no majority answered in time"))),
    }
}

async fn forward(
    context: &Context,
    leader: NodeId,
    envelope: Bytes,
    deadline: Instant,
) -> Result<pb::ProposeReply, Failed> {
    let nowhere = || Refusal::new(Code::NoQuorum, format!("the address of the leader, node {leader}, is unknown"));
    let address = context.grpc_of(leader).ok_or_else(|| Failed::NotStarted(nowhere()))?;
    let channel = context.peers.channel(&address).map_err(Failed::NotStarted)?;
    context.metrics.forwarded();
    let mut request = trace::request(pb::ProposeRequest { envelope });
    request.set_timeout(deadline.saturating_duration_since(clock::now()).min(FORWARD_TIMEOUT));
    let reply = ControlClient::new(channel).propose(request).await;
    reply.map(tonic::Response::into_inner).map_err(|status| {
        let refusal = Refusal::from_status(&status);
        // Only a code that the leader wrote tells that nothing was done; a lost connection tells nothing.
        let told = status.metadata().contains_key(coracle_proto::status::CODE_METADATA);
        match refusal.code.retry() {
            Again::NotStarted if told => Failed::NotStarted(refusal),
            Again::Never if told => Failed::Final(refusal),
            Again::Never | Again::NotStarted | Again::Unknown => Failed::Unknown(refusal),
        }
    })
}

/// A leader that does not answer by then may be stopped: the next attempt asks whoever leads by then.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(3);

/// Takes an envelope that another controller passed on: proposed here or not at all.
///
/// # Errors
/// `no-quorum` when this node does not lead, so that the sender looks for the leader again.
pub(crate) async fn propose_forwarded(
    context: &Context,
    envelope: Bytes,
    deadline: Instant,
) -> Result<pb::ProposeReply, Refusal> {
    propose_here(context, envelope, deadline).await.map_err(|failed| match failed {
        Failed::NotStarted(refusal) | Failed::Final(refusal) => refusal,
        Failed::Unknown(refusal) => Refusal::new(Code::OutcomeUnknown, refusal.message),
    })
}

fn failed(error: &ProposeError) -> Failed {
    let sentence = error.to_string();
    match error {
        ProposeError::NotLeader { .. } => Failed::NotStarted(Refusal::new(Code::NoQuorum, sentence)),
        _ => Failed::Unknown(Refusal::new(Code::OutcomeUnknown, sentence)),
    }
}

fn decided(reply: pb::ProposeReply) -> Result<Decided, Refusal> {
    let wire = pb::Outcome::decode(reply.outcome)
        .map_err(|error| Refusal::new(Code::Internal, format!("the leader's answer: {error}")))?;
    match outcome_from_wire(wire)? {
        Outcome::Rejected(refusal) => Err(refusal),
        outcome @ (Outcome::Done
        | Outcome::NodeRegistered(_)
        | Outcome::Deployed { .. }
        | Outcome::Assigned { .. }) => Ok(Decided { outcome, revision: Revision::new(reply.revision) }),
    }
}
