//! What holds of every state, one function each. All are checked after every command in tests, and on restore.

#[cfg(test)]
mod bound;

use std::collections::BTreeSet;

use coracle_proto::id::GroupId;
use coracle_proto::id::{FunctionId, StateHash, VersionId};
use coracle_proto::record::{Function, Role};
use thiserror::Error;

use super::function::answers_at;
use super::kept::Encoded;
use super::{ClusterState, hash};

/// A state that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the state is broken: {0}")]
pub struct Broken(String);

type Check = fn(&ClusterState) -> Result<(), Broken>;

/// What makes records one state.
const CONSISTENCY: [Check; 12] = [
    nothing_is_without_a_cluster,
    there_is_a_controller,
    nodes_have_ids_that_were_given_out,
    namespaces_are_those_of_functions,
    traffic_goes_to_versions_that_exist,
    versions_belong_to_functions,
    routes_are_those_of_functions,
    replicas_are_of_versions_on_workers,
    data_groups_are_on_nodes,
    revisions_are_not_of_the_future,
    outcomes_are_remembered_once,
    the_hash_is_that_of_the_records,
];

/// Checks every invariant.
///
/// # Errors
/// The first one that does not hold.
#[cfg(test)]
pub(super) fn check(state: &ClusterState) -> Result<(), Broken> {
    bound::check(state)?;
    check_stored(state)
}

/// Checks what must hold of records that stand somewhere.
///
/// # Errors
/// The first one that does not hold.
pub(super) fn check_stored(state: &ClusterState) -> Result<(), Broken> {
    CONSISTENCY.iter().try_for_each(|check| check(state))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(otherwise())) }
}

fn nothing_is_without_a_cluster(state: &ClusterState) -> Result<(), Broken> {
    let records = state.records().next().is_some();
    ensure(state.cluster.is_some() || !records, || "there are records, but no cluster".to_owned())
}

fn there_is_a_controller(state: &ClusterState) -> Result<(), Broken> {
    let controller = state.nodes().any(|node| node.is(Role::Controller));
    ensure(controller || state.cluster.is_none(), || "no node is a controller".to_owned())
}

fn nodes_have_ids_that_were_given_out(state: &ClusterState) -> Result<(), Broken> {
    let Some(cluster) = state.cluster() else { return Ok(()) };
    for node in state.nodes() {
        ensure(node.id.get() > 0 && node.id < cluster.next_node, || {
            format!("node {} has an id that was never given out; the next is {}", node.id, cluster.next_node)
        })?;
        ensure(!node.roles.is_empty(), || format!("node {} has no role", node.id))?;
    }
    Ok(())
}

fn namespaces_are_those_of_functions(state: &ClusterState) -> Result<(), Broken> {
    let used: BTreeSet<_> = state.functions().map(|function| &function.id.namespace).collect();
    let known: BTreeSet<_> = state.namespaces().map(|namespace| &namespace.name).collect();
    let odd = used.symmetric_difference(&known).next();
    ensure(odd.is_none(), || format!("namespace {odd:?} is empty or has no record"))
}

fn traffic_goes_to_versions_that_exist(state: &ClusterState) -> Result<(), Broken> {
    state.functions().try_for_each(|function| traffic_of(state, function))
}

fn traffic_of(state: &ClusterState, function: &Function) -> Result<(), Broken> {
    let id = &function.id;
    let exists = |number| state.version(&VersionId { function: id.clone(), number }).is_some();
    ensure(!function.traffic.is_empty(), || format!("no version of '{id}' takes calls"))?;
    ensure(exists(function.latest), || format!("'{id}' has no version {}, its latest", function.latest))?;
    ensure(function.next != function.traffic, || format!("'{id}' waits for what its calls go to already"))?;
    for table in [&function.traffic, &function.next] {
        let mut seen = BTreeSet::new();
        for part in table {
            ensure(part.weight > 0 && seen.insert(part.version) && exists(part.version), || {
                format!(
                    "the traffic of '{id}' to version {} has no weight, stands twice or leads nowhere",
                    part.version
                )
            })?;
        }
    }
    Ok(())
}

fn versions_belong_to_functions(state: &ClusterState) -> Result<(), Broken> {
    for version in state.versions() {
        let latest = state.function(&version.id.function).map(|function| function.latest);
        ensure(
            version.id.number.get() > 0 && latest.is_some_and(|latest| version.id.number <= latest),
            || format!("version {} is of no function or was never given out", version.id),
        )?;
    }
    Ok(())
}

