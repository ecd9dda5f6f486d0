//! Keeps the seats of Raft's group as [`crate::seats`] wants them, one step after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision};
use coracle_proto::record::Node;
use coracle_raft::Follower;
use tokio::sync::watch;
use tracing::{debug, info};

use super::duty::{Agenda, Duty, Leading, drive};
use crate::clock;
use crate::context::Context;
use crate::liveness::detector::POLICY;
use crate::model::Command;
use crate::seats::{Members, Step, next_step};

/// Progress of learners is looked at this often; changes of the state wake the driver at once.
const PAUSE: Duration = Duration::from_millis(500);
/// Changes that come within this time are looked at together: most change no member.
const TOGETHER: Duration = Duration::from_millis(20);
/// Entries that a learner may be behind and still become a voter: they are sent within one heartbeat.
const LAG_MAX: u64 = 100;
/// A member that was silent for longer is not given a vote: several heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks lies less, or this process was stopped itself: then it was deaf, not the others silent.
const GAP: Duration = Duration::from_secs(2);

const _: () = assert!(PAUSE.as_millis() < GAP.as_millis());

/// Runs until it is dropped.
pub(super) async fn seat(leading: Leading<'_>) {
    let mut revisions = leading.context.hub.subscribe();
    // The first look waits for no change.
    revisions.mark_changed();
    let begun = clock::now();
    drive(Seats { leading, revisions, watching: Watching { since: begun, last: begun } }).await;
}

/// What wakes it, and for how long it has watched.
#[derive(Debug)]
struct Seats<'a> {
    leading: Leading<'a>,
    revisions: watch::Receiver<Revision>,
    watching: Watching,
}

/// Since when the leader looks at its members without a gap.
#[derive(Debug, Clone, Copy)]
struct Watching {
    since: Instant,
    last: Instant,
}

impl Watching {
    /// One look more; for how long there was no gap.
    fn look(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.last) >= GAP {
            self.since = now;
        }
        self.last = now;
        now.saturating_duration_since(self.since)
    }
}

impl Duty for Seats<'_> {
    const NAME: &'static str = "seats";

    const RETRIED: bool = true;

    type Act = Step;

    async fn wake(&mut self) {
        // Whether it was the pause or a change that ended the wait makes no difference.
        let _ = tokio::time::timeout(PAUSE, self.revisions.changed()).await;
        tokio::time::sleep(TOGETHER).await;
    }

    fn plan(&mut self, now: Instant) -> Agenda<Step> {
        self.revisions.mark_unchanged();
        let step = wanted(self.leading.context, self.watching.look(now));
        // The next one is decided when this one is done.
        Agenda { acts: step.into_iter().collect(), more: true }
    }

    async fn act(&mut self, step: Step) -> Result<(), String> {
        info!(?step, "seats");
        let raft = &self.leading.context.raft;
        let said = |error: coracle_raft::ProposeError| error.to_string();
        match step {
            Step::AddLearner(node, seat) => raft.add_learner(node, seat).await.map_err(said),
            Step::SetSeat(node, seat) => raft.set_seat(node, seat).await.map_err(said),
            Step::SetVoters(voters) => raft.set_voters(&voters).await.map_err(said),
            Step::TransferTo(node) => raft.transfer_leader(node).await.map_err(said),
            Step::RemoveLearner(node) => raft.remove(node).await.map_err(said),
            Step::RemoveRecord(node) => {
                // Given up as soon as any other decision, for all other steps wait behind it. That it may be applied after that
                // does no harm: one that is decided again meanwhile is refused, for there is no such node any more.
                let decided = self.leading.decide(Command::RemoveNode { node }).await?;
                debug!(revision = %decided.revision, "record removed");
                Ok(())
            }
        }
    }
}

/// What to do, by a leader that has watched for so long.
fn wanted(context: &Context, watched: Duration) -> Option<Step> {
    let state = context.hub.state();
    let wanted = usize::try_from(state.cluster()?.voters_wanted).unwrap_or(usize::MAX);
    let nodes: BTreeMap<NodeId, Node> = state.nodes().map(|node| (node.id, node.clone())).collect();
    // By the index: this is asked at every revision, and replicas are many.
    let keeps = |node: &NodeId| state.groups().any(|group| group.members.contains(node));
    let holds = |node: &NodeId| state.replicas_on(*node).next().is_some() || keeps(node);
    let holding: BTreeSet<NodeId> = nodes.keys().copied().filter(holds).collect();
    next_step(&members(context, watched)?, &nodes, &holding, wanted)
}

fn members(context: &Context, watched: Duration) -> Option<Members> {
    let raft = context.raft.status();
    // The next change waits for this one.
    if raft.changing {
        return None;
    }
    let follows = |follower: &Follower| {
        follower.lag <= LAG_MAX && follower.heard.is_some_and(|heard| heard <= HEARD_WITHIN)
    };
    let mut follows: Vec<_> = raft.followers.iter().filter(|(_, follower)| follows(follower)).collect();
    // In the order in which they should take over.
    follows.sort_by_key(|(node, follower)| (follower.lag, follower.heard, **node));
    let caught_up = follows.into_iter().map(|(node, _)| *node).chain([context.node]).collect();
    let unheard = |node: &&NodeId| {
        let follower = raft.followers.get(*node);
        **node != context.node && follower.is_some_and(|follower| is_unheard(follower, watched))
    };
    let unheard = raft.voters.keys().filter(unheard).copied().collect();
    let recorded = raft.voters.iter().chain(&raft.learners);
    Some(Members {
        leader: context.node,
        seats: recorded.map(|(node, seat)| (*node, seat.clone())).collect(),
        voters: raft.voters.into_keys().collect(),
        learners: raft.learners.into_keys().collect(),
        caught_up,
        unheard,
    })
}

/// A leader that has not watched for long enough knows nothing of how long a follower is silent.
fn is_unheard(follower: &Follower, watched: Duration) -> bool {
    watched >= POLICY.dead_after && follower.heard.is_none_or(|ago| ago >= POLICY.dead_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_was_stopped_gives_nobody_up() {
        let heard = |ago| Follower { matched: None, lag: 0, heard: ago };
        let begun = clock::now();
        let mut watching = Watching { since: begun, last: begun };
        let mut now = begun;
        while now < begun + POLICY.dead_after {
            assert!(!is_unheard(&heard(None), watching.look(now)), "a new leader waits");
            now += PAUSE;
        }
        let watched = watching.look(now);
        assert!(is_unheard(&heard(None), watched) && is_unheard(&heard(Some(POLICY.dead_after)), watched));
        assert!(!is_unheard(&heard(Some(PAUSE)), watched));
        now += Duration::from_secs(60);
        assert!(!is_unheard(&heard(Some(Duration::from_secs(60))), watching.look(now)));
    }
}
