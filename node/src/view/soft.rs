//! What nodes say about themselves: told all the time, never on disk.

use coracle_proto::id::{Epoch, NodeId, VersionId};
use imbl::OrdMap;

/// How far one node is with what it was assigned, as a gateway is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSoft {
    /// Whose.
    pub node: NodeId,
    /// Of its process: a later start is newer.
    pub incarnation: u64,
    /// How often its lists changed in one incarnation.
    pub changes: u64,
    /// Within one incarnation.
    pub sequence: u64,
    /// How far it is with what it was assigned. Persistent: a change costs its own size.
    pub replicas: OrdMap<VersionId, ReplicaSoft>,
}

/// What a node says that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftNews {
    /// After which of its changes: 0 when it is all that there is.
    pub since: u64,
    /// What it says; `replicas` are those that changed.
    pub now: NodeSoft,
    /// Not assigned any more.
    pub gone: Vec<VersionId>,
}

impl NodeSoft {
    /// Takes over what is new, if it goes on where this ends. Answers whether it was taken.
    pub fn take(&mut self, news: SoftNews) -> bool {
        let goes_on = self.incarnation == news.now.incarnation
            && news.since <= self.changes
            && self.changes < news.now.changes;
        if goes_on {
            let replicas = std::mem::take(&mut self.replicas);
            *self = NodeSoft { replicas, ..news.now.clone() };
            self.replicas.extend(news.now.replicas);
            for version in &news.gone {
                self.replicas.remove(version);
            }
        }
        goes_on
    }
}

/// How far a node is with one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSoft {
    /// Of the assignment that is meant.
    pub epoch: Epoch,
    /// How far.
    pub phase: Phase,
}

/// Steps to a ready replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The artifact is on its way.
    Fetching,
    /// It is being compiled.
    Compiling,
    /// Calls are taken.
    Ready,
    /// It could not be made ready.
    Failed,
}
