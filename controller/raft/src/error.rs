//! What goes wrong, as a caller can act on it. The errors of openraft, sled and fjall become text here.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::status::Code;
use thiserror::Error;

use crate::options::{OptionsError, Owner};
use crate::state_machine::RestoreError;

/// What to do about a store that is lost. The store's own folder is not enough: who the node is stands beside it.
const GIVE_UP: &str = "move the node's whole data folder away and rejoin as a new node";

/// Why a member cannot start from its store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The disk refused.
    #[error("{what} in {}: {source}", dir.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The store's folder.
        dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process, or a member of this one that is not shut down, has it open.
    #[error("the store in {} is in use by another process", dir.display())]
    InUse {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The store was made for someone else.
    #[error(
        "the store in {} belongs to node {} of cluster {}, not to node {} of cluster {}; use another data folder",
        dir.display(), found.node, found.cluster, wanted.node, wanted.cluster
    )]
    Foreign {
        /// The store's folder.
        dir: PathBuf,
        /// Whose it is.
        found: Owner,
        /// Who opened it.
        wanted: Owner,
    },
    /// A sync of it failed in an earlier process: what it holds cannot be known.
    #[error(
        "the store in {} cannot be trusted: {reason}; what it acknowledged may be missing without a trace. {GIVE_UP}; \
         a cluster of one node can only be started with --accept-failed-sync, which takes that risk",
        dir.display()
    )]
    Tainted {
        /// The store's folder.
        dir: PathBuf,
        /// What failed.
        reason: String,
    },
    /// There was a store, and it is gone.
    #[error(
        "the store in {} is empty, but node {node} had one: do not start it under its old id; \
         {GIVE_UP}",
        dir.display()
    )]
    Empty {
        /// The store's folder.
        dir: PathBuf,
        /// Who had it.
        node: NodeId,
    },
    /// The store lost or changed something that was acknowledged.
    #[error("the store in {} is damaged: {reason}; {GIVE_UP}", dir.display())]
    Damaged {
        /// The store's folder.
        dir: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The records are whole, and this build's state machine cannot read them.
    #[error("the store in {}: {source}", dir.display())]
    Restore {
        /// The store's folder.
        dir: PathBuf,
        /// Why.
        source: RestoreError,
    },
    /// The log holds a command that this build cannot read: it was written by a newer one.
    #[error("{reason}")]
    Halted {
        /// What [`Halt`](crate::Halt) says.
        reason: String,
    },
    /// Raft did not start.
    #[error("raft did not start: {reason}")]
    Raft {
        /// Why.
        reason: String,
    },
}

impl OpenError {
    /// Whether starting again cannot help until somebody changes something.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Io { .. } | Self::InUse { .. } | Self::Raft { .. } => false,
            Self::Options(_)
            | Self::Foreign { .. }
            | Self::Empty { .. }
            | Self::Damaged { .. }
            | Self::Tainted { .. }
            | Self::Halted { .. }
            | Self::Restore { .. } => true,
        }
    }

    /// The page that says what to do, where there is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Halted { .. } => Some(Code::UpgradeRequired),
            Self::Foreign { .. } => Some(Code::StoreForeign),
            Self::Empty { .. } | Self::Damaged { .. } | Self::Tainted { .. } | Self::Restore { .. } => {
                Some(Code::StoreDamaged)
            }
            Self::Options(_) | Self::Io { .. } | Self::InUse { .. } | Self::Raft { .. } => None,
        }
    }
}

/// A member that leads, or is thought to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its id.
    pub node: NodeId,
    /// Its address, as recorded in the membership.
    pub address: String,
}

/// Why a command, a change of the members or a read was not done here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// Nothing happened; ask the leader, or again later when there is none.
    #[error("not the leader{}", leader.as_ref().map(|l| format!("; node {} at {} is", l.node, l.address)).unwrap_or_default())]
    NotLeader {
        /// Who is, if known.
        leader: Option<Leader>,
    },
    /// Nothing happened: a majority of the voters does not answer.
    #[error("no quorum: {reason}")]
    NoQuorum {
        /// Who answered.
        reason: String,
    },
    /// It may have been done, or may yet be: a retry must carry the same request id.
    #[error("outcome unknown: {reason}")]
    OutcomeUnknown {
        /// What happened to it.
        reason: String,
    },
    /// No answer in time. The outcome of a proposal is unknown then.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The bound.
        after: Duration,
    },
    /// The command is larger than [`crate::COMMAND_BYTES_MAX`].
    #[error("a command of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The change of the members makes no sense now: another one is under way, or a node is unknown.
    #[error("membership: {reason}")]
    Membership {
        /// Which rule it broke.
        reason: String,
    },
    /// This member has stopped: shut down, or its disk or its state machine failed.
    #[error("stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

impl ProposeError {
    /// Whether the same command may be sent again without a request id that the state machine remembers.
    #[must_use]
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::NoQuorum { .. }
            | Self::TooLarge { .. }
            | Self::Membership { .. } => true,
            Self::OutcomeUnknown { .. } | Self::TimedOut { .. } | Self::Stopped { .. } => false,
        }
    }
}
