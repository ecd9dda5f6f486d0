//! Whether a cluster has come up: all nodes alive, as many voters as there should be, and stores that keep something.

use std::time::Duration;

use coracle_controller::model::VOTERS_WANTED_DEFAULT;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::{StatusReply, StatusRequest};
use coracle_transport::{Dialer, Purpose};

use crate::address::Address;
use crate::client::keeps;

/// One look is not to hang on a node that just started; the whole wait is bounded by the caller.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);
/// `dev` leaves it at that.
const VOTERS: usize = VOTERS_WANTED_DEFAULT as usize;

/// Looks until the cluster is complete.
pub(super) async fn wait_alive(cluster: &[Address], count: usize) {
    loop {
        for address in cluster {
            // A node that is not there yet is no failure here: the caller sees those that ended.
            if look(address).await.is_some_and(|status| complete(&status, count)) {
                return;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn look(address: &Address) -> Option<StatusReply> {
    let channel = Dialer::new(Purpose::Question(LOOK_TIMEOUT)).connect(address).await.ok()?;
    let reply = AdminClient::new(channel).status(StatusRequest { stale: false }).await.ok()?;
    Some(reply.into_inner())
}

fn complete(status: &StatusReply, count: usize) -> bool {
    let alive = status.nodes.iter().filter(|node| node.liveness == "alive").count();
    let voters = status.nodes.iter().filter(|node| node.voter).count();
    // What is deployed at once may want something kept.
    let stores = status.nodes.iter().filter(|node| keeps(node)).count();
    status.leader != 0 && alive >= count && voters >= count.min(VOTERS) && stores >= count
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::{Node, NodeDetail, Role};

    use super::*;

    fn node(liveness: &str, voter: bool) -> NodeDetail {
        let node = Some(Node { roles: vec![Role::Store.into()], ..Node::default() });
        NodeDetail { node, voter, liveness: liveness.to_owned(), ..NodeDetail::default() }
    }

    #[test]
    fn a_cluster_is_complete_with_its_leader_its_nodes_and_its_voters() {
        let nodes = vec![node("alive", true), node("alive", true), node("alive", true), node("alive", false)];
        let status = StatusReply { leader: 1, nodes, ..StatusReply::default() };
        assert!(complete(&status, 4));
        assert!(!complete(&status, 5));
        assert!(!complete(&StatusReply { leader: 0, ..status.clone() }, 4));
        let nodes = vec![node("alive", true), node("alive", false), node("alive", true)];
        assert!(!complete(&StatusReply { nodes, ..status.clone() }, 3), "a voter is missing");
        let mut nodes = status.nodes.clone();
        nodes[3].node = None;
        assert!(!complete(&StatusReply { nodes, ..status }, 4), "a store is missing");
    }
}
