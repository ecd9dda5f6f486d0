//! One store process: opened from its options, run until it is told to stop, ended in order.

mod begun;
mod error;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::codec::InField as _;
use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Failed, Host, HostOptions, Owner, RaftServer, Role, States};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use error::RunError;

use crate::book::Book;
use crate::chunks::{ChunkLimits, Chunks};
use crate::replicas::Replicas;

/// The folder below the node's.
const FOLDER: &str = "store";
/// How often it is looked whether a replica has stopped by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Open requests get so long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that [`run`] needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's data folder; what the store has lies in `store` below it, and what blobs hold in `store-chunks`.
    pub data_dir: PathBuf,
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Where 7403 is bound.
    pub listen: SocketAddr,
    /// Go on from a store one of whose syncs has failed: what it acknowledged may be missing without a trace.
    pub accept_failed_sync: bool,
}

/// What the services of a store share.
pub(crate) struct Context {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) closing: CancellationToken,
}

impl Context {
    /// Refuses what is meant for another cluster.
    pub(crate) fn check_cluster(&self, cluster: &[u8]) -> Result<(), Refusal> {
        let meant = ClusterId::try_from(cluster).in_field("cluster_id")?;
        if meant == self.cluster {
            return Ok(());
        }
        let sentence = format!("this store is of cluster {}, not of {meant}", self.cluster);
        Err(Refusal::new(Code::WrongCluster, sentence))
    }
}

/// Binds and runs a store until `shutdown` is done.
///
/// # Errors
/// See [`RunError`].
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let listener = service::bind(options.listen)?;
    let (context, raft) = open(&options, ChunkLimits::DEFAULT).await?;
    info!(node = %context.node, folder = %options.data_dir.join(FOLDER).display(), "the store is open");
    let until = CancellationToken::new();
    let mut server =
        tokio::spawn(service::serve(Arc::clone(&context), raft, listener, until.clone().cancelled_owned()));
    // Not before: members of other hosts are answered while these begin.
    context.replicas.resume().await;
    let result = tokio::select! {
        () = shutdown => Ok(()),
        reason = stopped(&context.replicas) => Err(reason),
        ended = &mut server => Err(RunError::serving(ended)),
    };
    if let Err(reason) = &result {
        error!(%reason, "the store ends");
    }
    context.closing.cancel();
    until.cancel();
    context.replicas.close().await;
    if !server.is_finished() && tokio::time::timeout(DRAIN_TIMEOUT, server).await.is_err() {
        info!(?DRAIN_TIMEOUT, "some requests did not end in time");
    }
    info!("closed");
    result
}

async fn open(options: &Options, limits: ChunkLimits) -> Result<(Arc<Context>, RaftServer), RunError> {
    let dir = options.data_dir.join(FOLDER);
    let host = HostOptions {
        dir: dir.clone(),
        owner: Owner { cluster: options.cluster, node: options.node },
        must_exist: begun::had_store(&options.data_dir)?,
        accept_taint: options.accept_failed_sync,
        states: States::OnDisk,
    };
    let book = Book::open(&options.data_dir);
    let host = Host::open(host, Arc::new(book.clone())).await;
    let host = host.map_err(|source| RunError::Store { data_dir: options.data_dir.clone(), source })?;
    begun::mark(&options.data_dir)?;
    let raft = host.service();
    let chunks = Chunks::new(&options.data_dir, limits);
    let replicas = Arc::new(Replicas::new((options.cluster, options.node), host, (book, chunks)));
    let closing = CancellationToken::new();
    let (cluster, node) = (options.cluster, options.node);
    Ok((Arc::new(Context { cluster, node, replicas, closing }), raft))
}

/// Returns when nothing more is done here although nobody told it to end. A store that failed has no replica to show that, where
/// the one that it had could not begin.
async fn stopped(replicas: &Replicas) -> RunError {
    tokio::select! {
        Failed { reason, taints } = replicas.failed() => RunError::Failed { reason, tainted: taints },
        stopped = replica_stopped(replicas) => stopped,
    }
}

/// Returns when a replica has stopped by itself, or a task of one has: it met what it cannot read, say.
async fn replica_stopped(replicas: &Replicas) -> RunError {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Before the replicas: a task ends with its replica, whose reason is the better one.
        let ended = replicas.ended();
        for (group, replica) in replicas.all() {
            let status = replica.status();
            if status.role == Role::Stopped {
                let reason = status.stopped.unwrap_or_else(|| "raft has ended".to_owned());
                return RunError::Stopped { group, reason, halted: status.halted, tainted: status.tainted };
            }
        }
        if let Some(group) = ended {
            let reason = "one of its tasks has ended".to_owned();
            return RunError::Stopped { group, reason, halted: false, tainted: false };
        }
    }
}

#[cfg(test)]
mod failed_tests;
#[cfg(test)]
mod tests;
