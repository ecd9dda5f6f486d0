//! One data plane's stream of statuses, each answered with orders.

use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_proto::pb;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};
use tracing::debug;

use super::Via;
use crate::clock;
use crate::context::Context;

/// Serves the stream until the data plane leaves.
pub(crate) async fn report(
    context: Arc<Context>,
    mut statuses: Streaming<pb::NodeStatus>,
    out: mpsc::Sender<Result<pb::Orders, Status>>,
) {
    let mut via = Via::NewReport;
    while let Some(status) = statuses.next().await {
        let answer = match status {
            Ok(status) => take(&context, status, std::mem::replace(&mut via, Via::Report)),
            Err(status) => {
                debug!(reason = %status, "a data plane's reports ended");
                return;
            }
        };
        let failed = answer.is_err();
        if out.send(answer).await.is_err() || failed {
            return;
        }
    }
}

fn take(context: &Context, status: pb::NodeStatus, via: Via) -> Result<pb::Orders, Status> {
    context.check_cluster(&status.cluster_id)?;
    let node = NodeId::new(status.node);
    let now = clock::now();
    let state = context.hub.state();
    context.check_not_removed(node)?;
    // A node that registered a moment ago may not be in this controller's state yet: its next report counts.
    if state.node(node).is_some() {
        context.soft.accept(status, via, now);
    }
    Ok(context.orders.of(node, now))
}
