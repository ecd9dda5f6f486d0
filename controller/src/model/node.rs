//! Commands about nodes.

use coracle_proto::id::{NodeId, StoreId};
use coracle_proto::key::Key;
use coracle_proto::record::{Cluster, Node, NodeState, Outcome, Record, Role};
use coracle_proto::status::{Code, Refusal};

use super::ClusterState;
use super::cluster::FORMAT_GROUPS;
use super::edit::Edit;
use super::group;

/// Nodes of one cluster: every controller and gateway keeps all of them in memory.
pub const NODES_MAX: usize = 10_000;

/// Gives a new node its id.
pub(super) fn register(edit: &mut Edit<'_>, node: Node) -> Result<Outcome, Refusal> {
    check_roles(&node)?;
    if edit.state.nodes.len() >= NODES_MAX {
        return Err(Refusal::new(
            Code::LimitReached,
            format!("the cluster has {NODES_MAX} nodes, as many as it can"),
        ));
    }
    let id = next_node(edit.cluster());
    edit.update_cluster(|cluster| cluster.next_node = NodeId::new(id.get().saturating_add(1)));
    edit.put(Record::Node(Node { id, state: NodeState::Alive, registered: edit.revision, ..node }));
    Ok(Outcome::NodeRegistered(id))
}

/// Takes over what a node says of itself. Without the role worker its replicas end.
pub(super) fn update(edit: &mut Edit<'_>, node: Node) -> Result<Outcome, Refusal> {
    check_roles(&node)?;
    let known = find(edit.state, node.id)?.clone();
    if known.is(Role::Controller) && !node.is(Role::Controller) {
        check_not_last_controller(edit.state, node.id)?;
    }
    if !node.is(Role::Worker) {
        edit.drop_replicas_on(node.id);
    }
    let store = store(&known, &node)?;
    edit.put(Record::Node(Node { state: known.state, registered: known.registered, store, ..node }));
    Ok(Outcome::Done)
}

/// The store of a node, told once: another one under the same id has lost what the node had.
fn store(known: &Node, told: &Node) -> Result<StoreId, Refusal> {
    match (known.store, told.store) {
        (known, StoreId::UNKNOWN) => Ok(known),
        (StoreId::UNKNOWN, told) => Ok(told),
        (known, told) if known == told => Ok(told),
        (store, other) => Err(Refusal::new(
            Code::Conflict,
            format!(
                "node {} is the one with store {store}, not with {other}: it must join as a new node",
                known.id
            ),
        )),
    }
}

/// Takes over a verdict about a node, or the wish that it goes.
pub(super) fn mark(edit: &mut Edit<'_>, id: NodeId, state: NodeState) -> Result<Outcome, Refusal> {
    let node = find(edit.state, id)?.clone();
    if node.state == state {
        return Ok(Outcome::Done);
    }
    if node.state == NodeState::Leaving {
        return Err(Refusal::new(
            Code::Conflict,
            format!("node {id} is leaving, it cannot be {} again", state.name()),
        ));
    }
    if state == NodeState::Leaving {
        check_not_last_controller(edit.state, id)?;
    }
    edit.put(Record::Node(Node { state, ..node }));
    Ok(Outcome::Done)
}

/// Ends a node that is leaving or dead. That it is no voter any more is the membership driver's matter, before this.
pub(super) fn remove(edit: &mut Edit<'_>, id: NodeId) -> Result<Outcome, Refusal> {
    let node = find(edit.state, id)?;
    if node.state == NodeState::Alive {
        let sentence =
            format!("node {id} is {}: it is marked as leaving before it is removed", node.state.name());
        return Err(Refusal::new(Code::Conflict, sentence));
    }
    check_not_last_controller(edit.state, id)?;
    group::check_holds_none(edit.state, id)?;
    edit.drop_replicas_on(id);
    edit.remove(Key::Node(id));
    Ok(Outcome::Done)
}

/// What voters of such a format know of a node: without data groups it has no store. The node tells of it again.
#[must_use]
pub fn at_format(mut node: Node, format: u32) -> Node {
    if format < FORMAT_GROUPS {
        node.roles.remove(&Role::Store);
        node.addresses.store.clear();
    }
    node
}

fn next_node(cluster: Option<&Cluster>) -> NodeId {
    cluster.map_or(NodeId::new(1), |cluster| cluster.next_node)
}

fn find(state: &ClusterState, id: NodeId) -> Result<&Node, Refusal> {
    state.node(id).ok_or_else(|| {
        if id.get() > 0 && id < next_node(state.cluster()) {
            let sentence =
                format!("node {id} was removed, and ids are never used again: it must join as a new node");
            return Refusal::new(Code::NodeRemoved, sentence);
        }
        Refusal::new(Code::NodeNotFound, format!("there is no node {id}"))
    })
}

fn check_roles(node: &Node) -> Result<(), Refusal> {
    if node.roles.is_empty() {
        return Err(Refusal::new(Code::InvalidArgument, format!("node '{}' has no role", node.name)));
    }
    Ok(())
}

/// Another controller must stay. It ends at the first one found: controllers are the oldest nodes.
fn check_not_last_controller(state: &ClusterState, id: NodeId) -> Result<(), Refusal> {
    let stays = |node: &Node| node.id != id && node.is(Role::Controller) && node.state != NodeState::Leaving;
    if state.nodes().any(stays) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NodeRequired,
        format!("node {id} is the last controller: without one nothing can change"),
    ))
}
