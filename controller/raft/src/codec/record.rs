//! What is stored under a key: a type, its message, and the frame around it.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{ClusterId, GroupId, NodeId, StoreId};
use coracle_proto::pb::raft as pb;
use prost::Message;

use super::frame::{FrameError, seal, unseal};
use super::raft::{
    log_id_from_wire, log_id_to_wire, snapshot_meta, stored_membership_from_wire, stored_membership_to_wire,
};
use crate::options::{HostIdentity, Owner};
use crate::types::{LogId, SnapshotMeta, StoredMembership};

/// A type with a stored form.
pub(crate) trait Stored: Sized {
    type Message: Message + Default;

    fn to_message(&self) -> Self::Message;

    fn from_message(message: Self::Message) -> Result<Self, DecodeError>;

    /// The framed record of this under a key.
    fn seal(&self, key: &[u8]) -> Vec<u8> {
        seal(key, &self.to_message().encode_to_vec())
    }

    /// What was stored under a key.
    fn unseal(key: &[u8], record: &[u8]) -> Result<Self, FrameError> {
        // One copy of the body, which the message's byte fields then share.
        let body = Bytes::copy_from_slice(unseal(key, record)?);
        Ok(Self::from_message(Self::Message::decode(body)?)?)
    }
}

impl Stored for HostIdentity {
    type Message = pb::StoreIdentity;

    fn to_message(&self) -> pb::StoreIdentity {
        let Owner { cluster, node } = self.owner;
        pb::StoreIdentity { cluster: cluster.to_wire(), node: node.get(), store: self.store.get() }
    }

    fn from_message(message: pb::StoreIdentity) -> Result<Self, DecodeError> {
        let cluster = ClusterId::try_from(&message.cluster[..]).in_field("cluster")?;
        let owner = Owner { cluster, node: NodeId::new(message.node) };
        Ok(Self { owner, store: StoreId::new(message.store) })
    }
}

/// How far a state machine is. Written in one batch with the changes that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AppliedState {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Stored for AppliedState {
    type Message = pb::AppliedState;

    fn to_message(&self) -> pb::AppliedState {
        pb::AppliedState {
            log_id: self.log_id.as_ref().map(log_id_to_wire),
            membership: Some(stored_membership_to_wire(&self.membership)),
        }
    }

    fn from_message(message: pb::AppliedState) -> Result<Self, DecodeError> {
        Ok(Self {
            log_id: message.log_id.as_ref().map(log_id_from_wire),
            membership: stored_membership_from_wire(message.membership.in_field("membership")?)?,
        })
    }
}

/// A part of a snapshot's file: its head, then its records in key order, then their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnapshotItem {
    Head { cluster: ClusterId, group: GroupId, meta: SnapshotMeta },
    Record { key: Bytes, value: Bytes },
    End { records: u64 },
}

impl Stored for SnapshotItem {
    type Message = pb::SnapshotItem;

    fn to_message(&self) -> pb::SnapshotItem {
        use pb::snapshot_item::Item;
        let item = match self {
            Self::Head { cluster, group, meta } => Item::Head(pb::SnapshotHead {
                cluster: cluster.to_wire(),
                group: group.get(),
                last_log_id: meta.last_log_id.as_ref().map(log_id_to_wire),
                membership: Some(stored_membership_to_wire(&meta.last_membership)),
            }),
            Self::Record { key, value } => {
                Item::Record(pb::SnapshotRecord { key: key.clone(), value: value.clone() })
            }
            Self::End { records } => Item::End(pb::SnapshotEnd { records: *records }),
        };
        pb::SnapshotItem { item: Some(item) }
    }

    fn from_message(message: pb::SnapshotItem) -> Result<Self, DecodeError> {
        use pb::snapshot_item::Item;
        Ok(match message.item.in_field("item")? {
            Item::Head(head) => Self::Head {
                cluster: ClusterId::try_from(&head.cluster[..]).in_field("cluster")?,
                group: GroupId::new(head.group),
                meta: snapshot_meta(head.last_log_id.as_ref(), head.membership)?,
            },
            Item::Record(pb::SnapshotRecord { key, value }) => Self::Record { key, value },
            Item::End(pb::SnapshotEnd { records }) => Self::End { records },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raft::{log_id, membership_from_wire};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn stays<R: Stored + PartialEq + std::fmt::Debug>(record: &R, golden: &str) {
        let bytes = record.seal(b"key");
        assert_eq!(hex(&bytes), golden, "{record:?}");
        assert_eq!(R::unseal(b"key", &bytes).as_ref(), Ok(record));
    }

    /// Format 1 as it was released: a store of it must be read for ever.
    #[test]
    fn the_stored_forms_stay() {
        let voters = vec![pb::Voters { nodes: vec![1, 2] }];
        let member = |node| pb::Member { node, address: format!("host-{node}:7400"), store: 9 };
        let membership =
            membership_from_wire(pb::Membership { configs: voters, members: [1, 2, 3].map(member).to_vec() })
                .unwrap();
        let stored = StoredMembership::new(Some(log_id(3, 40)), membership);
        let meta = SnapshotMeta { last_log_id: Some(log_id(3, 41)), last_membership: stored.clone() };
        let (cluster, group) = (ClusterId::new(7), GroupId::new(1));
        let identity =
            HostIdentity { owner: Owner { cluster, node: NodeId::new(2) }, store: StoreId::new(0xabcd) };
        stays(&identity, "01d4d688ea0a1000000000000000000000000000000007180221cdab000000000000");
        stays(
            &AppliedState { log_id: Some(log_id(3, 41)), membership: stored },
            "018f8d60a40a0408031029125c0a040803102812540a040a02010212180801120b686f73742d313a3734303019090000000000000012180802120b686f73742d323a3734303019090000000000000012180803120b686f73742d333a37343030190900000000000000",
        );
        stays(
            &SnapshotItem::Head { cluster, group, meta },
            "01b1ed29590a780a100000000000000000000000000000000710011a0408031029225c0a040803102812540a040a02010212180801120b686f73742d313a3734303019090000000000000012180802120b686f73742d323a3734303019090000000000000012180803120b686f73742d333a37343030190900000000000000",
        );
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        stays(&SnapshotItem::Record { key, value }, "01c4f1f1e112060a016b120176");
        stays(&SnapshotItem::End { records: 1 }, "013d02d83b1a020801");
    }
}
