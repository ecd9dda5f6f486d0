//! The word of an attempt: said until it is acknowledged, or nobody wants it any more.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::GroupId;
use coracle_proto::status::{Again, Code, Refusal};
use coracle_proto::trace;
use tracing::Instrument as _;

use super::{Inner, span};
use crate::clock;
use crate::stores::{Fate, Report, Settlement, Verdict};

/// One request, with all the members that it is sent to. A settlement that was done and is sent under another id finds
/// its claim gone, and changes nothing.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Before the next one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a message waits whose call is made again because others changed what it had read.
const AGAIN_MS: std::ops::RangeInclusive<u64> = 5..=50;

/// Settles an attempt. It is bounded by the claim: one that has lapsed is lost, and the group's other requests tell that too.
pub(super) async fn settle(inner: &Inner, group: GroupId, settlement: &Settlement) {
    let span = span::settle(settlement);
    let settling = async {
        let mut said = say(inner, group, settlement).await;
        if let Err(refusal) = &said
            && let Some(again) = again(settlement, refusal)
        {
            said = say(inner, group, &again).await;
        } else if let Err(refusal) = &said
            && let Some(lighter) = lighter(settlement, refusal)
        {
            unsettled(group, settlement, refusal);
            said = say(inner, group, &lighter).await;
        }
        match said {
            Ok(fate) => {
                span.record(attr::FATE, fate.name());
                inner.metrics.events.settled(fate);
            }
            Err(refusal) => {
                trace::failed(&span, &refusal);
                given_up(inner, group, settlement, &refusal);
            }
        }
    };
    settling.instrument(span.clone()).await;
}

/// Says it until there is an answer that would be the same however often it is said.
async fn say(inner: &Inner, group: GroupId, settlement: &Settlement) -> Result<Fate, Refusal> {
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

/// What is said instead where what the call did was refused for what others do: nothing of it was done, and it is made again. None
/// where that is not why.
fn again(settlement: &Settlement, refusal: &Refusal) -> Option<Settlement> {
    if settlement.effects.is_empty() {
        return None;
    }
    let (verdict, report) = match refusal.code {
        Code::Conflict => {
            // Two that met do not meet again.
            let after = Duration::from_millis(rand::random_range(AGAIN_MS));
            let error = format!("what it had read was changed meanwhile: {refusal}");
            (Verdict::Offer { after, error }, None)
        }
        // A queue is emptied again, and so is a bucket.
        Code::QueueFull | Code::LimitReached => {
            let error = undone(refusal);
            let report = settlement.report.clone().map(|report| Report { error: error.clone(), ..report });
            (Verdict::Retry { after: None, error }, report)
        }
        _ => return None,
    };
    Some(Settlement { ticket: settlement.ticket.clone(), report, verdict, answer: None, effects: Vec::new() })
}

/// What is said instead of what was refused, so that somebody learns why: without the answer, and with the refusal as the
/// error. What was done is not done again for it: it would be refused again. None where nobody would listen.
fn lighter(settlement: &Settlement, refusal: &Refusal) -> Option<Settlement> {
    if refusal.code == Code::ClaimLost {
        return None;
    }
    let error = match settlement.effects.is_empty() {
        true => format!("what it came to was refused: {}: {refusal}", refusal.code),
        false => undone(refusal),
    };
    let verdict = match &settlement.verdict {
        Verdict::Done | Verdict::Dead { .. } => Verdict::Dead { error: error.clone() },
        Verdict::Retry { after, .. } => Verdict::Retry { after: *after, error: error.clone() },
        Verdict::Offer { .. } => return None,
    };
    let report = settlement.report.clone().map(|report| Report { error, ..report });
    Some(Settlement { ticket: settlement.ticket.clone(), report, verdict, answer: None, effects: Vec::new() })
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
