//! Data groups to and from their wire form.

use super::DecodeError;
use crate::id::{GroupId, NodeId, Revision};
use crate::pb;
use crate::record::{DataGroup, SLOTS, SlotTable};

impl From<pb::DataGroup> for DataGroup {
    fn from(wire: pb::DataGroup) -> Self {
        Self {
            id: GroupId::new(wire.id),
            members: wire.members.into_iter().map(NodeId::new).collect(),
            revision: Revision::new(wire.revision),
            begun: wire.begun,
        }
    }
}

impl From<&DataGroup> for pb::DataGroup {
    fn from(it: &DataGroup) -> Self {
        Self {
            id: it.id.get(),
            members: it.members.iter().map(|node| node.get()).collect(),
            revision: it.revision.get(),
            begun: it.begun,
        }
    }
}

impl TryFrom<pb::SlotTable> for SlotTable {
    type Error = DecodeError;

    fn try_from(wire: pb::SlotTable) -> Result<Self, DecodeError> {
        if wire.groups.len() != SLOTS {
            let sentence = format!("{} slots, not {SLOTS}", wire.groups.len());
            return Err(DecodeError::new("slots.groups", sentence));
        }
        let groups = wire.groups.into_iter().map(GroupId::new).collect();
        Ok(Self { groups, revision: Revision::new(wire.revision) })
    }
}

impl From<&SlotTable> for pb::SlotTable {
    fn from(it: &SlotTable) -> Self {
        Self { groups: it.groups.iter().map(|group| group.get()).collect(), revision: it.revision.get() }
    }
}
