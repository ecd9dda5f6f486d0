//! What is remembered of data groups: who led them last, and how far they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{GroupId, NodeId};
use tokio::sync::Mutex;

/// A request that changes something names how far its group was before it: a group remembers the last hundred thousand, and
/// what it was told by is to be well among them. At fifty thousand changes a second so old is the oldest one.
const FRESH: Duration = Duration::from_secs(2);

/// Of all groups that were asked. There are as many as the cluster has.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<GroupId, Group>);

#[derive(Debug, Default)]
struct Group {
    leader: Option<NodeId>,
    /// How far it was, and when that was told.
    sequence: Option<(u64, Instant)>,
    /// Of whoever asks how far it is.
    turn: Arc<Mutex<()>>,
}

impl Known {
    /// Who led it when it was asked last.
    pub(super) fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.0.get(&group)?.leader
    }

    /// It leads.
    pub(super) fn leads(&mut self, group: GroupId, node: NodeId) {
        self.0.entry(group).or_default().leader = Some(node);
    }

    /// It does not.
    pub(super) fn leads_not(&mut self, group: GroupId, node: NodeId) {
        if let Some(known) = self.0.get_mut(&group)
            && known.leader == Some(node)
        {
            known.leader = None;
        }
    }

    /// Who holds it asks how far the group is, and nobody else does.
    pub(super) fn turn(&mut self, group: GroupId) -> Arc<Mutex<()>> {
        Arc::clone(&self.0.entry(group).or_default().turn)
    }

    /// How far the group is at least, where that was told a moment ago.
    pub(super) fn sequence(&self, group: GroupId, now: Instant) -> Option<u64> {
        let (sequence, told) = self.0.get(&group)?.sequence?;
        (now.saturating_duration_since(told) < FRESH).then_some(sequence)
    }

    /// The group has reached it.
    pub(super) fn reached(&mut self, group: GroupId, sequence: u64, now: Instant) {
        let known = &mut self.0.entry(group).or_default().sequence;
        if known.is_none_or(|(known, _)| known <= sequence) {
            *known = Some((sequence, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(1);

    #[test]
    fn how_far_a_group_is_grows_and_is_not_believed_for_long() {
        let (mut known, now) = (Known::default(), crate::clock::now());
        assert_eq!(known.sequence(GROUP, now), None);
        known.reached(GROUP, 7, now);
        known.reached(GROUP, 5, now + FRESH);
        assert_eq!(known.sequence(GROUP, now), Some(7));
        assert_eq!(known.sequence(GROUP, now + FRESH), None, "an older word makes it no newer");
        known.reached(GROUP, 7, now + FRESH);
        assert_eq!(known.sequence(GROUP, now + FRESH), Some(7));
    }

    #[test]
    fn only_who_is_thought_to_lead_can_be_found_not_to() {
        let mut known = Known::default();
        known.leads(GROUP, NodeId::new(1));
        known.leads_not(GROUP, NodeId::new(2));
        assert_eq!(known.leader(GROUP), Some(NodeId::new(1)));
        known.leads_not(GROUP, NodeId::new(1));
        assert_eq!(known.leader(GROUP), None);
    }
}
