//! What a data plane is told at its start, and why it does not start.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::record::Role;
use thiserror::Error;

use crate::artifact::ArtifactError;
use crate::front::ListenError;
use crate::logs::RingError;
use crate::outbound::Reach;
use crate::runtime::{MemoryMode, RuntimeError};

/// Everything that the supervisor knows.
#[derive(Debug)]
pub struct Options {
    /// The node's data: artifacts, logs and the view lie in folders of their own below it.
    pub data_dir: PathBuf,
    /// Compiled code; nodes of one machine may share it.
    pub cache_dir: PathBuf,
    /// The cluster; what belongs to another one is refused.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The number of this start of the process: greater than those before.
    pub incarnation: u64,
    /// What it does. Only a worker takes calls of other nodes, artifacts, and questions about logs.
    pub roles: BTreeSet<Role>,
    /// Where the gateway listens (8080), if this node is one.
    pub http: Option<TcpListener>,
    /// Where other nodes reach it (7402).
    pub data: TcpListener,
    /// Controllers, `HOST:PORT` of 7400, this node's own first.
    pub controllers: Vec<String>,
    /// Calls that it runs at once at full speed: its cores.
    pub slots: u32,
    /// The program whose run with `compile_args` comes to [`crate::compile_child`].
    pub compile_program: PathBuf,
    /// What stands before the arguments of the compilation.
    pub compile_args: Vec<OsString>,
    /// Bytes of memory that guests may have together.
    pub guests_bytes: u64,
    /// How memory for guests is reserved.
    pub memory: MemoryMode,
    /// Whether functions may be made for WASI 0.3.
    pub wasip3: bool,
    /// How far guests' own requests may go, whatever they were granted.
    pub reach: Reach,
    /// How long calls may take to end once it is stopped; gateway and worker each.
    pub drain_timeout: Duration,
}

impl Options {
    /// Whether it takes messages: as a worker it runs calls, as a gateway it has others run them.
    pub(super) fn has_calls_run(&self) -> bool {
        self.roles.contains(&Role::Worker) || self.roles.contains(&Role::Gateway)
    }
}

/// Why the data plane ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// A folder cannot be made.
    #[error("folder '{folder}': {source}")]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store of artifacts cannot be opened.
    #[error("artifacts: {0}")]
    Artifacts(#[from] ArtifactError),
    /// The log ring cannot be opened.
    #[error(transparent)]
    Logs(#[from] RingError),
    /// The runtime does not work here.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The gateway's listener failed.
    #[error(transparent)]
    Gateway(#[from] ListenError),
    /// A listener that was handed on cannot be used.
    #[error("a listener cannot be used: {0}")]
    Listener(#[source] io::Error),
    /// The gRPC server failed.
    #[error("data server: {0}")]
    Server(#[from] tonic::transport::Error),
    /// A part ended that never should.
    #[error("a part of the data plane ended by itself: {0}")]
    Ended(String),
}

impl AppError {
    /// Whether starting again would end the same way, until somebody changes something.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Runtime(RuntimeError::Cache { .. } | RuntimeError::Engine(_)) | Self::Folder { .. } => true,
            Self::Runtime(RuntimeError::Thread(_) | RuntimeError::Outbound(_))
            | Self::Artifacts(_)
            | Self::Logs(_)
            | Self::Gateway(_)
            | Self::Listener(_)
            | Self::Server(_)
            | Self::Ended(_) => false,
        }
    }
}
