//! What is wrong with Raft's members, as their leader sees it: pure, time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision};

/// A change of the voters takes two commits.
const JOINT_MAX: Duration = Duration::from_secs(10);
/// For so long a node may have seen what this leader has not applied yet.
const AHEAD_MAX: Duration = Duration::from_secs(4);
/// Looks in which that was so, at least: what happened between two of them nobody saw.
const AHEAD_LOOKS: u32 = 4;

/// What the last looks found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    joint_since: Option<Instant>,
    ahead: BTreeMap<NodeId, Ahead>,
}

/// A node that told of a revision that was not applied here.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    revision: Revision,
    since: Instant,
    looks: u32,
}

impl Findings {
    /// The alarms of one look: whether a change of the voters is under way, which revision was applied here, and which
    /// ones the nodes have seen.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        joint: bool,
        applied: Revision,
        seen: &BTreeMap<NodeId, Revision>,
    ) -> Vec<String> {
        self.joint_since = joint.then(|| self.joint_since.unwrap_or(now));
        // What was seen first counts: who is only faster than this leader tells of it before, but not for seconds.
        self.ahead.retain(|node, ahead| ahead.revision > applied && seen.contains_key(node));
        for (node, revision) in seen.iter().filter(|(_, revision)| **revision > applied) {
            let ahead =
                self.ahead.entry(*node).or_insert(Ahead { revision: *revision, since: now, looks: 0 });
            ahead.looks = ahead.looks.saturating_add(1);
        }
        self.joint_alarm(now).into_iter().chain(self.ahead_alarms(now, applied)).collect()
    }

    fn joint_alarm(&self, now: Instant) -> Option<String> {
        let lasts = now.saturating_duration_since(self.joint_since?);
        (lasts > JOINT_MAX)
            .then(|| format!("joint: a change of the voters has not ended for {} s", lasts.as_secs()))
    }

    fn ahead_alarms(&self, now: Instant, applied: Revision) -> impl Iterator<Item = String> {
        let lasts = move |ahead: &Ahead| now.saturating_duration_since(ahead.since) >= AHEAD_MAX;
        let lasting = self.ahead.iter().filter(move |(_, ahead)| ahead.looks >= AHEAD_LOOKS && lasts(ahead));
        lasting.map(move |(node, ahead)| {
            let revision = ahead.revision;
            format!(
                "member-ahead: node {node} has seen revision {revision}, the leader has {applied}: \
                 what was committed is missing here"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_change_of_voters_that_lasts_is_an_alarm() {
        let (mut findings, now, none) = (Findings::default(), clock::now(), BTreeMap::new());
        let mut look = |after, joint| findings.look(now + after, joint, Revision::new(1), &none);
        assert!(look(Duration::ZERO, true).is_empty() && look(JOINT_MAX, true).is_empty());
        let lasting = look(Duration::from_secs(13), true);
        assert_eq!(lasting, ["joint: a change of the voters has not ended for 13 s"]);
        assert!(look(Duration::from_secs(14), false).is_empty());
        assert!(look(Duration::from_secs(15), true).is_empty(), "another one");
    }

    #[test]
    fn who_stays_ahead_of_the_leader_is_an_alarm_and_who_is_only_faster_is_none() {
        let (mut findings, now) = (Findings::default(), clock::now());
        let mut look = |second: u64, applied, seen: &[(u64, u64)]| {
            let seen = seen.iter().map(|(node, seen)| (NodeId::new(*node), Revision::new(*seen))).collect();
            findings.look(now + Duration::from_secs(second), false, Revision::new(applied), &seen)
        };
        for second in 0..10 {
            assert!(look(second, second, &[(2, second + 1)]).is_empty(), "it is always a moment faster");
        }
        for _ in 0..10 {
            assert!(look(10, 100, &[(2, 107), (3, 100)]).is_empty(), "looks that come at once are one");
        }
        let found = look(14, 100, &[(2, 107), (3, 100)]);
        assert!(matches!(&found[..], [one] if one.starts_with("member-ahead: node 2 ")), "{found:?}");
        assert!(look(15, 107, &[(2, 107)]).is_empty(), "it has come");
    }
}
