//! How many there may be. A bound made tighter later says nothing about a state that is there: only tests ask.

use super::super::{ClusterState, FUNCTIONS_MAX, NODES_MAX, REMEMBERED_MAX, VERSIONS_MAX, VOTERS_WANTED_MAX};
use super::{Broken, ensure};

pub(super) fn check(state: &ClusterState) -> Result<(), Broken> {
    counts_are_in_bounds(state)?;
    voters_wanted_are_in_bounds(state)
}

fn counts_are_in_bounds(state: &ClusterState) -> Result<(), Broken> {
    let counts = [
        ("nodes", state.nodes.len(), NODES_MAX),
        ("functions", state.functions.len(), FUNCTIONS_MAX),
        ("outcomes", state.remembered.len(), REMEMBERED_MAX),
    ];
    for (what, count, max) in counts {
        ensure(count <= max, || format!("{count} {what}, at most {max}"))?;
    }
    for function in state.functions() {
        let kept = state.versions_of(&function.id).count();
        ensure(kept <= VERSIONS_MAX, || {
            format!("'{}' has {kept} versions, at most {VERSIONS_MAX}", function.id)
        })?;
    }
    Ok(())
}

fn voters_wanted_are_in_bounds(state: &ClusterState) -> Result<(), Broken> {
    let Some(cluster) = state.cluster() else { return Ok(()) };
    let wanted = cluster.voters_wanted;
    ensure((1..=VOTERS_WANTED_MAX).contains(&wanted), || format!("{wanted} voters wanted"))
}
