//! What can go wrong with an artifact on this node.

use std::io;
use std::path::{Path, PathBuf};

use coracle_proto::id::Digest;
use coracle_proto::status::{Code, Refusal};
use thiserror::Error;

/// Why an artifact was not stored, read or removed.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Over the limit, or more bytes than were announced.
    #[error("the artifact has {size} bytes or more, at most {max} are taken")]
    TooLarge {
        /// Bytes announced or received.
        size: u64,
        /// The bound.
        max: u64,
    },
    /// Fewer bytes than were announced.
    #[error("the artifact ended after {got} of {expected} bytes")]
    Truncated {
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// The bytes are not the ones that were named.
    #[error("the bytes have the digest {got}, not {expected}")]
    Mismatch {
        /// The digest that was named.
        expected: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// The artifact is not here.
    #[error("this node does not hold {digest}")]
    Missing {
        /// Which one.
        digest: Digest,
    },
    /// The disk, or the user's quota on it, is full.
    #[error("the disk of '{path}' is full")]
    DiskFull {
        /// The file that was written.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("'{path}': {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A task of the runtime was lost: the process is ending.
    #[error("the node is shutting down")]
    Stopped,
}

impl ArtifactError {
    /// Names the path at which the system failed.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    /// The code that a user sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::ArtifactTooLarge,
            Self::Truncated { .. } | Self::Mismatch { .. } => Code::DigestMismatch,
            Self::Missing { .. } => Code::ArtifactMissing,
            Self::DiskFull { .. } => Code::DiskFull,
            Self::Io { .. } => Code::Internal,
            Self::Stopped => Code::Draining,
        }
    }
}

impl From<ArtifactError> for Refusal {
    fn from(error: ArtifactError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<ArtifactError> for tonic::Status {
    fn from(error: ArtifactError) -> Self {
        Refusal::from(error).into()
    }
}
