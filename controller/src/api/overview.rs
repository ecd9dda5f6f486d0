//! What users see of the cluster: out of the state, the statuses and what Raft says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::codec::node_to_wire;
use coracle_proto::id::{FunctionId, NodeId, VersionId};
use coracle_proto::pb::{
    ArtifactShortage, FunctionDetail, FunctionSummary, InfoReply, NodeDetail, NodeProcesses, ReplicaPhase,
    RolloutReplica, RouteSpec, StatusReply,
};
use coracle_proto::record::{Function, Node, NodeState, Replica, Role};
use coracle_proto::status::{Code, Refusal};

use crate::alarms;
use crate::clock::{self, millis};
use crate::context::Context;
use crate::liveness::detector::POLICY;
use crate::model::{COMMAND_FORMAT, ClusterState};
use crate::propose::barrier;
use crate::soft::{ReplicaTold, Seen, TOLD_WITHIN, copies, replica_to_wire};

/// How long `status` waits for a leader before it says that there is none.
const QUORUM_WAIT: Duration = Duration::from_secs(1);
/// Who asks for what this node knows does not wait for others, but for a moment.
const QUORUM_WAIT_STALE: Duration = Duration::from_millis(500);
/// Shortages named one by one; the alarm has their number.
const SHORT_MAX: usize = 100;

/// Who answers, and where the cluster is reached.
pub(super) fn info(context: &Context) -> InfoReply {
    let state = context.hub.state();
    let of_role = |role, address: fn(&Node) -> &String| -> Vec<String> {
        let nodes = state.nodes().filter(|node| node.is(role) && node.state == NodeState::Alive);
        nodes.map(|node| address(node).clone()).filter(|address| !address.is_empty()).collect()
    };
    InfoReply {
        cluster_id: context.cluster.to_wire(),
        cluster_name: state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default(),
        revision: state.revision().get(),
        node: context.node.get(),
        version: context.own.version.clone(),
        controllers: of_role(Role::Controller, |node| &node.addresses.grpc),
        gateways: of_role(Role::Gateway, |node| &node.addresses.http),
    }
}

/// The whole cluster. Without a leader it is answered too: with what this node knows, and says so.
pub(super) async fn status(context: &Context, stale: bool) -> StatusReply {
    // A leader that is cut off is remembered, and says nothing of itself: it is asked in any case.
    let wait = if stale { QUORUM_WAIT_STALE } else { QUORUM_WAIT };
    let quorum = barrier(context, clock::now() + wait).await.is_ok();
    let (state, seen, raft) = (context.hub.state(), context.soft.nodes(), context.raft.status());
    let copies = copies(&state, &seen, context.policy, clock::now());
    let mut short = Vec::new();
    for version in state.versions() {
        let held = copies.of(&version.digest);
        if held < copies.wanted() {
            let digest = version.digest.to_wire();
            short.push(ArtifactShortage { digest, copies: narrow(held), wanted: narrow(copies.wanted()) });
        }
    }
    short.sort_by(|one, other| one.digest.cmp(&other.digest));
    short.dedup_by(|one, other| one.digest == other.digest);
    let mut alarms = alarms::collect(context, quorum);
    if !short.is_empty() {
        alarms.push(format!(
            "artifacts-short: {} artifacts have fewer than {} copies",
            short.len(),
            copies.wanted()
        ));
    }
    short.truncate(SHORT_MAX);
    StatusReply {
        cluster_id: context.cluster.to_wire(),
        cluster_name: state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default(),
        revision: state.revision().get(),
        term: raft.term,
        leader: context.leader().map_or(0, NodeId::get),
        quorum,
        alarms,
        nodes: nodes(context, &state, &seen),
        functions: functions(&state, &seen, ""),
        state_hash: state.hash().to_wire(),
        short,
        format: state.cluster().map_or(0, |cluster| cluster.version),
    }
}

