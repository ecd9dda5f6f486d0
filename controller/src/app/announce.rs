//! What a controller does once its log is open: a founder makes the cluster, everyone tells its present addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::record::Node;
use tracing::{debug, info, warn};

use crate::clock;
use crate::context::{Context, REQUEST_TIMEOUT};
use crate::identity::Identity;
use crate::model::{Command, FORMAT_FIRST, at_format};
use crate::propose::{Ask, propose};

/// Between two tries: without a leader there is nothing else to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Founds where it must, then keeps this node's record as it should be. Runs until it is dropped.
pub(super) async fn announce(context: Arc<Context>, identity: Identity, voters_wanted: u32) {
    if identity.founder {
        found(&context, &identity, voters_wanted).await;
    }
    let mut nodes = context.hub.subscribe_nodes();
    loop {
        nodes.mark_unchanged();
        let state = context.hub.state();
        if let Some(known) = state.node(context.node)
            && let Some(node) =
                changed(known, &context.own, state.cluster().map_or(0, |cluster| cluster.version))
        {
            info!(addresses = ?node.addresses, "telling the cluster what changed here");
            let ask = Ask::own(&context, Command::UpdateNode { node });
            if let Err(reason) = propose(&context, ask, clock::now() + REQUEST_TIMEOUT).await {
                warn!(%reason, "the cluster was not told");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        if nodes.changed().await.is_err() {
            return;
        }
    }
}

/// The record as it should be in a cluster of that format, if it differs from what is known in what a node says of itself.
fn changed(known: &Node, own: &Node, format: u32) -> Option<Node> {
    let wanted = Node { state: known.state, registered: known.registered, ..at_format(own.clone(), format) };
    (wanted != *known).then_some(wanted)
}

/// Makes the group of one and the cluster's first record. Both are done once: a repetition finds them done.
async fn found(context: &Context, identity: &Identity, voters_wanted: u32) {
    if let Err(reason) =
        context.raft.initialize(BTreeMap::from([(context.node, context.own.addresses.grpc.clone())])).await
    {
        debug!(%reason, "the group exists");
    }
    let mut revisions = context.hub.subscribe();
    while context.hub.state().cluster().is_none() {
        let command = Command::CreateCluster {
            name: identity.cluster_name.clone(),
            first: at_format(context.own.clone(), FORMAT_FIRST),
            voters_wanted,
        };
        match propose(context, Ask::own(context, command), clock::now() + REQUEST_TIMEOUT).await {
            Ok(decided) => {
                // The proposal is applied on the leader, which is this node: the record is here already.
                debug!(revision = %decided.revision, "the cluster is made");
            }
            Err(reason) => {
                warn!(%reason, "the cluster is not made yet");
                let _ = tokio::time::timeout(PAUSE, revisions.changed()).await;
            }
        }
    }
}
