//! One revision has one hash on all nodes: compares what nodes say of their views with what this one had.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::{NodeId, Revision, StateHash};
use coracle_proto::pb::NodeStatus;
use coracle_proto::soft::VIEWS_TOLD_MAX;

use crate::soft::Seen;

/// Nodes named in the alarm; it has the number of all.
const NAMED_MAX: usize = 5;

/// Nodes whose state was another one when it was compared last. A node stays until a later revision is the same:
/// most revisions cannot be compared, for what is kept of them ends with each batch.
#[derive(Debug, Default)]
pub(super) struct Mismatches {
    nodes: BTreeSet<NodeId>,
}

impl Mismatches {
    /// Compares each node's last word; those that differ and did not before are returned. `own` is the hash that
    /// this node had at a revision, where it is still known.
    pub(super) fn compare(
        &mut self,
        seen: &BTreeMap<NodeId, Seen>,
        own: impl Fn(Revision) -> Option<StateHash>,
    ) -> Vec<(NodeId, Revision)> {
        self.nodes.retain(|node| seen.contains_key(node));
        let mut new = Vec::new();
        for (node, seen) in seen {
            match newest(&seen.status, &own) {
                Some((revision, true)) if self.nodes.insert(*node) => new.push((*node, revision)),
                Some((_, false)) => {
                    self.nodes.remove(node);
                }
                Some((_, true)) | None => {}
            }
        }
        new
    }

    /// How many nodes differ.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The alarm, if there is one.
    pub(super) fn alarm(&self, own: NodeId) -> Option<String> {
        let named: Vec<_> = self.nodes.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = self.nodes.len().saturating_sub(NAMED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!named.is_empty()).then(|| {
            format!(
                "hash-mismatch: another state than on node {own} at the same revision: nodes {}{more}",
                named.join(", ")
            )
        })
    }
}

/// The newest of a node's last revisions that this one knows too, and whether the states differ there: a node may be
/// ahead of this one, or have been told several batches as one.
fn newest(status: &NodeStatus, own: impl Fn(Revision) -> Option<StateHash>) -> Option<(Revision, bool)> {
    let before = status.views.iter().take(VIEWS_TOLD_MAX).map(|view| (view.revision, &view.hash));
    let told = before.chain([(status.view_revision, &status.view_hash)]);
    let compared = told.filter_map(|(revision, hash)| {
        let revision = Revision::new(revision);
        Some((revision, differs(own(revision), hash)?))
    });
    compared.max_by_key(|(revision, _)| *revision)
}

/// Only two known hashes can be compared.
fn differs(own: Option<StateHash>, theirs: &[u8]) -> Option<bool> {
    Some(own? != StateHash::try_from(theirs).ok()?)
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb;

    use super::*;
    use crate::clock;

    fn seen(revision: u64, hash: &[u8]) -> BTreeMap<NodeId, Seen> {
        let view_hash = hash.to_vec().into();
        let status = pb::NodeStatus { view_revision: revision, view_hash, ..pb::NodeStatus::default() };
        let seen = Seen::first(&status, clock::now());
        BTreeMap::from([(NodeId::new(2), seen)])
    }

    #[test]
    fn a_node_that_is_ahead_is_compared_where_it_was_before() {
        let (same, other) = (StateHash::new(7), StateHash::new(8));
        let known = |revision: Revision| (revision.get() < 10).then_some(same);
        let ahead = |before: &[(u64, StateHash)]| {
            let mut seen = seen(30, &other.to_bytes());
            let views = before.iter().map(|(revision, hash)| pb::ViewTold {
                revision: *revision,
                hash: hash.to_bytes().to_vec().into(),
            });
            let told = &mut seen.get_mut(&NodeId::new(2)).unwrap().status;
            std::sync::Arc::make_mut(told).views = views.collect();
            seen
        };
        let mut mismatches = Mismatches::default();
        assert_eq!(mismatches.compare(&ahead(&[(11, other), (20, other)]), known), [], "known to it alone");
        let found = mismatches.compare(&ahead(&[(8, same), (9, other), (11, same)]), known);
        assert_eq!(found, [(NodeId::new(2), Revision::new(9))]);
        mismatches.compare(&ahead(&[(8, other), (9, same)]), known);
        assert_eq!(mismatches.count(), 0, "the newest counts");
    }

    #[test]
    fn a_node_with_another_state_stays_named_until_it_has_the_same() {
        let (same, other) = (StateHash::new(7), StateHash::new(8));
        let known = |revision: Revision| (revision.get() < 10).then_some(same);
        let mut mismatches = Mismatches::default();
        assert_eq!(mismatches.compare(&seen(5, &same.to_bytes()), known), []);
        assert_eq!(mismatches.compare(&seen(5, &[]), known), [], "it does not tell");
        let found = mismatches.compare(&seen(6, &other.to_bytes()), known);
        assert_eq!(found, [(NodeId::new(2), Revision::new(6))]);
        assert_eq!(mismatches.compare(&seen(6, &other.to_bytes()), known), [], "logged once");
        assert_eq!(mismatches.compare(&seen(10, &other.to_bytes()), known), []);
        let alarm = mismatches.alarm(NodeId::new(1)).unwrap();
        assert!(alarm.starts_with("hash-mismatch: ") && alarm.ends_with("nodes 2"), "{alarm}");
        mismatches.compare(&seen(7, &same.to_bytes()), known);
        assert_eq!((mismatches.count(), mismatches.alarm(NodeId::new(1))), (0, None));
    }
}
