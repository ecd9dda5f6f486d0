//! What the leader does beside Raft: it watches the nodes, keeps the members, places functions, orders copies.

use std::sync::Arc;

use tracing::{Instrument as _, info, info_span};

use crate::context::Context;
use crate::{liveness, membership, reconcile, soft};

/// Runs until it is dropped. Everything that the leader's work knows ends with its term.
pub(crate) async fn lead(context: Arc<Context>) {
    let mut status = context.raft.subscribe();
    let me = context.node;
    loop {
        let Ok(term) = status.wait_for(|now| now.leader == Some(me)).await.map(|now| now.term) else {
            return;
        };
        let span = info_span!("lead", term);
        info!(parent: &span, "this node leads");
        let lost = status.wait_for(|now| now.leader != Some(me) || now.term != term);
        tokio::select! {
            ended = lost => if ended.is_err() { return },
            () = work(&context).instrument(span.clone()) => {}
        }
        info!(parent: &span, "this node leads no more");
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
