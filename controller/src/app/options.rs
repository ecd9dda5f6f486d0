//! What a controller is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_proto::record::Node;
use coracle_raft::Timing;

use crate::identity::Identity;

/// Everything that [`crate::run`] needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's data folder; the log and the state lie in `raft` below it.
    pub data_dir: PathBuf,
    /// Who this node is.
    pub identity: Identity,
    /// The number of this start of the process: greater than those before.
    pub incarnation: u64,
    /// What this node says of itself; its id is the identity's. Without a gRPC address the bound one is told.
    pub node: Node,
    /// How many voters a new cluster should have: what a founder makes it with. 1 to [`VOTERS_WANTED_MAX`].
    ///
    /// [`VOTERS_WANTED_MAX`]: crate::model::VOTERS_WANTED_MAX
    pub voters_wanted: u32,
    /// Where 7400 is bound.
    pub listen: SocketAddr,
    /// How patient Raft is.
    pub timing: Timing,
    /// How long an artifact that no version names is kept.
    pub artifact_grace: Duration,
    /// Go on from a store one of whose syncs has failed: what it acknowledged may be missing without a trace.
    pub accept_failed_sync: bool,
}

/// Default of [`Options::artifact_grace`]: longer than any deploy takes from upload to proposal.
pub const ARTIFACT_GRACE: Duration = Duration::from_secs(600);

impl Options {
    pub(super) fn raft(&self) -> coracle_raft::Options {
        let (cluster, node) = (self.identity.cluster, self.identity.node);
        let identity = coracle_raft::MemberId { cluster, group: GroupId::META, node };
        let mut options = coracle_raft::Options::new(self.data_dir.join("raft"), identity);
        options.timing = self.timing;
        options.accept_taint = self.accept_failed_sync;
        options
    }
}