/// Every node with its place in Raft and its last report.
pub(super) fn nodes(
    context: &Context,
    state: &ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
) -> Vec<NodeDetail> {
    let raft = context.raft.status();
    let now = clock::now();
    let processes = context.soft.processes();
    let mut formats = context.soft.formats(now, TOLD_WITHIN);
    formats.insert(context.node, COMMAND_FORMAT);
    let detail = |node: &Node| {
        let seen = seen.get(&node.id);
        let age = seen.map(|seen| now.saturating_duration_since(seen.at));
        let status = seen.map(|seen| seen.to_wire(now));
        NodeDetail {
            node: Some(node_to_wire(node)),
            voter: raft.voters.contains_key(&node.id),
            learner: raft.learners.contains_key(&node.id),
            liveness: liveness(node, age).to_owned(),
            status,
            report_age_ms: age.map_or(0, millis),
            processes: processes.get(&node.id).map(|told| NodeProcesses::clone(told)),
            format: formats.get(&node.id).copied().unwrap_or_default(),
        }
    };
    state.nodes().map(detail).collect()
}

fn liveness(node: &Node, age: Option<Duration>) -> &'static str {
    match (node.state, age) {
        (NodeState::Dead | NodeState::Leaving, _) => node.state.name(),
        (NodeState::Alive, None) => "unknown",
        (NodeState::Alive, Some(age)) if age >= POLICY.suspect_after => "suspect",
        (NodeState::Alive, Some(_)) => node.state.name(),
    }
}

/// Functions of a namespace, or of all for an empty one.
pub(super) fn functions(
    state: &ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
    namespace: &str,
) -> Vec<FunctionSummary> {
    let of_namespace =
        |function: &&Function| namespace.is_empty() || function.id.namespace.as_str() == namespace;
    state.functions().filter(of_namespace).map(|function| summary(state, seen, function)).collect()
}

fn summary(state: &ClusterState, seen: &BTreeMap<NodeId, Seen>, function: &Function) -> FunctionSummary {
    let main = VersionId { function: function.id.clone(), number: function.main_version() };
    let is_ready =
        |replica: &&Replica| word_of(seen, replica).is_some_and(|told| told.phase == ReplicaPhase::Ready);
    let ready = state.replicas_of(&main).filter(is_ready).count();
    FunctionSummary {
        namespace: function.id.namespace.to_string(),
        name: function.id.name.to_string(),
        version: main.number.get(),
        routes: function.routes.iter().map(RouteSpec::from).collect(),
        wanted: state.version(&main).map_or(0, |version| version.spec.replicas()),
        ready: narrow(ready),
        updated_ms: function.updated_ms,
        pending: if function.next.is_empty() { 0 } else { function.wanted_version().get() },
    }
}

/// One function with its versions and replicas.
///
/// # Errors
/// `function-not-found`.
pub(super) fn function_detail(context: &Context, function: &FunctionId) -> Result<FunctionDetail, Refusal> {
    let (state, seen) = (context.hub.state(), context.soft.nodes());
    let record = state
        .function(function)
        .ok_or_else(|| Refusal::new(Code::FunctionNotFound, format!("there is no function '{function}'")))?;
    let of_each = record.kept().into_iter().map(|number| VersionId { function: function.clone(), number });
    Ok(FunctionDetail {
        replicas: of_each.flat_map(|version| replicas(&state, &seen, &version)).collect(),
        function: Some(record.into()),
        versions: state.versions_of(function).map(Into::into).collect(),
        revision: state.revision().get(),
    })
}

/// A version's replicas, each with what its node reported of this assignment.
pub(super) fn replicas(
    state: &ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
    version: &VersionId,
) -> Vec<RolloutReplica> {
    let told = |replica: &Replica| {
        let told = word_of(seen, replica)?;
        Some(replica_to_wire(version, Some(told)))
    };
    let of_version = state.replicas_of(version);
    of_version.map(|replica| RolloutReplica { node: replica.node.get(), status: told(replica) }).collect()
}

/// What its node said last of this very assignment.
fn word_of<'a>(seen: &'a BTreeMap<NodeId, Seen>, replica: &Replica) -> Option<&'a ReplicaTold> {
    let told = seen.get(&replica.node)?.holdings.replicas.get(&replica.version)?;
    (told.epoch == replica.epoch).then_some(told)
}

/// Whether a replica answers calls, as its node said last.
pub(super) fn is_ready(replica: &RolloutReplica) -> bool {
    replica.status.as_ref().is_some_and(|status| status.phase() == ReplicaPhase::Ready)
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