fn routes_are_those_of_functions(state: &ClusterState) -> Result<(), Broken> {
    let mut named = 0;
    for function in state.functions() {
        let routes = answers_at(&function.id, &function.routes).map_err(|error| Broken(error.to_string()))?;
        named += routes.len();
        for route in routes {
            let owner: Option<&FunctionId> = state.route(&route).map(|route| &route.function);
            ensure(owner == Some(&function.id), || {
                format!("route '{route}' is not that of '{}'", function.id)
            })?;
        }
    }
    let stored = state.routes.len();
    ensure(stored == named, || format!("{stored} routes are stored, but functions name {named}"))
}

fn replicas_are_of_versions_on_workers(state: &ClusterState) -> Result<(), Broken> {
    for replica in state.replicas() {
        let (version, node) = (&replica.version, replica.node);
        ensure(state.version(version).is_some(), || {
            format!("node {node} holds {version}, which does not exist")
        })?;
        let worker = state.node(node).is_some_and(|node| node.is(Role::Worker));
        ensure(worker, || format!("{version} is held by node {node}, which is no worker"))?;
        let indexed = state.held_by.get(&node).is_some_and(|held| held.contains(version));
        ensure(indexed, || format!("the index of node {node} lacks {version}"))?;
    }
    let indexed: usize = state.held_by.values().map(imbl::OrdSet::len).sum();
    ensure(indexed == state.replicas.len(), || "the index of replicas has more than the replicas".to_owned())
}

fn data_groups_are_on_nodes(state: &ClusterState) -> Result<(), Broken> {
    for group in state.groups() {
        let id = group.id;
        ensure(id != GroupId::META && !group.members.is_empty(), || {
            format!("data group {id} has no member")
        })?;
        let missing = group.members.iter().find(|member| state.node(**member).is_none());
        ensure(missing.is_none(), || format!("data group {id} is on node {missing:?}, which has no record"))?;
    }
    let nowhere = state.slots().and_then(|slots| slots.groups.iter().find(|id| state.group(**id).is_none()));
    ensure(nowhere.is_none(), || format!("a slot is of data group {nowhere:?}, which is not there"))?;
    ensure(state.slots().is_some() || state.groups.is_empty(), || "no slot is of any data group".to_owned())
}

fn revisions_are_not_of_the_future(state: &ClusterState) -> Result<(), Broken> {
    let now = state.revision();
    for replica in state.replicas() {
        let epoch = replica.epoch.get();
        ensure(epoch > 0 && epoch <= now.get(), || {
            format!("{} on node {} has epoch {epoch} at revision {now}", replica.version, replica.node)
        })?;
    }
    let nodes = state.nodes().map(|node| node.registered);
    let namespaces = state.namespaces().map(|namespace| namespace.created);
    let functions = state.functions().map(|function| function.updated);
    let groups = state.groups().map(|group| group.revision).chain(state.slots().map(|slots| slots.revision));
    for revision in nodes.chain(namespaces).chain(functions).chain(groups) {
        ensure(revision <= now, || format!("a record is of revision {revision}, the state of {now}"))?;
    }
    Ok(())
}

fn outcomes_are_remembered_once(state: &ClusterState) -> Result<(), Broken> {
    let Some(cluster) = state.cluster() else { return Ok(()) };
    let count = state.remembered.len();
    ensure(state.requests.len() == count, || "a request has two outcomes".to_owned())?;
    for outcome in state.remembered.values().map(|kept| &kept.record) {
        ensure(state.requests.get(&outcome.request) == Some(&outcome.revision), || {
            format!("the index of requests lacks {}", outcome.request)
        })?;
        ensure((cluster.remembered_from..=cluster.revision).contains(&outcome.revision), || {
            format!("an outcome of revision {} is forgotten or of the future", outcome.revision)
        })?;
    }
    Ok(())
}

fn the_hash_is_that_of_the_records(state: &ClusterState) -> Result<(), Broken> {
    let add = |sum, record| hash::with(sum, hash::of(&Encoded::of(&record)));
    let sum = state.records().fold(StateHash::default(), add);
    ensure(sum == state.hash, || format!("the hash is {}, that of the records {sum}", state.hash))
}
