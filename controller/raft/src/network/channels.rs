//! One lazy connection for each peer and purpose, so that heartbeats and votes never wait behind entries, nor
//! entries behind a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_client::RaftTransportClient;
use tonic::transport::{Channel, Endpoint};

use super::{MESSAGE_BYTES_MAX, Peers};
use crate::options::Identity;

/// To connect inside one machine room takes a millisecond; longer than this the peer is down.
const CONNECT_MAX: Duration = Duration::from_millis(1_000);

/// A silent connection is asked for a sign of life, and given up without one.
const KEEP_ALIVE: Duration = Duration::from_millis(1_000);
const KEEP_ALIVE_MAX: Duration = Duration::from_millis(2_000);

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Log entries.
    Entries,
    /// Heartbeats, votes, transfers, read indexes, attendance: small and urgent.
    Control,
    /// Snapshots.
    Snapshot,
}

pub(crate) type Client = RaftTransportClient<Channel>;

/// The connections of one member.
pub(crate) struct Channels {
    pub(crate) identity: Identity,
    peers: Arc<dyn Peers>,
    /// The newest recorded addresses: openraft keeps a client when only its target's address changes.
    recorded: Mutex<HashMap<NodeId, String>>,
    open: Mutex<HashMap<(NodeId, Lane), (String, Channel)>>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Channels {
    pub(crate) fn new(identity: Identity, peers: Arc<dyn Peers>) -> Self {
        Self { identity, peers, recorded: Mutex::default(), open: Mutex::default() }
    }

    /// Notes the address that the membership records for a peer.
    pub(crate) fn record(&self, node: NodeId, address: &str) {
        lock(&self.recorded).insert(node, address.to_owned());
    }

    /// Where a peer is dialled now; nowhere when it was never recorded.
    pub(crate) fn address(&self, to: NodeId) -> String {
        let recorded = lock(&self.recorded).get(&to).cloned().unwrap_or_default();
        self.peers.address(to, &recorded)
    }

    /// A client of a peer. Nothing is dialled before its first call. Needs a runtime.
    pub(crate) fn client(&self, to: NodeId, lane: Lane) -> Result<Client, tonic::Status> {
        let address = self.address(to);
        let mut open = lock(&self.open);
        let channel = match open.get(&(to, lane)) {
            Some((dialled, channel)) if *dialled == address => channel.clone(),
            // New, or the peer has moved.
            Some(_) | None => {
                let channel = endpoint(&address)?.connect_lazy();
                open.insert((to, lane), (address, channel.clone()));
                channel
            }
        };
        Ok(Client::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Lets every connection go, and any request that still waits in one with what it holds of the store.
    pub(crate) fn close(&self) {
        lock(&self.open).clear();
    }

    /// For whom a message is meant.
    pub(crate) fn header(&self, to: NodeId) -> pb::Header {
        pb::Header {
            cluster: self.identity.cluster.to_wire(),
            group: self.identity.group.get(),
            from: self.identity.node.get(),
            to: to.get(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| tonic::Status::unavailable(format!("address '{address}': {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .keep_alive_while_idle(true))
}
