//! Keeps the table: drops what expired, compares hashes and clocks, and speaks for a node that has no data plane to speak for
//! it.

use std::sync::Arc;

use coracle_proto::pb::NodeStatus;
use coracle_proto::record::Role;
use coracle_proto::soft::ViewsTold;
use tracing::error;

use super::clocks;
use super::hashes::Mismatches;
use crate::clock;
use crate::context::Context;
use crate::soft::{INTERVAL, Via};

/// The name under which differing hashes are raised as an alarm.
const SOURCE: &str = "hashes";

/// Runs until it is dropped. `incarnation` is the number of this start.
pub(crate) async fn tend(context: Arc<Context>, incarnation: u64) {
    let alone = !context.own.is(Role::Worker) && !context.own.is(Role::Gateway);
    let (mut sequence, mut views) = (0, ViewsTold::default());
    let mut mismatches = Mismatches::default();
    loop {
        let (now, state) = (clock::now(), context.hub.state());
        context.soft.expire(now, |node| state.node(node).is_some());
        compare(&context, &mut mismatches);
        clocks::look(&context, now);
        if alone && state.node(context.node).is_some() {
            sequence += 1;
            let mut status = NodeStatus {
                node: context.node.get(),
                cluster_id: context.cluster.to_wire(),
                incarnation,
                sequence,
                view_revision: state.revision().get(),
                view_hash: state.hash().to_wire(),
                clock_ms: clock::unix_ms(),
                ..NodeStatus::default()
            };
            views.fill(&mut status);
            context.soft.accept(status, Via::Report, now);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// All the time (design, decision 16): a state that went another way must not wait until somebody asks.
fn compare(context: &Context, mismatches: &mut Mismatches) {
    for (node, revision) in mismatches.compare(&context.soft.nodes(), |at| context.hub.hash_at(at)) {
        error!(%node, %revision, own = %context.node, "another state at the same revision");
    }
    context.metrics.mismatches(mismatches.count());
    context.soft.set_alarms(SOURCE, mismatches.alarm(context.node).into_iter().collect());
}
