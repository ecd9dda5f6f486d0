//! Why a chunk is not kept or not read.

use std::io;
use std::path::PathBuf;

use coracle_proto::status::{Code, Refusal};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ChunkError {
    /// The disk is nearly full: the rest of it is for the log.
    #[error("this node has {free} bytes of free disk and keeps {reserve} of them: it takes no chunks")]
    Full { free: u64, reserve: u64 },
    /// It has more bytes than a chunk may.
    #[error("a chunk has at most {max} bytes")]
    TooLong { max: u64 },
    /// It is not what its sender says.
    #[error("what came has another digest than its sender says")]
    OtherDigest,
    /// Nothing came for too long.
    #[error("nothing more of the chunk came in time")]
    Idle,
    /// As many are written as may be at once.
    #[error("{most} chunks are being written in this data group: send it again")]
    Busy { most: usize },
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl From<ChunkError> for Refusal {
    fn from(error: ChunkError) -> Self {
        let code = match &error {
            ChunkError::Full { .. } => Code::DiskFull,
            ChunkError::TooLong { .. } | ChunkError::OtherDigest => Code::InvalidArgument,
            ChunkError::Idle => Code::TimedOut,
            ChunkError::Busy { .. } => Code::Overloaded,
            ChunkError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull => Code::DiskFull,
            ChunkError::Disk { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
