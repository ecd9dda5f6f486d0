//! Why a chunk is not kept or not read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::status::{Code, Refusal};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ChunkError {
    /// The disk is nearly full: the rest of it is for the log.
    #[error(
        "this node has {free} bytes of free disk and keeps {reserve} of them: it takes no chunk beside {begun} others"
    )]
    Full { free: u64, reserve: u64, begun: u64 },
    /// It has more bytes than a chunk may.
    #[error("a chunk has at most {max} bytes")]
    TooLong { max: u64 },
    /// It is not what its sender says.
    #[error("what came has another digest than its sender says")]
    OtherDigest,
    /// Nothing came for too long.
    #[error("nothing more of the chunk came for {} s", within.as_secs())]
    Idle { within: Duration },
    /// It came, but too slowly.
    #[error("the chunk was not whole within {} s", within.as_secs())]
    Slow { within: Duration },
    /// As many are written as may be at once, for as long as one waits for a place.
    #[error("{most} chunks are being written in this data group, and none was done within {} s: send it again", within.as_secs())]
    Busy { most: usize, within: Duration },
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl From<ChunkError> for Refusal {
    fn from(error: ChunkError) -> Self {
        let code = match &error {
            ChunkError::Full { .. } => Code::DiskFull,
            ChunkError::TooLong { .. } | ChunkError::OtherDigest => Code::InvalidArgument,
            ChunkError::Idle { .. } | ChunkError::Slow { .. } => Code::TimedOut,
            ChunkError::Busy { .. } => Code::Overloaded,
            ChunkError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull => Code::DiskFull,
            ChunkError::Disk { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
