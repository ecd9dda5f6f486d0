//! What every part of the controller shares.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::record::Node;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Raft, Role};
use tokio_util::sync::CancellationToken;

use crate::machine::MetaMachine;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::soft::{OrdersBook, OrdersPolicy, SoftTable};
use crate::watch::Hub;

/// Shared by the services and the background tasks of one controller.
#[derive(Debug)]
pub(crate) struct Context {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// This node.
    pub(crate) node: NodeId,
    /// What this node says of itself.
    pub(crate) own: Node,
    /// The state as last applied here.
    pub(crate) hub: Arc<Hub>,
    /// Statuses and alarms.
    pub(crate) soft: Arc<SoftTable>,
    /// What the leader wants of workers.
    pub(crate) orders: OrdersBook,
    /// How artifacts are kept.
    pub(crate) policy: OrdersPolicy,
    /// Connections.
    pub(crate) peers: Peers,
    /// The log.
    pub(crate) raft: Raft<MetaMachine>,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Ends long streams, and tells those who ask about health to go elsewhere.
    pub(crate) closing: CancellationToken,
}

impl Context {
    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.status().leader.map(|leader| leader.node)
    }

    /// Whether this node leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// Whether this node leads and has not heard of a majority lately.
    pub(crate) fn lost_quorum(&self) -> bool {
        let status = self.raft.status();
        let leads_others = status.role == Role::Leader && status.voters.len() > 1;
        leads_others && status.quorum_acked.is_none_or(|ago| ago >= QUORUM_LOST_AFTER)
    }

    /// Where another node's controller is reached.
    pub(crate) fn grpc_of(&self, node: NodeId) -> Option<String> {
        let state = self.hub.state();
        let address = &state.node(node)?.addresses.grpc;
        (!address.is_empty()).then(|| address.clone())
    }

    /// Refuses what belongs to another cluster; an empty id is of whatever cluster answers.
    pub(crate) fn check_cluster(&self, id: &[u8]) -> Result<(), Refusal> {
        if id.is_empty() || id == self.cluster.to_bytes() {
            return Ok(());
        }
        let theirs = ClusterId::try_from(id).map_or_else(|error| error.to_string(), |id| id.to_string());
        let sentence = format!("this is a node of cluster {}, the request is of {theirs}", self.cluster);
        Err(Refusal::new(Code::WrongCluster, sentence))
    }
}

/// A leader hears of its followers with each heartbeat (100 ms by default).
const QUORUM_LOST_AFTER: Duration = Duration::from_secs(2);

/// The longest that a request waits when its caller names no deadline.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
