//! What the leader does beside Raft: it watches the nodes, keeps the members, places functions, orders copies.

use std::sync::Arc;

use coracle_raft::{Role, Status};
use tracing::{Instrument as _, debug_span, info};

use crate::context::Context;
use crate::{liveness, membership, reconcile, soft};

/// Runs until it is dropped. Everything that the leader's work knows ends with its term.
pub(crate) async fn lead(context: Arc<Context>) {
    let mut status = context.raft.watch();
    while let Some(Status { term, .. }) = status.until(|now| now.role == Role::Leader).await {
        // Below what traces record: everything done in this term would stand in one endless trace.
        let span = debug_span!("lead", term);
        context.soft.clear_alarms();
        info!(term, "this node leads");
        let lost = status.until(|now| now.role != Role::Leader || now.term != term);
        tokio::select! {
            ended = lost => if ended.is_none() { return },
            () = work(&context).instrument(span) => {}
        }
        context.soft.clear_alarms();
        info!(term, "this node leads no more");
    }
}

async fn work(context: &Context) {
    tokio::join!(
        liveness::monitor(context),
        membership::drive(context),
        reconcile::drive(context),
        soft::order(context),
    );
}
