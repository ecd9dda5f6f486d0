//! What may be asked of the state, and the envelope in which it is asked.

use std::collections::BTreeSet;

use coracle_proto::id::{
    ClusterId, Digest, Epoch, FunctionId, GroupId, NodeId, RequestId, Revision, VersionId,
};
use coracle_proto::record::{Kind, Node, NodeState, Weight};
use coracle_proto::route::{RouteGrant, RouteSpec};
use coracle_proto::spec::FunctionSpec;

use super::cluster::{
    FORMAT_BLOBS, FORMAT_DECISIONS, FORMAT_GRANTS, FORMAT_GROUPS, FORMAT_REUSE, FORMAT_STATE,
};

/// A command with what makes it safe to repeat, to misdirect and to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The cluster that is meant.
    pub cluster: ClusterId,
    /// The Raft group that is meant.
    pub group: GroupId,
    /// Made by the first client and kept on each retry.
    pub request: RequestId,
    /// The revision that the client had seen before its first attempt.
    pub since: Revision,
    /// Stamped by the leader that appends it, Unix milliseconds.
    pub time_ms: u64,
    /// A random word of the proposer's, for commands that need one.
    pub random: u64,
    /// The command's function must not have changed after this revision; zero: it may have.
    pub expected: Revision,
    /// W3C `traceparent` of whoever asks; empty for none.
    pub trace: String,
    /// A decision that a leader made by itself, in this term: in the log of another term it counts for nothing.
    pub term: Option<u64>,
    /// What is asked.
    pub command: Command,
}

impl Envelope {
    /// The first format that has it as it is here: voters of a lower one cannot apply it.
    #[must_use]
    pub fn format(&self) -> u32 {
        let command = self.command.format();
        if self.term.is_some() { command.max(FORMAT_DECISIONS) } else { command }
    }
}

/// What may be asked of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes the cluster, with the envelope's cluster id and its first node.
    CreateCluster {
        /// For people.
        name: String,
        /// Gets the first id; must be a controller.
        first: Node,
        /// How many voters the cluster should have.
        voters_wanted: u32,
    },
    /// A new node; its id is given out here.
    RegisterNode {
        /// Without id, state and when it joined.
        node: Node,
    },
    /// Tells anew what a node is after its restart: everything but its state and when it joined.
    UpdateNode {
        /// With its id.
        node: Node,
    },
    /// A verdict about a node, or the wish that it goes. A leaving node stays so.
    MarkNode {
        /// Which node.
        node: NodeId,
        /// What it is from now on.
        state: NodeState,
    },
    /// Ends a leaving or dead node and its replicas; its id is never used again.
    RemoveNode {
        /// Which node.
        node: NodeId,
    },
    /// A new version, which gets all calls when it is ready; the first one of a function gets them at once.
    Deploy {
        /// Whose version; made if there is none.
        function: FunctionId,
        /// What it is granted.
        spec: FunctionSpec,
        /// The function's routes from now on; none: its name.
        routes: Vec<RouteSpec>,
        /// Whom the function lets have routes below its own from now on.
        route_grants: Vec<RouteGrant>,
        /// Its artifact.
        digest: Digest,
        /// Bytes of the artifact.
        size: u64,
        /// What the artifact is.
        kind: Kind,
    },
    /// Divides a function's calls among its versions anew, when they are ready.
    SetTraffic {
        /// Whose calls.
        function: FunctionId,
        /// At least one part; each version once.
        traffic: Vec<Weight>,
    },
    /// Ends a function with all its versions, routes and replicas.
    DeleteFunction {
        /// Which function.
        function: FunctionId,
    },
    /// Takes over the planner's decisions, as far as they still fit.
    Assign {
        /// Each of its own version.
        placements: Vec<Placement>,
        /// Each of its own function.
        switches: Vec<Switch>,
    },
    /// How many voters the cluster should have from now on.
    SetVotersWanted {
        /// How many.
        voters: u32,
    },
    /// Every controller reads commands of this format: from now on they may be proposed.
    RaiseFormat {
        /// Which one; never goes down.
        format: u32,
    },
    /// Brings the cluster's time up to that of the envelope, and nothing else.
    KeepTime,
    /// Who the members of a data group are to be. The first group gets every slot.
    SetGroup {
        /// Which group; made if there is none.
        group: GroupId,
        /// One at least, each with the role.
        members: BTreeSet<NodeId>,
        /// It has had a leader. A group that has begun stays so.
        begun: bool,
    },
}

impl Command {
    /// The first format of commands that has it as it is here: voters of a lower one cannot apply it.
    #[must_use]
    pub fn format(&self) -> u32 {
        match self {
            Self::CreateCluster { first: node, .. }
            | Self::RegisterNode { node }
            | Self::UpdateNode { node }
                if node.keeps() =>
            {
                FORMAT_GROUPS
            }
            Self::SetGroup { .. } => FORMAT_GROUPS,
            Self::Deploy { spec, kind, .. } if !spec.blobs().is_empty() || *kind == Kind::EventComponent => {
                FORMAT_BLOBS
            }
            Self::Deploy { spec, .. } if spec.has_state() => FORMAT_STATE,
            Self::Deploy { spec, .. } if spec.reuse().is_some() => FORMAT_REUSE,
            Self::Deploy { route_grants, .. } if !route_grants.is_empty() => FORMAT_GRANTS,
            Self::CreateCluster { .. }
            | Self::RegisterNode { .. }
            | Self::UpdateNode { .. }
            | Self::MarkNode { .. }
            | Self::RemoveNode { .. }
            | Self::Deploy { .. }
            | Self::SetTraffic { .. }
            | Self::DeleteFunction { .. }
            | Self::Assign { .. }
            | Self::SetVotersWanted { .. } => 1,
            Self::KeepTime => FORMAT_DECISIONS,
            Self::RaiseFormat { format } if *format > FORMAT_DECISIONS => *format,
            Self::RaiseFormat { .. } => FORMAT_DECISIONS,
        }
    }
}

/// What a function's calls wait for is ready: they go there from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Whose calls.
    pub function: FunctionId,
    /// [`Function::updated`](coracle_proto::record::Function::updated) as it was seen: what was asked for since
    /// then may not be ready.
    pub updated: Revision,
}

/// A change of who holds a version. Drops come before additions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// What is held.
    pub version: VersionId,
    /// Nodes that shall hold it.
    pub add: Vec<NodeId>,
    /// Assignments that end; one with another epoch was made anew since and stays.
    pub drop: Vec<(NodeId, Epoch)>,
}
