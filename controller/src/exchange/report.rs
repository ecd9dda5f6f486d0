//! One data plane's stream of statuses, each answered with orders.

use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_proto::pb;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};
use tracing::debug;

use crate::clock;
use crate::context::Context;
use crate::soft::{Accepted, Via};

/// Serves the stream until the data plane leaves.
pub(crate) async fn report(
    context: Arc<Context>,
    mut statuses: Streaming<pb::NodeStatus>,
    out: mpsc::Sender<Result<pb::Orders, Status>>,
) {
    let mut via = Via::NewReport;
    while let Some(status) = statuses.next().await {
        let answer = match status {
            Ok(status) => take(&context, status, &mut via),
            Err(status) => {
                debug!(reason = %status, "a data plane's reports ended");
                return;
            }
        };
        let Some(answer) = answer.transpose() else { continue };
        let failed = answer.is_err();
        if out.send(answer).await.is_err() || failed {
            return;
        }
    }
}

/// The answer; none to a part of a status.
fn take(context: &Context, status: pb::NodeStatus, via: &mut Via) -> Result<Option<pb::Orders>, Status> {
    context.check_cluster(&status.cluster_id)?;
    let node = NodeId::new(status.node);
    let (now, more) = (clock::now(), status.more);
    let state = context.hub.state();
    context.check_not_removed(node)?;
    // A node that registered a moment ago may not be in this controller's state yet: its next report counts.
    let known = state.node(node).is_some();
    let accepted = known.then(|| context.soft.accept(status, *via, now));
    if more {
        return Ok(None);
    }
    *via = Via::Report;
    let whole = match accepted {
        // A last part without those before it.
        Some(Accepted::Gap | Accepted::Part) => true,
        Some(Accepted::Stale | Accepted::Renewed | Accepted::Changed) | None => false,
    };
    Ok(Some(pb::Orders { whole, ..context.orders.of(node, now) }))
}
