//! Watch frames into what a view takes over, and back for the disk.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{
    ClusterId, Epoch, FunctionId, NodeId, Revision, StateHash, VersionId, VersionNumber,
};
use coracle_proto::pb::{self, watch_frame::Body};
use coracle_proto::record::{Change, Record};

use super::{NodeSoft, Phase, ReplicaSoft, SoftNews, Stamp};
use crate::load::Load;

/// A frame, understood.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) cluster: ClusterId,
    pub(super) stamp: Stamp,
    pub(super) news: News,
    /// With it everything was told that can be known.
    pub(super) all: bool,
}

/// What a frame brings.
#[derive(Debug)]
pub(super) enum News {
    /// A part of the whole content.
    Snapshot { changes: Vec<Change>, last: bool },
    /// What changed.
    Changes(Vec<Change>),
    /// What nodes say, perhaps in parts.
    Soft(Vec<pb::NodeStatus>),
}

impl TryFrom<pb::WatchFrame> for Frame {
    type Error = DecodeError;

    fn try_from(wire: pb::WatchFrame) -> Result<Self, DecodeError> {
        let cluster = ClusterId::try_from(&wire.cluster_id[..]).in_field("cluster_id")?;
        let hash = if wire.state_hash.is_empty() {
            None
        } else {
            Some(StateHash::try_from(&wire.state_hash[..]).in_field("state_hash")?)
        };
        let all = match wire.freshness() {
            pb::Freshness::Unspecified => false,
            pb::Freshness::Current | pb::Freshness::Alone => true,
        };
        let news = match wire.body.in_field("body")? {
            Body::Snapshot(it) => News::Snapshot { changes: understood(it.records), last: it.last },
            Body::Changes(it) => News::Changes(understood(it.changes)),
            Body::Soft(it) => News::Soft(it.nodes),
        };
        Ok(Self { cluster, stamp: Stamp { revision: Revision::new(wire.revision), hash }, news, all })
    }
}

/// What this program does not understand is of a newer one and not for it: a follower goes on without.
fn understood(changes: Vec<pb::Change>) -> Vec<Change> {
    let read = |change: pb::Change| {
        let key = change.key.clone();
        Change::try_from(change)
            .inspect_err(|error| tracing::warn!(key, %error, "a record of the view was not understood"))
            .ok()
    };
    changes.into_iter().filter_map(read).collect()
}

/// A status without a node is nobody's; replicas that cannot be read are left out.
pub(super) fn soft_news(wire: pb::NodeStatus) -> Option<SoftNews> {
    let mut gone = Vec::new();
    let mut replicas = imbl::OrdMap::new();
    for it in wire.replicas {
        let Ok(function) = FunctionId::parse(&it.namespace, &it.name) else { continue };
        let version = VersionId { function, number: VersionNumber::new(it.version) };
        let phase = match it.phase() {
            pb::ReplicaPhase::Unspecified => {
                gone.push(version);
                continue;
            }
            pb::ReplicaPhase::Fetching => Phase::Fetching,
            pb::ReplicaPhase::Compiling => Phase::Compiling,
            pb::ReplicaPhase::Ready => Phase::Ready,
            pb::ReplicaPhase::Failed => Phase::Failed,
        };
        replicas.insert(version, ReplicaSoft { epoch: Epoch::new(it.epoch), phase });
    }
    let now = NodeSoft {
        node: NodeId::new(wire.node),
        incarnation: wire.incarnation,
        changes: wire.changes,
        sequence: wire.sequence,
        replicas,
    };
    (wire.node > 0).then_some(SoftNews { since: wire.since, now, gone })
}

impl From<pb::Load> for Load {
    fn from(wire: pb::Load) -> Self {
        Self {
            in_flight: wire.in_flight,
            slots: wire.slots,
            resident_functions: wire.resident_functions,
            memory_bytes: wire.memory_bytes,
            cpu_permille: wire.cpu_permille,
        }
    }
}

impl From<Load> for pb::Load {
    fn from(it: Load) -> Self {
        Self {
            in_flight: it.in_flight,
            slots: it.slots,
            resident_functions: it.resident_functions,
            memory_bytes: it.memory_bytes,
            cpu_permille: it.cpu_permille,
        }
    }
}

/// The whole content of a scope as one frame: what a controller would send, and so what the disk keeps.
pub(super) fn snapshot(cluster: ClusterId, stamp: Stamp, records: Vec<Record>) -> pb::WatchFrame {
    let records = records.into_iter().map(|record| pb::Change::from(&Change::put(record))).collect();
    pb::WatchFrame {
        cluster_id: cluster.to_wire(),
        revision: stamp.revision.get(),
        state_hash: stamp.hash.map(StateHash::to_wire).unwrap_or_default(),
        freshness: pb::Freshness::Unspecified.into(),
        body: Some(Body::Snapshot(pb::Snapshot { records, last: true, ..Default::default() })),
    }
}
