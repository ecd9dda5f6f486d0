//! Arrangements to and from their wire form, which is that on the disk too.

use coracle_proto::codec::DecodeError;
use coracle_proto::id::{GroupId, NodeId, Revision, StoreId};
use coracle_proto::pb::{ArrangeRequest, ArrangedGroups, GroupSeat};
use coracle_raft::Seat;
use prost::Message as _;

use super::Arrangement;

/// Writes arrangements as they stand on the disk.
pub(super) fn encode<'a>(all: impl Iterator<Item = &'a Arrangement>) -> Vec<u8> {
    ArrangedGroups { groups: all.map(Arrangement::to_wire).collect() }.encode_to_vec()
}

/// Reads them.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Arrangement>, DecodeError> {
    let message = ArrangedGroups::decode(bytes);
    let message = message.map_err(|error| DecodeError::new("groups", error.to_string()))?;
    message.groups.iter().map(Arrangement::from_wire).collect()
}

impl Arrangement {
    /// Reads what a leader of the cluster told.
    ///
    /// # Errors
    /// When it names no group, or no member.
    pub(crate) fn from_wire(wire: &ArrangeRequest) -> Result<Self, DecodeError> {
        let group = GroupId::new(wire.group);
        if group == GroupId::META {
            return Err(DecodeError::new("group", "the group of the cluster's own state is no data group"));
        }
        if wire.members.is_empty() {
            return Err(DecodeError::missing("members"));
        }
        let seat = |it: &GroupSeat| {
            (NodeId::new(it.node), Seat { address: it.address.clone(), store: StoreId::new(it.store) })
        };
        Ok(Self {
            group,
            revision: Revision::new(wire.revision),
            members: wire.members.iter().map(seat).collect(),
            begun: wire.begun,
            stays: wire.stays,
        })
    }

    fn to_wire(&self) -> ArrangeRequest {
        let seat = |(node, seat): (&NodeId, &Seat)| GroupSeat {
            node: node.get(),
            address: seat.address.clone(),
            store: seat.store.get(),
        };
        ArrangeRequest {
            cluster_id: Vec::new().into(),
            group: self.group.get(),
            revision: self.revision.get(),
            members: self.members.iter().map(seat).collect(),
            begun: self.begun,
            stays: self.stays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::arrangement;

    #[test]
    fn what_names_no_data_group_or_nobody_is_refused() {
        let wire = arrangement(1, 5, "a:1").to_wire();
        assert_eq!(Arrangement::from_wire(&wire).unwrap(), arrangement(1, 5, "a:1"));
        for wrong in [ArrangeRequest { group: 0, ..wire.clone() }, ArrangeRequest { members: vec![], ..wire }]
        {
            assert!(Arrangement::from_wire(&wrong).is_err());
        }
    }
}
