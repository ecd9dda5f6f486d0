//! Where Raft dials its members: what a node said last goes before what the membership recorded.

use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_raft::AddressBook;

use crate::watch::Hub;

/// The addresses in the state.
#[derive(Debug)]
pub(super) struct StateAddresses(pub(super) Arc<Hub>);

impl AddressBook for StateAddresses {
    fn address(&self, node: NodeId, recorded: &str) -> String {
        let state = self.0.state();
        let told = state.node(node).map(|node| node.addresses.grpc.as_str()).filter(|told| !told.is_empty());
        told.unwrap_or(recorded).to_owned()
    }
}
