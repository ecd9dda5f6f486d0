//! Writes the leader's orders into the book, once an interval and only while a majority confirms the leader.

use tracing::debug;

use super::{INTERVAL, compute};
use crate::clock;
use crate::context::Context;

/// Runs until it is dropped.
pub(crate) async fn order(context: &Context) {
    let mut urgent = context.soft.subscribe_urgent();
    loop {
        // The statuses of a whole interval come first: a new leader knows nobody's artifacts yet.
        // Whether it was the interval or a change that ended the wait makes no difference.
        let _ = tokio::time::timeout(INTERVAL, urgent.changed()).await;
        match context.raft.read_barrier().await {
            Ok(_) => {
                let now = clock::now();
                let orders = compute(&context.hub.state(), &context.soft.nodes(), context.policy, now);
                context.orders.put(orders, now);
            }
            Err(reason) => debug!(%reason, "no orders are given"),
        }
    }
}
