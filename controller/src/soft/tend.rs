//! Keeps the table: drops what expired, and speaks for a node that has no data plane to speak for it.

use std::sync::Arc;

use coracle_proto::pb::NodeStatus;
use coracle_proto::record::Role;

use super::{INTERVAL, Via};
use crate::clock;
use crate::context::Context;

/// Runs until it is dropped.
pub(crate) async fn tend(context: Arc<Context>) {
    let incarnation = clock::unix_ms();
    let alone = !context.own.is(Role::Worker) && !context.own.is(Role::Gateway);
    let mut sequence = 0;
    loop {
        let (now, state) = (clock::now(), context.hub.state());
        context.soft.expire(now, |node| state.node(node).is_some());
        if alone && state.node(context.node).is_some() {
            sequence += 1;
            let status = NodeStatus {
                node: context.node.get(),
                cluster_id: context.cluster.to_wire(),
                incarnation,
                sequence,
                view_revision: state.revision().get(),
                view_hash: state.hash().to_wire(),
                ..NodeStatus::default()
            };
            context.soft.accept(status, Via::Report, now);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
