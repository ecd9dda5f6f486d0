//! Whether those that are to vote have the chunks of all blobs: who has what they lack does not go before (docs/adr/0018).

mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::{ClusterId, GroupId, NodeId};
use coracle_raft::Status;
use tracing::{debug, info};

use super::HEARD_WITHIN;
use crate::chunks::GroupChunks;
use crate::model;
use crate::replicas::Replica;

/// Asks them, for as long as this replica leads.
pub(super) struct Whole {
    cluster: ClusterId,
    group: GroupId,
    /// The group's sequence when it was asked first of each: it is to have all that there was by then.
    since: BTreeMap<NodeId, u64>,
    /// For whom it was said that he is waited for.
    awaited: Option<NodeId>,
}

/// What a member says of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// All is there that the group had at this sequence.
    Whole(u64),
    /// It is of a version that does not tell.
    Nothing,
    /// It does not answer.
    Silent,
}

impl Whole {
    pub(super) const fn new(cluster: ClusterId, group: GroupId) -> Self {
        Self { cluster, group, since: BTreeMap::new(), awaited: None }
    }

    /// Nobody is to come or to go, or another one leads: whoever is asked next is to have what there is by then.
    pub(super) fn rest(&mut self) {
        self.since.clear();
        self.awaited = None;
    }

    /// Whether these may vote from now on, and no others.
    pub(super) async fn may_vote(
        &mut self,
        (replica, chunks): (&Replica, &GroupChunks),
        voters: &BTreeSet<NodeId>,
    ) -> bool {
        let (status, state) = (replica.status(), replica.state());
        // What cannot be read is told by whoever asks for it.
        let now = model::group(&state).ok().flatten().map_or(0, |group| group.sequence);
        self.since.retain(|node, _| voters.contains(node));
        let (votes, heard) = (status.voters.keys().copied().collect(), heard(&status));
        for node in asked(&votes, &heard, voters) {
            let since = *self.since.entry(node).or_insert(now);
            let said = if node == status.node {
                chunks.whole(&state).map_or(Said::Silent, Said::Whole)
            } else {
                self.ask(&status, node).await
            };
            if said == Said::Silent {
                // It may be away for long: what it has is asked for anew.
                self.since.remove(&node);
            }
            if !is_enough(said, since, status.voters.contains_key(&node)) {
                debug!(group = %self.group, %node, ?said, since, "not all chunks of blobs are there");
                if self.awaited.replace(node) != Some(node) {
                    info!(group = %self.group, %node, "a member is to have all chunks of blobs before another one goes");
                }
                return false;
            }
        }
        self.rest();
        true
    }

    async fn ask(&self, status: &Status, node: NodeId) -> Said {
        match status.voters.get(&node).or_else(|| status.learners.get(&node)) {
            Some(seat) => remote::ask(self.cluster, self.group, &seat.address).await,
            None => Said::Silent,
        }
    }
}

/// Whoever comes is asked; and whoever stays, where somebody goes who could still give it what it lacks.
fn asked(votes: &BTreeSet<NodeId>, heard: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let gives = votes.difference(voters).any(|node| heard.contains(node));
    voters.iter().copied().filter(|node| gives || !votes.contains(node)).collect()
}

/// Who is there: this one, and those who have answered lately.
fn heard(status: &Status) -> BTreeSet<NodeId> {
    let answers = |heard: Option<Duration>| heard.is_some_and(|heard| heard <= HEARD_WITHIN);
    let others = status.followers.iter().filter(|(_, it)| answers(it.heard));
    others.map(|(node, _)| *node).chain([status.node]).collect()
}

/// Who votes already may be silent, which is no reason to wait.
const fn is_enough(said: Said, since: u64, votes: bool) -> bool {
    match said {
        Said::Whole(until) => until >= since,
        Said::Nothing => true,
        Said::Silent => votes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_has_all_of_what_there_was_when_it_was_asked_for() {
        assert!(is_enough(Said::Whole(5), 5, false) && !is_enough(Said::Whole(4), 5, true));
        assert!(is_enough(Said::Nothing, 5, false), "as before there were blobs");
        assert!(!is_enough(Said::Silent, 0, false) && is_enough(Said::Silent, 0, true));
    }

    #[test]
    fn who_stays_is_asked_where_somebody_goes_who_could_give() {
        let nodes = |ids: &[u64]| -> BTreeSet<NodeId> { ids.iter().copied().map(NodeId::new).collect() };
        let asked = |heard: &[u64], voters: &[u64]| -> Vec<u64> {
            let asked = asked(&nodes(&[1, 2, 3]), &nodes(heard), &nodes(voters));
            asked.into_iter().map(NodeId::get).collect()
        };
        assert_eq!(asked(&[1, 2], &[1, 2, 4]), [4], "3 is silent");
        assert_eq!(asked(&[1, 2, 3], &[1, 2, 3, 4]), [4], "nobody goes");
        assert_eq!(asked(&[1, 2, 3], &[1, 2, 4]), [1, 2, 4]);
        assert_eq!(asked(&[1, 2, 3], &[2, 3]), [2, 3], "the leader goes");
    }
}
