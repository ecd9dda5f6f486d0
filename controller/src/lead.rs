//! What the leader does beside Raft: it watches the nodes, keeps the seats of Raft's group, places functions, orders copies,
//! keeps the cluster's record. Each is a [`duty`] with a file of its own; what decides is pure and elsewhere.

mod duty;
mod groups;
mod liveness;
mod orders;
mod placement;
mod seats;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use coracle_raft::{Role, Status};
use tracing::{Instrument as _, debug, debug_span, info};

use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::propose::barrier;

use self::duty::Leading;

/// Between two tries to bring the state up to date.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until it is dropped; that the log has stopped is told elsewhere (`app::stopped`). Everything that the leader's work knows ends with its term.
pub(crate) async fn lead(context: Arc<Context>) {
    let mut status = context.raft.watch();
    while let Some(Status { term, .. }) = status.until(|now| now.role == Role::Leader).await {
        // Below what traces record: everything done in this term would stand in one endless trace.
        let span = debug_span!("lead", term);
        context.soft.clear_alarms();
        info!(term, "this node leads");
        let lost = status.until(|now| now.role != Role::Leader || now.term != term);
        tokio::select! {
            ended = lost => if ended.is_none() { break },
            () = work(&context, term).instrument(span) => {}
        }
        context.soft.clear_alarms();
        info!(term, "this node leads no more");
    }
    std::future::pending().await
}

async fn work(context: &Context, term: u64) {
    // Members change as soon as they are logged, the state when it is applied: what the leader before committed
    // must be here before anything is decided by it.
    while let Err(reason) = barrier(context, clock::now() + REQUEST_TIMEOUT).await {
        debug!(%reason, "the state may be behind: nothing is decided yet");
        tokio::time::sleep(PAUSE).await;
    }
    let leading = Leading { context, term };
    tokio::join!(
        liveness::judge(leading),
        seats::seat(leading),
        placement::place(leading),
        orders::order(leading),
        upkeep::keep(leading),
        groups::keep(leading),
    );
}
