//! Data groups: where what functions keep is kept, and by whom.

use std::collections::BTreeSet;

use crate::id::{GroupId, Namespace, NodeId, Revision};

/// Slots of a cluster: what one namespace has lies in one of them. A number of its kind for good, for the hash of a name is
/// taken modulo it.
pub const SLOTS: usize = 256;

/// A data group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataGroup {
    /// Which one; the group of the cluster's own state is none of them.
    pub id: GroupId,
    /// The nodes that are to have its replicas.
    pub members: BTreeSet<NodeId>,
    /// When that was decided.
    pub revision: Revision,
    /// It has had a leader: whoever lacks its log from now on has lost it, and founds nothing.
    pub begun: bool,
}

/// Which data group has which slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// Of each slot, in their order: [`SLOTS`] of them.
    pub groups: Vec<GroupId>,
    /// When it was last changed.
    pub revision: Revision,
}

impl SlotTable {
    /// The group that has what the namespace has.
    #[must_use]
    pub fn group_of(&self, namespace: &Namespace) -> Option<GroupId> {
        self.groups.get(slot_of(namespace)).copied()
    }
}

/// The slot of a namespace: FNV-1a of its name (Fowler, Noll, Vo; 64 bits) modulo [`SLOTS`].
#[must_use]
pub fn slot_of(namespace: &Namespace) -> usize {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let name = namespace.to_string();
    let hash = name.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It says where data lies: another function would look for it elsewhere.
    #[test]
    fn slots_are_the_same_for_ever() {
        let slot = |name: &str| slot_of(&name.parse().unwrap());
        assert_eq!(["default", "shop", "a", "b"].map(slot), [254, 9, 140, 165]);
    }
}
