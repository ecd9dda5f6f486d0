//! Why a store ended other than by being told to.

use std::net::SocketAddr;
use std::path::PathBuf;

use coracle_proto::id::GroupId;
use coracle_proto::status::Code;
use coracle_raft::OpenError;
use thiserror::Error;
use tokio::task::JoinError;

/// Why a store could not start or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The port cannot be bound.
    #[error("cannot listen at {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is on the disk is damaged, foreign, in use, or cannot be read.
    #[error("{source} (the node's data folder is {})", data_dir.display())]
    Store {
        /// The node's data folder, in which the store is a part.
        data_dir: PathBuf,
        /// What is wrong with it.
        source: OpenError,
    },
    /// The data folder cannot be written.
    #[error("{}: {source}", path.display())]
    Mark {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed: its disk is full, say. The next process goes on from what its log has, once it can be written.
    #[error("the store failed: {reason}")]
    Failed {
        /// What was done, and what the system said.
        reason: String,
        /// It was a sync: the store must not be used again.
        tainted: bool,
    },
    /// A replica stopped: it met what it cannot read, or its store failed.
    #[error("the replica of data group {group} stopped: {reason}")]
    Stopped {
        /// Of which group.
        group: GroupId,
        /// What it met.
        reason: String,
        /// An operation of a newer program: until this one is upgraded it would stop there again.
        halted: bool,
        /// A sync failed: the store must not be used again.
        tainted: bool,
    },
    /// The gRPC server failed.
    #[error("the gRPC server ended: {reason}")]
    Server {
        /// Why.
        reason: String,
    },
}

impl RunError {
    /// Whether starting again cannot help until somebody changes something (exit code 78).
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Failed { tainted, .. } => *tainted,
            Self::Stopped { halted, tainted, .. } => *halted || *tainted,
            Self::Store { source, .. } => source.is_configuration(),
            // The port was this node's when it started: whoever has it now may let it go.
            Self::Bind { .. } | Self::Mark { .. } | Self::Server { .. } => false,
        }
    }

    /// The page that says what to do, where there is one.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Store { source, .. } => source.code(),
            Self::Stopped { halted: true, .. } => Some(Code::UpgradeRequired),
            Self::Failed { tainted: true, .. } | Self::Stopped { tainted: true, .. } => {
                Some(Code::StoreDamaged)
            }
            Self::Failed { tainted: false, .. }
            | Self::Stopped { halted: false, tainted: false, .. }
            | Self::Bind { .. }
            | Self::Mark { .. }
            | Self::Server { .. } => None,
        }
    }

    pub(super) fn serving(ended: Result<Result<(), tonic::transport::Error>, JoinError>) -> Self {
        let reason = match ended {
            Ok(Ok(())) => "it stopped by itself".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Self::Server { reason }
    }
}
