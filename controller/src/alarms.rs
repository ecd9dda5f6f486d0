//! What an operator must know: each alarm begins with a name that never changes, then a sentence.

use std::collections::BTreeMap;

use coracle_proto::id::{NodeId, Revision, StateHash};

use crate::context::Context;
use crate::model::ClusterState;
use crate::soft::{Seen, process_alarms};

/// The leader's alarms, and those that this node finds by itself.
pub(crate) fn collect(
    context: &Context,
    state: &ClusterState,
    seen: &BTreeMap<NodeId, Seen>,
    quorum: bool,
) -> Vec<String> {
    let mut alarms = context.soft.alarms();
    if !quorum {
        alarms.push(
            "no-quorum: no leader is confirmed by a majority; changes are refused, calls go on".to_owned(),
        );
    }
    let hash_at = |revision| {
        let current = (state.revision() == revision).then(|| state.hash());
        current.or_else(|| context.hub.hash_at(revision))
    };
    for (node, seen) in seen {
        let revision = Revision::new(seen.status.view_revision);
        if differs(hash_at(revision), &seen.status.view_hash) {
            alarms.push(format!(
                "hash-mismatch: node {node} has another state than node {} at revision {revision}",
                context.node
            ));
        }
    }
    alarms.extend(context.soft.processes().values().flat_map(|told| process_alarms(told)));
    alarms.sort();
    alarms.dedup();
    alarms
}

/// Only two known hashes can differ.
fn differs(own: Option<StateHash>, theirs: &[u8]) -> bool {
    match (own, StateHash::try_from(theirs)) {
        (Some(own), Ok(theirs)) => own != theirs,
        (None, _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_hashes_differ() {
        let hash = StateHash::new(7);
        assert!(!differs(Some(hash), &hash.to_bytes()));
        assert!(!differs(None, &hash.to_bytes()));
        assert!(!differs(Some(hash), &[]));
        assert!(differs(Some(hash), &StateHash::new(8).to_bytes()));
    }
}
