//! Frames out of states and batches: cut so that none is larger than a frame may be.

use coracle_proto::id::{ClusterId, NodeId, Revision, StateHash, VersionId};
use coracle_proto::key::Key;
use coracle_proto::pb::{self, watch_frame::Body};
use coracle_proto::record::{Change, Record};
use prost::Message as _;

use super::ring::Entry;
use super::{FRAME_BYTES_MAX, Scope};
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
        }
    }
}

/// The scope's whole content in frames; the last one says so.
pub(super) fn snapshot(state: &ClusterState, scope: Scope, stamp: Stamp) -> Vec<pb::WatchFrame> {
    let put = |record| pb::Change::from(&Change::put(record));
    let records = match scope {
        Scope::Node(node) => of_node(state, node),
        Scope::Gateway | Scope::All => {
            state.records().filter_map(|record| scope.filter(&put(record))).collect()
        }
    };
    let mut parts = cut(records);
    let last = parts.pop().unwrap_or_default();
    let frame = |records, last| stamp.frame(Body::Snapshot(pb::Snapshot { records, last }));
    let mut frames: Vec<_> = parts.into_iter().map(|records| frame(records, false)).collect();
    frames.push(frame(last, true));
    frames
}

/// What a node is shown, found by the index of its replicas: a worker that comes back must not cost all functions.
fn of_node(state: &ClusterState, node: NodeId) -> Vec<pb::Change> {
    let put = |record| pb::Change::from(&Change::put(record));
    let nodes = state.nodes().map(|node| put(Record::Node(node.clone())));
    let replicas = state.replicas_on(node).map(|replica| put(Record::Replica(replica.clone())));
    let versions = state.replicas_on(node).filter_map(|replica| version_of(state, &replica.version));
    nodes.chain(replicas).chain(versions).collect()
}

/// A batch in frames. All but the last repeat the stamp from before the batch: who is cut off between
/// them resumes there and is given the whole batch again.
pub(super) fn changes(
    state: &ClusterState,
    entry: &Entry,
    scope: Scope,
    before: Stamp,
) -> Vec<pb::WatchFrame> {
    let mut seen = Vec::new();
    for change in &entry.changes {
        if let Scope::Node(node) = scope {
            seen.extend(needed_version(state, node, change));
        }
        seen.extend(scope.filter(change));
    }
    let after = Stamp { revision: entry.to, hash: Some(entry.hash), ..before };
    let mut parts = cut(seen);
    let last = parts.pop().unwrap_or_default();
    let frame = |stamp: Stamp, changes| stamp.frame(Body::Changes(pb::Changes { changes }));
    let mut frames: Vec<_> = parts.into_iter().map(|changes| frame(before, changes)).collect();
    frames.push(frame(after, last));
    frames
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

fn version_of(state: &ClusterState, version: &VersionId) -> Option<pb::Change> {
    let record = state.version(version)?;
    Some(pb::Change::from(&Change::put(Record::Version(record.clone()))))
}

fn cut(changes: Vec<pb::Change>) -> Vec<Vec<pb::Change>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for change in changes {
        let length = change.encoded_len();
        if bytes > 0 && bytes + length > FRAME_BYTES_MAX {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(part) = parts.last_mut() {
            part.push(change);
        }
    }
    parts
}
