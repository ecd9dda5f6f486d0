//! What a member of a group is started with: who it is, where it keeps its store, how patient it is.

use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::id::{ClusterId, GroupId, NodeId, StoreId};
use thiserror::Error;

/// Who a store, a member and a message belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberId {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group in it.
    pub group: GroupId,
    /// The member.
    pub node: NodeId,
}

/// Whose a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// Whose a store is, and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostIdentity {
    pub(crate) owner: Owner,
    pub(crate) store: StoreId,
}

/// What a host is opened with.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The folder: `log-meta/`, `log-data/`, `state/`, `identity`.
    pub dir: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// There was a store: an empty folder is refused then, and none is made in it.
    pub must_exist: bool,
    /// Go on from a store one of whose syncs has failed: what it acknowledged may be gone.
    pub accept_taint: bool,
    /// Where the states of its groups are.
    pub states: States,
}

/// Where a host has the states of its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum States {
    /// In memory, each wholly, and as a checkpoint on the disk.
    InMemory,
    /// On the disk, where they are read: they may be larger than the memory.
    OnDisk,
}

/// What a member of a group is started with.
#[derive(Debug, Clone, Copy)]
pub struct GroupOptions {
    /// Which group.
    pub group: GroupId,
    /// How patient.
    pub timing: Timing,
    /// How much.
    pub limits: Limits,
}

/// How fast a silent leader is noticed: a follower campaigns `election_max` (the leader's lease) and a random
/// time between `election_min` and `election_max` after it last heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// The least random time-out before a campaign, after the leader's lease has ended.
    pub election_min: Duration,
    /// The greatest one, and the length of the lease.
    pub election_max: Duration,
}

/// Bounds of the log store and of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A snapshot is made after this many entries.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a follower that was away for a moment needs no snapshot.
    pub keep_entries: u64,
    /// How long a proposal waits for its commit.
    pub propose: Duration,
    /// How long a linearizable read waits.
    pub read: Duration,
    /// How long a snapshot may take to reach a member.
    pub snapshot_transfer: Duration,
}

/// Everything that [`crate::Raft::open`] needs to know: a host for one group.
#[derive(Debug, Clone)]
pub struct Options {
    /// The host's folder.
    pub dir: PathBuf,
    /// Whose store it is, and the group.
    pub identity: MemberId,
    /// There was a store: an empty folder is refused then, and none is made in it.
    pub must_exist: bool,
    /// Go on from a store one of whose syncs has failed: what it acknowledged may be gone.
    pub accept_taint: bool,
    /// How patient.
    pub timing: Timing,
    /// How much.
    pub limits: Limits,
}

/// A bound of [`Options`] that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// The times contradict each other.
    #[error(
        "heartbeat {heartbeat:?}, election {min:?} to {max:?}: need twice the heartbeat below the first, and the first below the second"
    )]
    Timing {
        /// Between signs of life.
        heartbeat: Duration,
        /// Least time-out.
        min: Duration,
        /// Greatest time-out.
        max: Duration,
    },
    /// A count that must not be zero.
    #[error("{name} is 0")]
    Zero {
        /// Which one.
        name: &'static str,
    },
}

/// A silent leader is replaced after 1.2 to 1.6 s, a killed one at once (see the witness).
pub const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_millis(400),
    election_max: Duration::from_millis(800),
};

/// Of the groups beside the first: there may be many of them on a host, each of which costs what it beats. A silent leader
/// is replaced after 1.8 to 2.4 s, a killed one at once.
pub const TIMING_DATA: Timing = Timing {
    heartbeat: Duration::from_millis(250),
    election_min: Duration::from_millis(600),
    election_max: Duration::from_millis(1_200),
};

/// As measured: at 5,000 entries a snapshot is rare, and 2,000 entries are some seconds of the fastest writes.
pub const LIMITS: Limits = Limits {
    snapshot_every: 5_000,
    keep_entries: 2_000,
    propose: Duration::from_secs(5),
    read: Duration::from_secs(5),
    snapshot_transfer: Duration::from_secs(300),
};

/// The largest command: a larger one would delay the entries behind it, and belongs into a file.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;

impl Options {
    /// Default times and limits; a store that is not there is made.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, identity: MemberId) -> Self {
        Self {
            dir: dir.into(),
            identity,
            must_exist: false,
            accept_taint: false,
            timing: TIMING,
            limits: LIMITS,
        }
    }

    pub(crate) fn host(&self) -> HostOptions {
        let MemberId { cluster, node, .. } = self.identity;
        HostOptions {
            dir: self.dir.clone(),
            owner: Owner { cluster, node },
            must_exist: self.must_exist,
            accept_taint: self.accept_taint,
            states: States::InMemory,
        }
    }

    pub(crate) fn group(&self) -> GroupOptions {
        GroupOptions { group: self.identity.group, timing: self.timing, limits: self.limits }
    }
}

impl HostOptions {
    pub(crate) fn validate(&self) -> Result<(), OptionsError> {
        match self.owner.node.get() {
            0 => Err(OptionsError::Zero { name: "node" }),
            _ => Ok(()),
        }
    }
}

impl GroupOptions {
    /// Default limits, and the times of the first group or of the others.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        let timing = if group == GroupId::META { TIMING } else { TIMING_DATA };
        Self { group, timing, limits: LIMITS }
    }

    /// # Errors
    /// When a bound cannot work.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let Timing { heartbeat, election_min: min, election_max: max } = self.timing;
        if heartbeat.is_zero() || heartbeat * 2 >= min || min >= max {
            return Err(OptionsError::Timing { heartbeat, min, max });
        }
        match self.limits.snapshot_every {
            0 => Err(OptionsError::Zero { name: "snapshot_every" }),
            _ => Ok(()),
        }
    }
}
