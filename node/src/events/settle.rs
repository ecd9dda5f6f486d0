//! The word of an attempt: said until it is acknowledged, or nobody wants it any more.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::GroupId;
use coracle_proto::status::{Again, Code, Refusal};
use coracle_proto::trace;
use tracing::Instrument as _;

use super::{Inner, span};
use crate::clock;
use crate::stores::Settlement;

/// One request, with all the members that it is sent to. A settlement that was done and is sent under another id finds
/// its claim gone, and changes nothing.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Before the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// Settles an attempt. It is bounded by the claim: one that has lapsed is lost, and the group's other requests tell that too.
pub(super) async fn settle(inner: &Inner, group: GroupId, settlement: &Settlement) {
    let span = span::settle(settlement);
    let settling = async {
        loop {
            let deadline = clock::now() + ASK_MAX;
            let refusal = match inner.stores.settle(group, settlement, deadline).await {
                Ok(fate) => {
                    span.record(attr::FATE, fate.name());
                    inner.metrics.events.settled(fate);
                    return;
                }
                Err(refusal) => refusal,
            };
            if refusal.code.retry() == Again::Never {
                trace::failed(&span, &refusal);
                refused(inner, group, settlement, &refusal);
                return;
            }
            tracing::debug!(%group, code = %refusal.code, %refusal, "an attempt is not settled yet");
            tokio::time::sleep(PAUSE).await;
        }
    };
    settling.instrument(span.clone()).await;
}

/// What was done counts for nothing.
fn refused(inner: &Inner, group: GroupId, settlement: &Settlement, refusal: &Refusal) {
    let ticket = &settlement.ticket;
    let (queue, message) = (&ticket.queue, ticket.message);
    if refusal.code == Code::ClaimLost {
        inner.metrics.events.lost.inc();
        tracing::info!(%group, queue, message, fence = %ticket.fence, "an attempt was settled too late: it counts for nothing");
    } else {
        tracing::warn!(%group, queue, message, code = %refusal.code, %refusal, "an attempt cannot be settled");
    }
}
