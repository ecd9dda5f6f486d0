//! The present state and what changed lately: written by Raft's apply, read by everybody else.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use coracle_proto::id::{Revision, StateHash};
use coracle_proto::pb;
use tokio::sync::watch;

use super::Scope;
use super::ring::{Entry, Ring};
use super::snapshot::{Content, Snapshot};
use crate::model::ClusterState;

/// The state as it was last applied on this node, with the ring of recent changes.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: RwLock<Inner>,
    /// The last one of each content, for as long as somebody is sent it.
    snapshots: Mutex<Vec<(Content, Weak<Snapshot>)>>,
    revision: watch::Sender<Revision>,
    /// The last revision at which the nodes' records were others than before.
    nodes: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<ClusterState>,
    ring: Ring,
}

/// What a follower is to be given next.
#[derive(Debug)]
pub(super) enum News {
    /// Nothing is newer than what it has seen.
    None,
    /// These batches, in order.
    Changes(Arc<ClusterState>, Vec<Arc<Entry>>),
    /// The ring has moved on: the whole state.
    Snapshot,
}

impl Hub {
    pub(crate) fn new(state: ClusterState) -> Self {
        let revision = state.revision();
        let inner = Inner { state: Arc::new(state), ring: Ring::new(revision) };
        Self {
            inner: RwLock::new(inner),
            snapshots: Mutex::default(),
            revision: watch::Sender::new(revision),
            nodes: watch::Sender::new(revision),
        }
    }

    /// The present state.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.read().state)
    }

    /// Tells each new revision; some may be skipped.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Tells each revision at which a node's record changed; some may be skipped. Most revisions change none.
    pub(crate) fn subscribe_nodes(&self) -> watch::Receiver<Revision> {
        self.nodes.subscribe()
    }

    fn notify(&self, revision: Revision, nodes_changed: bool) {
        self.revision.send_replace(revision);
        if nodes_changed {
            self.nodes.send_replace(revision);
        }
    }

    /// The hash that the state has, or had at a recent revision.
    pub(crate) fn hash_at(&self, revision: Revision) -> Option<StateHash> {
        let inner = self.read();
        let present = (inner.state.revision() == revision).then(|| inner.state.hash());
        present.or_else(|| inner.ring.hash_at(revision))
    }

    /// Whether one of the changes after one revision up to another `is_of` what is asked for; also where they are not known
    /// any more.
    pub(crate) fn has_changed(
        &self,
        (after, upto): (Revision, Revision),
        is_of: impl Fn(&pb::Change) -> bool,
    ) -> bool {
        if after >= upto {
            return false;
        }
        let entries = self.read().ring.since(after);
        let Some(entries) = entries else { return true };
        entries.iter().take_while(|entry| entry.from < upto).any(|entry| entry.changes.iter().any(&is_of))
    }

    /// Takes over the state after a batch, with the batch's changes.
    pub(super) fn applied(&self, state: ClusterState, changes: Vec<pb::Change>) {
        let revision = state.revision();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let before = inner.state.revision();
        if revision <= before {
            return;
        }
        inner.ring.push(Entry::new(before, revision, state.hash(), changes));
        let nodes_changed = !state.has_nodes_of(&inner.state);
        inner.state = Arc::new(state);
        drop(inner);
        self.notify(revision, nodes_changed);
    }

    /// Takes over a state that came as a whole. One that is older than the present one never does.
    pub(crate) fn replaced(&self, state: ClusterState) {
        let revision = state.revision();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if revision <= inner.state.revision() {
            return;
        }
        *inner = Inner { state: Arc::new(state), ring: Ring::new(revision) };
        drop(inner);
        self.notify(revision, true);
    }

    pub(super) fn since(&self, seen: Revision) -> News {
        let inner = self.read();
        let state = Arc::clone(&inner.state);
        if state.revision() <= seen {
            return News::None;
        }
        if seen == Revision::ZERO {
            return News::Snapshot;
        }
        match inner.ring.since(seen) {
            Some(entries) => News::Changes(state, entries),
            None => News::Snapshot,
        }
    }

    /// The content of a scope for one who has seen a revision: one that others are being sent, while what came after
    /// it will be known for long enough, else of the present state.
    pub(super) fn snapshot(&self, scope: Scope, seen: Revision) -> Arc<Snapshot> {
        let content = match scope {
            Scope::Gateway => Content::Gateway,
            Scope::All => Content::All,
            Scope::Node(_) => Content::Nodes,
        };
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = self.read();
        let shared = snapshots.iter().find(|(it, _)| *it == content).and_then(|(_, it)| it.upgrade());
        let goes_on = |shared: &Arc<Snapshot>| {
            let revision = shared.state.revision();
            revision > seen && inner.ring.is_fresh(revision)
        };
        if let Some(shared) = shared.filter(goes_on) {
            return shared;
        }
        let snapshot = Snapshot::begin(Arc::clone(&inner.state), content);
        snapshots.retain(|(it, _)| *it != content);
        snapshots.push((content, Arc::downgrade(&snapshot)));
        snapshot
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Command;
    use crate::model::samples::Asked;

    #[test]
    fn what_changed_between_two_revisions_is_known_as_far_back_as_the_ring_reaches() {
        let mut asked = Asked::cluster(1);
        let hub = Hub::new(asked.state.clone());
        let first = asked.state.revision().get();
        // Two revisions each: 'a' changed in the first two, 'b' in the next.
        for key in ["a", "b"] {
            asked.run(Command::KeepTime);
            asked.run(Command::KeepTime);
            hub.applied(asked.state.clone(), vec![pb::Change { key: key.to_owned(), record: None }]);
        }
        assert_eq!(asked.state.revision().get(), first + 4);
        for (after, upto, key, expected) in [
            (0, 4, "a", true),
            (0, 4, "b", true),
            (0, 4, "c", false),
            (2, 4, "a", false),
            (2, 4, "b", true),
            (0, 2, "b", false),
            // A batch that one of the two revisions lies in counts whole.
            (1, 4, "a", true),
            (3, 4, "b", true),
            (0, 3, "b", true),
            // Who has seen as much, or more, has missed nothing.
            (4, 4, "b", false),
            (9, 4, "b", false),
        ] {
            let between = (Revision::new(first + after), Revision::new(first + upto));
            let changed = hub.has_changed(between, |change| change.key == key);
            assert_eq!(changed, expected, "'{key}' after {after} up to {upto}");
        }
        let before = (Revision::new(first - 1), Revision::new(first + 4));
        assert!(hub.has_changed(before, |_| false), "nobody knows what changed before the ring");
    }
}
