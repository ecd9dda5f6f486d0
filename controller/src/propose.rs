//! Changes: proposed to the local log, or passed on to the leader, until they are committed and applied or
//! the time is up. The request id makes every repetition harmless.

mod barrier;
mod codec;
mod forward;

use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::{GroupId, RequestId, Revision};
use coracle_proto::record::Outcome;
use coracle_proto::status::{Code, Refusal};
use coracle_proto::{attr, trace};
use coracle_raft::ProposeError;
use tracing::field::Empty;
use tracing::{Instrument as _, debug, info_span};

use crate::clock;
use crate::context::Context;
use crate::model::{self, Command, Envelope, FORMAT_DECISIONS};
use crate::ways::Failed;

pub(crate) use barrier::{barrier, committed, read};
pub(crate) use forward::{drive, propose_forwarded, serve};

/// Elections end sooner than this unless there is no majority (design, Elections: at most 1.6 s, twice in a row).
pub(crate) const LEADER_WAIT: Duration = Duration::from_millis(3_500);
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
    /// The function must not have changed after this revision; zero: it may.
    pub(crate) expected: Revision,
    /// The leader decided it by itself, in this term: it is proposed here and in this term, or not at all.
    pub(crate) term: Option<u64>,
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
        let request = RequestId::new(rand::random());
        Self { request, since, expected: Revision::ZERO, term: None, command }
    }

    /// What the leader of this term decided by itself. A successor decides by what it knows, not by this.
    pub(crate) fn decided(context: &Context, term: u64, command: Command) -> Self {
        Self { term: Some(term), ..Self::own(context, command) }
    }
}

/// Proposes until there is an answer or the deadline passes.
///
/// # Errors
/// The command's refusal; `no-quorum` when nothing was proposed; `outcome-unknown` when it may have been.
pub(crate) async fn propose(context: &Context, ask: Ask, deadline: Instant) -> Result<Decided, Refusal> {
    let span = info_span!(
        attr::SPAN_PROPOSE,
        otel.status_code = Empty,
        otel.status_description = Empty,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        { attr::ERROR_TYPE } = Empty,
        { attr::REVISION } = Empty,
    );
    let creates = matches!(ask.command, Command::CreateCluster { .. });
    let format = context.hub.state().cluster().map(|cluster| cluster.version);
    let raises = matches!(ask.command, Command::RaiseFormat { .. });
    if let Some(format) = format.filter(|_| !raises) {
        check_format(ask.command.format(), format)?;
    }
    // Voters of an older program would stop at a term in the envelope, until all are known to read it.
    let carried = ask.term.filter(|_| raises || format >= Some(FORMAT_DECISIONS));
    let envelope = Envelope {
        cluster: context.cluster,
        group: GroupId::META,
        request: ask.request,
        since: ask.since,
        time_ms: clock::unix_ms(),
        random: rand::random(),
        expected: ask.expected,
        trace: trace::current(),
        term: carried,
        command: ask.command,
    };
    let first = Attempt { envelope: model::codec::encode(&envelope), creates, term: ask.term, deadline };
    let result = attempt_until(context, first).instrument(span.clone()).await;
    match &result {
        Ok(decided) => {
            span.record(attr::REVISION, decided.revision.get());
            context.metrics.proposed("ok");
        }
        Err(refusal) => {
            trace::failed(&span, refusal);
            context.metrics.proposed(refusal.code.name());
        }
    }
    result
}

/// Refuses what some voter may not understand: it would stop there.
fn check_format(command: u32, cluster: u32) -> Result<(), Refusal> {
    if command <= cluster {
        return Ok(());
    }
    let sentence = format!(
        "the command has format {command}, the cluster is at {cluster}: upgrade all controllers first"
    );
    Err(Refusal::new(Code::UpgradeRequired, sentence))
}

/// What every attempt proposes.
struct Attempt {
    envelope: Bytes,
    /// It makes the cluster: nothing else is proposed before.
    creates: bool,
    /// A decision of this term: never passed on.
    term: Option<u64>,
    deadline: Instant,
}

