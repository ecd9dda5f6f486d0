//! Where members are dialled.

use coracle_proto::id::NodeId;

/// Where to dial a member. The membership records an address of each; who knows better may say so.
pub trait AddressBook: Send + Sync + 'static {
    /// The address (`HOST:PORT`) at which `node` is dialled now. Asked before each connection and call.
    fn address(&self, node: NodeId, recorded: &str) -> String;
}

/// Dials what the membership records.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordedAddresses;

impl AddressBook for RecordedAddresses {
    fn address(&self, _node: NodeId, recorded: &str) -> String {
        recorded.to_owned()
    }
}
