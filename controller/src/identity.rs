//! Who this node is: the file `identity` in its data folder, made by founding a cluster, or by joining one, for which the
//! supervisor asks.

mod file;

use std::path::Path;

use coracle_proto::id::{ClusterId, NodeId};
use thiserror::Error;
use tracing::info;

pub(crate) use file::write_durably;
pub use file::{load, save};

/// Who this node is, and where it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name, for people.
    pub cluster_name: String,
    /// Its id, given out once.
    pub node: NodeId,
    /// It made the cluster.
    pub founder: bool,
    /// Controllers to begin with, `HOST:PORT` of 7400; the state knows the present ones.
    pub controllers: Vec<String>,
}

/// Why a node has no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{path} is damaged ({reason}): the node cannot tell who it is; empty the data folder and join anew"
    )]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The id of the node that founds a cluster.
pub const FOUNDER: NodeId = NodeId::new(1);

/// Makes a new cluster with this node as its first; an identity that exists stays as it is.
///
/// # Errors
/// When the file cannot be read or written.
pub fn found(dir: &Path, cluster_name: &str) -> Result<Identity, IdentityError> {
    if let Some(identity) = load(dir)? {
        info!(cluster = %identity.cluster, node = %identity.node, "the store is not empty: bootstrap is ignored");
        return Ok(identity);
    }
    let identity = Identity {
        cluster: ClusterId::new(rand::random()),
        cluster_name: cluster_name.to_owned(),
        node: FOUNDER,
        founder: true,
        controllers: Vec::new(),
    };
    file::save(dir, &identity)?;
    info!(cluster = %identity.cluster, name = cluster_name, "a new cluster");
    Ok(identity)
}
