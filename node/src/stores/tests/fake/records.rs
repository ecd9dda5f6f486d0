//! What shows stores to a node: as members of the one group.

use coracle_proto::id::{GroupId, NodeId, Revision, StoreId};
use coracle_proto::record::{Addresses, Change, DataGroup, Node, NodeState, Record, Role, SLOTS, SlotTable};

use super::{GROUP, Store};

impl Store {
    /// What makes it, and others, the members of the one group, for a view. They are nodes 11, 12, ...
    pub(crate) fn records(stores: &[&Self]) -> Vec<Change> {
        let ids: Vec<NodeId> = (11..).take(stores.len()).map(NodeId::new).collect();
        let node = |(id, store): (&NodeId, &&Self)| {
            Change::put(Record::Node(Node {
                id: *id,
                name: format!("n{id}"),
                roles: [Role::Store].into(),
                zone: String::new(),
                version: String::new(),
                addresses: Addresses { store: store.address.to_string(), ..Addresses::default() },
                state: NodeState::Alive,
                registered: Revision::new(1),
                slots: 1,
                memory_bytes: 1,
                store: StoreId::UNKNOWN,
            }))
        };
        let mut changes: Vec<_> = ids.iter().zip(stores).map(node).collect();
        let (id, revision) = (GroupId::new(GROUP), Revision::new(1));
        let members = ids.into_iter().collect();
        changes.push(Change::put(Record::Group(DataGroup { id, members, revision, begun: true })));
        changes.push(Change::put(Record::Slots(SlotTable { groups: vec![id; SLOTS], revision })));
        changes
    }
}
