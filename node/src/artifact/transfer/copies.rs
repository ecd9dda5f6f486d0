//! The second copy: an artifact is not called stored before another live worker holds it too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{Digest, NodeId};
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{StatRequest, UploadChunk};
use coracle_proto::status::{CODE_METADATA, Code, Refusal};
use coracle_proto::trace;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;

use super::peer::{Peer, connect};
use crate::artifact::Store;
use crate::artifact::outgoing::outgoing;

/// Peers asked at most, so that an upload into a half-dead cluster ends.
const PEERS_TRIED_MAX: usize = 8;
/// A peer that does not say in time whether it holds the artifact is not counted on.
const STAT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest artifact at 4 MiB a second, and the peer's fsync.
const COPY_TIMEOUT: Duration = Duration::from_secs(90);

/// Where the second copy lies.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::artifact) enum Second {
    /// Some peer had it already.
    Held(NodeId),
    /// It was copied to this peer.
    Copied(NodeId),
    /// No other worker is alive, as far as can be told; each peer tried, with the reason.
    Alone(Vec<String>),
}

enum CopyError {
    /// The peer is not there: it does not count as alive.
    Unreachable(String),
    /// It is there and will not take it.
    Refused(Refusal),
}

/// Makes sure that one of the peers holds the artifact and renews its grace there.
///
/// # Errors
/// When peers are alive but none of them takes it: the last one's refusal, naming the node.
pub(in crate::artifact) async fn ensure_second(
    store: &Arc<Store>,
    digest: Digest,
    peers: &[Peer],
) -> Result<Second, Refusal> {
    let mut unreachable = Vec::new();
    let mut refused = None;
    for peer in peers.iter().take(PEERS_TRIED_MAX) {
        match copy_to(store, digest, peer).await {
            Ok(second) => return Ok(second),
            Err(CopyError::Unreachable(reason)) => unreachable.push(format!("node {}: {reason}", peer.node)),
            Err(CopyError::Refused(refusal)) => {
                let message = format!("node {} refused a copy: {}", peer.node, refusal.message);
                refused = Some(Refusal::new(refusal.code, message));
            }
        }
    }
    refused.map_or(Ok(Second::Alone(unreachable)), Err)
}

async fn copy_to(store: &Arc<Store>, digest: Digest, peer: &Peer) -> Result<Second, CopyError> {
    let mut client = connect(&peer.address)
        .await
        .map_err(|_| CopyError::Unreachable(format!("{} cannot be reached", peer.address)))?;
    let stat = trace::request(StatRequest { digest: digest.to_wire(), renew: true });
    let stat = timeout(STAT_TIMEOUT, client.stat(stat)).await;
    let stat =
        stat.map_err(|_| CopyError::Unreachable(format!("silent for {} s", STAT_TIMEOUT.as_secs())))?;
    if stat.map_err(refused)?.into_inner().held {
        return Ok(Second::Held(peer.node));
    }
    let sent = timeout(COPY_TIMEOUT, send(&mut client, digest, store)).await;
    let late = || Refusal::new(Code::TimedOut, format!("not done within {} s", COPY_TIMEOUT.as_secs()));
    sent.map_err(|_| CopyError::Refused(late()))??;
    Ok(Second::Copied(peer.node))
}

async fn send(
    client: &mut ArtifactsClient<Channel>,
    digest: Digest,
    store: &Arc<Store>,
) -> Result<(), CopyError> {
    let (held, rest) = outgoing(store, digest, 0).await.map_err(|error| CopyError::Refused(error.into()))?;
    let head = UploadChunk { digest: digest.to_wire(), size: held.size, data: Bytes::new() };
    // A file that cannot be read ends the stream early: the peer counts the bytes and refuses.
    let rest = rest.map_while(Result::ok).map(|data| UploadChunk { data, ..UploadChunk::default() });
    let chunks = tokio_stream::once(head).chain(rest);
    client.copy(trace::request(chunks)).await.map_err(refused)?;
    Ok(())
}

/// Tells a connection that broke from an answer of the peer: those carry a code.
fn refused(status: tonic::Status) -> CopyError {
    if status.metadata().contains_key(CODE_METADATA) {
        return CopyError::Refused(Refusal::from_status(&status));
    }
    CopyError::Unreachable(status.message().to_owned())
}
