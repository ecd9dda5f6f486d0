//! Frames of batches, and of which state they tell.

use bytes::Bytes;
use coracle_proto::id::{ClusterId, NodeId, Revision, StateHash, VersionId};
use coracle_proto::key::Key;
use coracle_proto::pb::{self, Freshness, watch_frame::Body};
use coracle_proto::record::{Change, Record};

use super::Scope;
use super::parts::encoded;
use super::ring::Entry;
use crate::model::ClusterState;

/// Of which state a frame tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) cluster: ClusterId,
    pub(super) revision: Revision,
    /// Of the whole state, where it is still known.
    pub(super) hash: Option<StateHash>,
}

impl Stamp {
    pub(super) fn frame(self, body: Body) -> pb::WatchFrame {
        pb::WatchFrame {
            cluster_id: self.cluster.to_wire(),
            revision: self.revision.get(),
            state_hash: self.hash.map(StateHash::to_wire).unwrap_or_default(),
            body: Some(body),
            freshness: Freshness::Unspecified.into(),
        }
    }

    /// That all was told which is known here, and how new that is.
    pub(super) fn told(self, freshness: Freshness) -> pb::WatchFrame {
        pb::WatchFrame { freshness: freshness.into(), ..self.frame(Body::Soft(pb::SoftBatch::default())) }
    }

    /// A part of a snapshot.
    pub(super) fn snapshot(self, encoded: Bytes, last: bool) -> pb::WatchFrame {
        self.frame(Body::Snapshot(pb::Snapshot { records: Vec::new(), last, encoded }))
    }

    fn changes(self, encoded: Bytes) -> pb::WatchFrame {
        self.frame(Body::Changes(pb::Changes { changes: Vec::new(), encoded }))
    }
}

/// A batch in frames. All but the last repeat the stamp from before the batch: who is cut off between
/// them resumes there and is given the whole batch again.
pub(super) fn changes(
    state: &ClusterState,
    entry: &Entry,
    scope: Scope,
    before: Stamp,
) -> Vec<pb::WatchFrame> {
    let own;
    let parts = match scope {
        Scope::Gateway => entry.for_gateways(),
        Scope::All => {
            own = encoded(entry.changes.iter().cloned());
            &own
        }
        Scope::Node(node) => {
            let seen = |change| needed_version(state, node, change).into_iter().chain(scope.filter(change));
            own = encoded(entry.changes.iter().flat_map(seen));
            &own
        }
    };
    let after = Stamp { revision: entry.to, hash: Some(entry.hash), ..before };
    let Some((last, parts)) = parts.split_last() else { return Vec::new() };
    let parts = parts.iter().map(|part| before.changes(part.clone()));
    parts.chain([after.changes(last.clone())]).collect()
}

/// The version that a node's new replica names: it may be older than what the node has seen.
fn needed_version(state: &ClusterState, node: NodeId, change: &pb::Change) -> Option<pb::Change> {
    change.record.as_ref()?;
    match change.key.parse::<Key>().ok()? {
        Key::Replica(version, holder) if holder == node => version_of(state, &version),
        Key::Replica(..)
        | Key::Cluster
        | Key::Function(_)
        | Key::Namespace(_)
        | Key::Node(_)
        | Key::Request(..)
        | Key::Route(_)
        | Key::Version(_) => None,
    }
}

pub(super) fn version_of(state: &ClusterState, version: &VersionId) -> Option<pb::Change> {
    let record = state.version(version)?;
    Some(pb::Change::from(&Change::put(Record::Version(record.clone()))))
}
