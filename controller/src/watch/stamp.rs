//! Frames of batches, and of which state they tell.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, NodeId, Revision, StateHash, VersionId};
use coracle_proto::key::Key;
use coracle_proto::pb::{self, Freshness, watch_frame::Body};
use coracle_proto::record::{Change, Record};

use super::Scope;
use super::parts::{PART_BYTES_MAX, encoded};
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
    pub(super) fn to_wire(self, freshness: Freshness) -> pb::WatchFrame {
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

/// How many of these batches travel together: several small ones, or one.
pub(super) fn together(entries: &[Arc<Entry>]) -> usize {
    let mut bytes = 0;
    let small = entries.iter().take_while(|entry| {
        bytes += entry.bytes;
        bytes <= PART_BYTES_MAX
    });
    small.count().max(1)
}

/// Batches in frames; one frame where they are small. All but the last repeat the stamp from before: who is cut off
/// between them resumes there and is given everything again.
pub(super) fn changes(
    state: &ClusterState,
    entries: &[Arc<Entry>],
    scope: Scope,
    before: Stamp,
) -> Vec<pb::WatchFrame> {
    let parts = joined(entries.iter().flat_map(|entry| parts(state, entry, scope)).collect());
    let after =
        entries.last().map_or(before, |last| Stamp { revision: last.to, hash: Some(last.hash), ..before });
    let Some((last, parts)) = parts.split_last() else { return Vec::new() };
    let parts = parts.iter().map(|part| before.changes(part.clone()));
    parts.chain([after.changes(last.clone())]).collect()
}

/// A batch as a scope sees it.
fn parts(state: &ClusterState, entry: &Entry, scope: Scope) -> Vec<Bytes> {
    match scope {
        Scope::Gateway => entry.for_gateways().to_vec(),
        Scope::All => encoded(entry.changes.iter().cloned()),
        Scope::Node(node) => {
            let seen = |change| needed_version(state, node, change).into_iter().chain(scope.filter(change));
            encoded(entry.changes.iter().flat_map(seen))
        }
    }
}

/// Small parts as one. A single one is not copied: other followers are sent it too.
fn joined(parts: Vec<Bytes>) -> Vec<Bytes> {
    let bytes = parts.iter().map(Bytes::len).sum::<usize>();
    if parts.len() == 1 || bytes > PART_BYTES_MAX {
        return parts;
    }
    vec![parts.concat().into()]
}

/// The version that a node's new replica names: it may be older than what the node has seen.
fn needed_version(state: &ClusterState, node: NodeId, change: &pb::Change) -> Option<pb::Change> {
    change.record.as_ref()?;
    match change.key.parse::<Key>().ok()? {
        Key::Replica(version, holder) if holder == node => version_of(state, &version),
        Key::Replica(..)
        | Key::Cluster
        | Key::Function(_)
        | Key::Group(_)
        | Key::Namespace(_)
        | Key::Node(_)
        | Key::Request(..)
        | Key::Route(_)
        | Key::Slots
        | Key::Version(_) => None,
    }
}

pub(super) fn version_of(state: &ClusterState, version: &VersionId) -> Option<pb::Change> {
    let record = state.version(version)?;
    Some(pb::Change::from(&Change::put(Record::Version(record.clone()))))
}
