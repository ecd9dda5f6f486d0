//! The second copy: an artifact is not called stored before another live worker holds it too.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{Digest, NodeId};
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{StatRequest, UploadChunk};
use coracle_proto::status::{CODE_METADATA, Code, Refusal};
use coracle_proto::trace;
use futures::stream::FuturesUnordered;
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
/// Peers on the same network answer within milliseconds of each other.
const OTHERS_WAIT: Duration = Duration::from_millis(50);
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
    // All are asked at once, and answer in the order in which they come: one that is silent delays only those who need it.
    let mut asked: FuturesUnordered<_> = peers
        .iter()
        .take(PEERS_TRIED_MAX)
        .enumerate()
        .map(|(rank, peer)| async move { (rank, peer, ask(digest, peer).await) })
        .collect();
    while let Some(first) = asked.next().await {
        // Those that answer a moment later may hold it, or be better: what is copied needlessly costs more.
        let mut answered = vec![first];
        let others = async {
            while let Some(next) = asked.next().await {
                answered.push(next);
            }
        };
        let _ = timeout(OTHERS_WAIT, others).await;
        answered.sort_by_key(|(rank, _, answer)| (!matches!(answer, Ok((true, _))), *rank));
        for (_, peer, answer) in answered {
            let error = match answer {
                Ok((true, _)) => return Ok(Second::Held(peer.node)),
                Ok((false, client)) => match copy_to(client, store, digest).await {
                    Ok(()) => return Ok(Second::Copied(peer.node)),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match error {
                CopyError::Unreachable(reason) => unreachable.push(format!("node {}: {reason}", peer.node)),
                CopyError::Refused(refusal) => {
                    let message = format!("node {} refused a copy: {}", peer.node, refusal.message);
                    refused = Some(Refusal::new(refusal.code, message));
                }
            }
        }
    }
    refused.map_or(Ok(Second::Alone(unreachable)), Err)
}

/// Whether a peer holds it, and a connection to it.
async fn ask(digest: Digest, peer: &Peer) -> Result<(bool, ArtifactsClient<Channel>), CopyError> {
    let mut client = connect(&peer.address)
        .await
        .map_err(|_| CopyError::Unreachable(format!("{} cannot be reached", peer.address)))?;
    let stat = trace::request(StatRequest { digest: digest.to_wire(), renew: true });
    let stat = timeout(STAT_TIMEOUT, client.stat(stat)).await;
    let stat =
        stat.map_err(|_| CopyError::Unreachable(format!("silent for {} s", STAT_TIMEOUT.as_secs())))?;
    Ok((stat.map_err(refused)?.into_inner().held, client))
}

async fn copy_to(
    mut client: ArtifactsClient<Channel>,
    store: &Arc<Store>,
    digest: Digest,
) -> Result<(), CopyError> {
    let sent = timeout(COPY_TIMEOUT, send(&mut client, digest, store)).await;
    let late = || Refusal::new(Code::TimedOut, format!("not done within {} s", COPY_TIMEOUT.as_secs()));
    sent.map_err(|_| CopyError::Refused(late()))?
}

async fn send(
    client: &mut ArtifactsClient<Channel>,
    digest: Digest,
    store: &Arc<Store>,
) -> Result<(), CopyError> {
    let (held, rest) = outgoing(store, digest, 0).await.map_err(|error| CopyError::Refused(error.into()))?;
    let head = UploadChunk { digest: digest.to_wire(), size: held.size, ..UploadChunk::default() };
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
