//! What every part of the controller shares.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::record::Node;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::Raft;
use tokio_util::sync::CancellationToken;

use crate::clock::ClusterClock;
use crate::machine::MetaMachine;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::silent::Silent;
use crate::soft::{OrdersBook, OrdersPolicy, SoftTable};
use crate::watch::Hub;
use crate::ways::{Link, Reads};

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
    /// Workers that did not answer lately.
    pub(crate) silent: Silent,
    /// The log.
    pub(crate) raft: Raft<MetaMachine>,
    /// How late it is, as far as most nodes agree.
    pub(crate) clock: ClusterClock,
    /// The way of proposals to the leader.
    pub(crate) link: Link,
    /// What its reads ask the leader.
    pub(crate) reads: Reads,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// The cluster has no record of this node any more.
    pub(crate) removed: CancellationToken,
    /// Ends long streams, and tells those who ask about health to go elsewhere.
    pub(crate) closing: CancellationToken,
}

/// A leader hears of its followers with each heartbeat (100 ms by default).
const LOST_AFTER: Duration = Duration::from_secs(2);

impl Context {
    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.leader().1.map(|leader| leader.node)
    }

    /// Whether this node leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// Whether this node leads and has not heard of a majority lately.
    pub(crate) fn lost_quorum(&self) -> bool {
        self.raft.lost_majority(LOST_AFTER)
    }

    /// Where another node's controller is reached.
    pub(crate) fn grpc_of(&self, node: NodeId) -> Option<String> {
        let state = self.hub.state();
        let address = &state.node(node)?.addresses.grpc;
        (!address.is_empty()).then(|| address.clone())
    }

    /// Refuses a node that had an id and has no record any more.
    pub(crate) fn check_not_removed(&self, node: NodeId) -> Result<(), Refusal> {
        let state = self.hub.state();
        let given_out = state.cluster().is_some_and(|cluster| node < cluster.next_node);
        if node.get() == 0 || !given_out || state.node(node).is_some() {
            return Ok(());
        }
        let sentence = format!("node {node} was removed: it must join as a new node");
        Err(Refusal::new(Code::NodeRemoved, sentence))
    }

    /// Refuses while the log has not reached this node: it may never do so, for not all controllers are members
    /// of Raft's group, and whoever waited here would be thought dead elsewhere.
    pub(crate) async fn check_follows(&self) -> Result<(), Refusal> {
        let mut revisions = self.hub.subscribe();
        let known = revisions.wait_for(|_| self.hub.state().cluster().is_some());
        if tokio::time::timeout(FOLLOWS_WITHIN, known).await.is_ok() {
            return Ok(());
        }
        let sentence =
            format!("node {} does not know the cluster's state: ask another controller", self.node);
        Err(Refusal::new(Code::NoQuorum, sentence))
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

/// A cluster that is just made, or a learner that is just added, has its state sooner: whoever asks it waits so long.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);

/// The longest that a request waits when its caller names no deadline.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
