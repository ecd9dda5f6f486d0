//! The word of an attempt: said until it is acknowledged, or nobody wants it any more.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::GroupId;
use coracle_proto::status::{Again, Code, Refusal};
use coracle_proto::trace;
use tracing::Instrument as _;

use super::again::{Why, given_back};
use super::{Inner, sent, span};
use crate::clock;
use crate::stores::{Acknowledged, Fate, Report, Settlement, Verdict};

/// One request, with all the members that it is sent to. A settlement that was done and is sent under another id finds
/// its claim gone, and changes nothing.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Before the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// Settles an attempt. It is bounded by the claim: one that has lapsed is lost, and the group's other requests tell that too.
pub(super) async fn settle(inner: &Inner, group: GroupId, settlement: &Settlement) -> Settled {
    let span = span::settle(settlement);
    let settling = async {
        let (said, settled) = match say(inner, group, settlement).await {
            Ok(acknowledged) if settlement.verdict == Verdict::Done => (Ok(acknowledged), Settled::Done),
            Ok(acknowledged) => (Ok(acknowledged), Settled::Otherwise),
            Err(refusal) => {
                sent::give_up(inner, &settlement.ticket.namespace, &settlement.effects);
                instead(inner, group, settlement, refusal).await
            }
        };
        match said {
            Ok(acknowledged) => {
                span.record(attr::FATE, acknowledged.fate.name());
                count(inner, settlement, &acknowledged);
                check_done(inner, group, settlement, &acknowledged);
            }
            Err(refusal) => {
                trace::failed(&span, &refusal);
                given_up(inner, group, settlement, &refusal);
            }
        }
        settled
    };
    settling.instrument(span.clone()).await
}

/// What became of what a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// All of it is done, also where that is nothing.
    Done,
    /// Nothing of it: the call is made again, for this reason and with this said of it.
    Again(Why, String),
    /// Nothing of it, and it never will be: what is said of it.
    Never(String),
    /// It was to do nothing, or nobody holds its message any more.
    Otherwise,
}

/// What is said where a settlement was refused, of its own message alone.
async fn instead(
    inner: &Inner,
    group: GroupId,
    settlement: &Settlement,
    refusal: Refusal,
) -> (Result<Acknowledged, Refusal>, Settled) {
    if let Some((why, error)) = again(settlement, &refusal) {
        let again = given_back(inner, &settlement.ticket, why, error.clone());
        return (say(inner, group, &again).await, Settled::Again(why, error));
    }
    match lighter(settlement, &refusal) {
        Some((lighter, error)) => {
            unsettled(group, settlement, &refusal);
            (say(inner, group, &lighter).await, Settled::Never(error))
        }
        None => (Err(refusal), Settled::Otherwise),
    }
}

/// Counts each message by what became of it.
fn count(inner: &Inner, settlement: &Settlement, acknowledged: &Acknowledged) {
    let events = &inner.metrics.events;
    let others = if acknowledged.fate == Fate::Done { &settlement.others[..] } else { &[] };
    for ticket in std::iter::once(&settlement.ticket).chain(others.iter().map(|other| &other.ticket)) {
        if acknowledged.lost.contains(&ticket.message) {
            events.lost.inc();
        } else {
            events.settled(acknowledged.fate);
        }
        if acknowledged.fate != Fate::Offered {
            inner.again.forget(ticket);
        }
    }
}

/// Says it until there is an answer that would be the same however often it is said.
async fn say(inner: &Inner, group: GroupId, settlement: &Settlement) -> Result<Acknowledged, Refusal> {
    loop {
        let deadline = clock::now() + ASK_MAX;
        match inner.stores.settle(group, settlement, deadline).await {
            // A full queue that the call publishes to is told at once: others are run meanwhile.
            Err(refusal) if refusal.code.retry() != Again::Never && refusal.code != Code::QueueFull => {
                tracing::debug!(%group, code = %refusal.code, %refusal, "an attempt is not settled yet");
            }
            said => return said,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is said instead where what the call did was refused for what others do: nothing of it was done, and it is made again, uncounted,
/// until its message is too old. None where that is not why.
fn again(settlement: &Settlement, refusal: &Refusal) -> Option<(Why, String)> {
    if settlement.effects_count() == 0 {
        return None;
    }
    match refusal.code {
        Code::Conflict => {
            Some((Why::Overtaken, format!("what it had read was changed meanwhile: {refusal}")))
        }
        // A queue is emptied again, and so is a bucket.
        Code::QueueFull | Code::LimitReached => Some((Why::Full, undone(refusal))),
        _ => None,
    }
}

/// A store of an earlier release acknowledges a call without doing what it did.
fn check_done(inner: &Inner, group: GroupId, settlement: &Settlement, acknowledged: &Acknowledged) {
    let (effects, done) = (settlement.effects_count(), acknowledged.effects);
    if acknowledged.fate == Fate::Done && effects != done {
        inner.metrics.events.undone.inc();
        let (queue, message) = (&settlement.ticket.queue, settlement.ticket.message);
        tracing::error!(%group, queue, message, effects, done, "not all that a call did was done with its end: upgrade the store");
    }
}

/// What is said instead of what was refused, so that somebody learns why: without the answer, and with the refusal as the
/// error, which it tells beside. What was done is not done again for it: it would be refused again. None where nobody would listen.
fn lighter(settlement: &Settlement, refusal: &Refusal) -> Option<(Settlement, String)> {
    if refusal.code == Code::ClaimLost {
        return None;
    }
    let error = match settlement.effects_count() == 0 {
        true => format!("what it came to was refused: {}: {refusal}", refusal.code),
        false => undone(refusal),
    };
    let verdict = match &settlement.verdict {
        // What was sent is gone: run anew it is sent anew.
        Verdict::Done if refusal.code == Code::UploadNotFound => {
            Verdict::Retry { after: None, error: error.clone() }
        }
        Verdict::Done | Verdict::Dead { .. } => Verdict::Dead { error: error.clone() },
        Verdict::Retry { after, .. } => Verdict::Retry { after: *after, error: error.clone() },
        Verdict::Offer { .. } => return None,
    };
    let report = settlement.report.clone().map(|report| Report { error: error.clone(), ..report });
    Some((Settlement { report, ..Settlement::offered(settlement.ticket.clone(), verdict) }, error))
}

/// Why nothing of what a call did in the platform was done, for people.
fn undone(refusal: &Refusal) -> String {
    format!("what it wrote and published was refused: {}: {refusal}", refusal.code)
}

/// What was done counts for nothing.
fn given_up(inner: &Inner, group: GroupId, settlement: &Settlement, refusal: &Refusal) {
    let ticket = &settlement.ticket;
    let (queue, message) = (&ticket.queue, ticket.message);
    if refusal.code == Code::ClaimLost {
        inner.metrics.events.lost.inc();
        tracing::info!(%group, queue, message, fence = %ticket.fence, "an attempt was settled too late: it counts for nothing");
    } else {
        unsettled(group, settlement, refusal);
    }
}

fn unsettled(group: GroupId, settlement: &Settlement, refusal: &Refusal) {
    let (queue, message) = (&settlement.ticket.queue, settlement.ticket.message);
    tracing::warn!(%group, queue, message, code = %refusal.code, %refusal, "an attempt cannot be settled");
}
