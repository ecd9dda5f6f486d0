//! The other workers, as far as artifacts are concerned.

use std::fmt;
use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_transport::{Dialer, Purpose};
use tonic::transport::Channel;

/// Bytes of one chunk of an artifact: small against a stream's window of 1 MiB and more, so that some are on the way.
pub const CHUNK_BYTES: usize = 256 << 10;
/// A message of the service is a chunk and a few numbers.
pub(in crate::artifact) const MESSAGE_BYTES_MAX: usize = CHUNK_BYTES + (16 << 10);

/// A worker that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Which one.
    pub node: NodeId,
    /// Its data plane, `HOST:PORT`.
    pub address: String,
}

/// Tells the other workers that are thought alive, best ones first.
#[derive(Clone)]
pub struct PeerList(Arc<dyn Fn() -> Vec<Peer> + Send + Sync>);

impl PeerList {
    /// Asks the function whenever it is needed.
    pub fn new(peers: impl Fn() -> Vec<Peer> + Send + Sync + 'static) -> Self {
        Self(Arc::new(peers))
    }

    /// The workers now.
    #[must_use]
    pub fn get(&self) -> Vec<Peer> {
        (self.0)()
    }
}

impl fmt::Debug for PeerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerList").field(&self.get()).finish()
    }
}

/// Connects to a data plane. Transfers are rare and large: each has a connection of its own and disturbs no call.
pub(in crate::artifact) async fn connect(
    address: &str,
) -> Result<ArtifactsClient<Channel>, tonic::transport::Error> {
    let client = ArtifactsClient::new(Dialer::new(Purpose::Artifact).connect(address).await?);
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
}