async fn attempt_until(context: &Context, asked: Attempt) -> Result<Decided, Refusal> {
    let begun = clock::now();
    // Of the last attempt that may have been proposed, if any.
    let mut unknown = None;
    let mut last = Refusal::new(Code::NoQuorum, "there is no leader");
    for _ in 0..ATTEMPTS_MAX {
        let now = clock::now();
        let waited = now.saturating_duration_since(unknown.unwrap_or(begun));
        if now >= asked.deadline || waited >= LEADER_WAIT {
            break;
        }
        match attempt(context, &asked).await {
            Ok(decided) => return Ok(decided),
            Err(Failed::Final(refusal)) => return Err(refusal),
            Err(Failed::NotStarted(refusal)) => last = refusal,
            Err(Failed::Unknown(refusal)) => {
                unknown = Some(clock::now());
                last = refusal;
            }
        }
        debug!(reason = %last, "not proposed yet");
        tokio::time::sleep(PAUSE).await;
    }
    let code = if unknown.is_some() { Code::OutcomeUnknown } else { Code::NoQuorum };
    let seconds = clock::now().saturating_duration_since(begun).as_secs_f32();
    Err(Refusal::new(code, format!("no answer from a leader in {seconds:.1} s: {}", last.message)))
}

async fn attempt(context: &Context, asked: &Attempt) -> Result<Decided, Failed> {
    let (envelope, deadline) = (asked.envelope.clone(), asked.deadline);
    let (term, leader) = context.raft.leader();
    let here = leader.as_ref().is_some_and(|leader| leader.node == context.node);
    if let Some(decided) = asked.term.filter(|decided| !here || *decided != term) {
        let sentence = format!("decided in term {decided}, in which this node leads no more");
        return Err(Failed::Final(Refusal::new(Code::NoQuorum, sentence)));
    }
    match leader {
        Some(leader) if leader.node != context.node => {
            forward::forward(context, &leader, envelope, deadline).await
        }
        Some(_) | None if !asked.creates && context.hub.state().cluster().is_none() => {
            Err(Failed::NotStarted(not_made_yet()))
        }
        Some(_) | None => codec::decided(&propose_here(context, envelope, deadline).await?),
    }
}

async fn propose_here(context: &Context, envelope: Bytes, deadline: Instant) -> Result<Bytes, Failed> {
    // What a leader without a majority writes may yet be committed, when nobody waits for it any more.
    if context.lost_quorum() {
        let sentence = "the leader has not heard of a majority lately";
        return Err(Failed::NotStarted(Refusal::new(Code::NoQuorum, sentence)));
    }
    let now = clock::now();
    // Whoever appends it stamps it: time is that of one clock, and not of the fastest one.
    let stamped = model::codec::stamped(&envelope, context.clock.at(now));
    match tokio::time::timeout(deadline.saturating_duration_since(now), context.raft.propose(stamped)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Failed::Unknown(Refusal::new(Code::TimedOut, "no majority answered in time"))),
    }
}

fn not_made_yet() -> Refusal {
    Refusal::new(Code::NoQuorum, "the cluster is being made")
}

fn failed(error: &ProposeError) -> Failed {
    let sentence = error.to_string();
    match error {
        ProposeError::NotLeader { .. } | ProposeError::NoQuorum { .. } => {
            Failed::NotStarted(Refusal::new(Code::NoQuorum, sentence))
        }
        ProposeError::TooLarge { .. } => Failed::Final(Refusal::new(Code::LimitReached, sentence)),
        ProposeError::Membership { .. } => Failed::Final(Refusal::new(Code::Internal, sentence)),
        ProposeError::OutcomeUnknown { .. }
        | ProposeError::TimedOut { .. }
        | ProposeError::Stopped { .. } => Failed::Unknown(Refusal::new(Code::OutcomeUnknown, sentence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_not_all_voters_know_is_refused() {
        assert!(check_format(1, 1).is_ok() && check_format(1, 2).is_ok());
        assert_eq!(check_format(2, 1).unwrap_err().code, Code::UpgradeRequired);
    }
}
