//! What nodes say about themselves: told all the time, never on disk.

use std::collections::BTreeMap;

use coracle_proto::id::{Epoch, NodeId, VersionId};

use crate::load::Load;

/// One node's last account of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSoft {
    /// Whose.
    pub node: NodeId,
    /// Of its process: a later start is newer.
    pub incarnation: u64,
    /// Within one incarnation.
    pub sequence: u64,
    /// How far it is with what it was assigned.
    pub replicas: BTreeMap<VersionId, ReplicaSoft>,
    /// How busy it is.
    pub load: Load,
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
