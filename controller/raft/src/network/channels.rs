//! One lazy connection for each peer and purpose, shared by all groups of the host, so that heartbeats and votes never
//! wait behind entries, nor entries behind a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::{GroupId, NodeId, StoreId};
use coracle_proto::pb::raft as pb;
use coracle_proto::pb::raft::raft_transport_client::RaftTransportClient;
use coracle_transport::{Dialer, Purpose};
use tonic::transport::Channel;

use super::beats::Beats;
use super::{AddressBook, MESSAGE_BYTES_MAX};
use crate::membership::Seat;
use crate::options::HostIdentity;
use crate::types::Membership;

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

/// The connections of one host.
pub(crate) struct Channels {
    pub(crate) identity: HostIdentity,
    addresses: Arc<dyn AddressBook>,
    /// The newest recorded seats: openraft keeps a client when only its target's address changes.
    recorded: Mutex<HashMap<NodeId, Seat>>,
    open: Mutex<HashMap<(NodeId, Lane), (String, Channel)>>,
    pub(super) beats: Beats,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Channels {
    pub(crate) fn new(identity: HostIdentity, addresses: Arc<dyn AddressBook>) -> Self {
        Self {
            identity,
            addresses,
            recorded: Mutex::default(),
            open: Mutex::default(),
            beats: Beats::default(),
        }
    }

    /// Notes what the membership records of a peer.
    pub(crate) fn record(&self, node: NodeId, seat: &Seat) {
        let mut recorded = lock(&self.recorded);
        let known = recorded.get(&node).map_or(StoreId::UNKNOWN, |known| known.store);
        let store = if seat.store == StoreId::UNKNOWN { known } else { seat.store };
        recorded.insert(node, Seat { address: seat.address.clone(), store });
    }

    /// The same, of every member.
    pub(crate) fn record_all(&self, membership: &Membership) {
        membership.nodes().for_each(|(node, seat)| self.record(NodeId::new(*node), seat));
    }

    fn recorded(&self, node: NodeId) -> Seat {
        lock(&self.recorded).get(&node).cloned().unwrap_or_default()
    }

    /// Where a peer is dialled now; nowhere when it was never recorded.
    pub(crate) fn address(&self, to: NodeId) -> String {
        self.addresses.address(to, &self.recorded(to).address)
    }

    /// The store that a peer is known by.
    pub(crate) fn store_of(&self, node: NodeId) -> StoreId {
        self.recorded(node).store
    }

    /// A client of a peer. Nothing is dialled before its first call. Needs a runtime.
    pub(crate) fn client(&self, to: NodeId, lane: Lane) -> Result<Client, tonic::Status> {
        let address = self.address(to);
        let mut open = lock(&self.open);
        let channel = match open.get(&(to, lane)) {
            Some((dialled, channel)) if *dialled == address => channel.clone(),
            // New, or the peer has moved.
            Some(_) | None => {
                let channel = dial(&address)?;
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
        self.beats.close();
    }

    /// From whom a message is, and for whom it is meant.
    pub(crate) fn header(&self, group: GroupId, to: NodeId) -> pb::Header {
        let HostIdentity { owner, store } = self.identity;
        pb::Header {
            cluster: owner.cluster.to_wire(),
            group: group.get(),
            from: owner.node.get(),
            to: to.get(),
            from_store: store.get(),
            to_store: self.store_of(to).get(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dial(address: &str) -> Result<Channel, tonic::Status> {
    let dialled = Dialer::new(Purpose::Raft).connect_lazily(address);
    dialled.map_err(|error| tonic::Status::unavailable(format!("address '{address}': {error}")))
}
