//! Goal: verdicts come in time, never in a crowd, and never after the judge was away.

use super::*;

const STEP: Duration = Duration::from_millis(250);

/// Runs the clock, the state following the verdicts; `reports` says who reports at a time.
struct Run {
    detector: Detector,
    nodes: BTreeMap<NodeId, NodeState>,
    now: Duration,
}

impl Run {
    fn of(nodes: u64) -> Self {
        let nodes = (1..=nodes).map(|node| (NodeId::new(node), NodeState::Alive)).collect();
        Self { detector: Detector::new(POLICY), nodes, now: Duration::from_secs(1000) }
    }

    fn tick(&mut self, reporting: impl Fn(u64) -> bool) -> Verdicts {
        self.now += STEP;
        for node in self.nodes.keys().filter(|node| reporting(node.get())) {
            self.detector.report(*node, self.now);
        }
        let verdicts = self.detector.tick(self.now, &self.nodes);
        for (node, state) in &mut self.nodes {
            if verdicts.dead.contains(node) {
                *state = NodeState::Dead;
            } else if verdicts.back.contains(node) {
                *state = NodeState::Alive;
            }
        }
        verdicts
    }

    /// How long it takes until the verdicts satisfy, in milliseconds; at most a minute.
    fn until(&mut self, reporting: impl Fn(u64) -> bool, found: impl Fn(&Verdicts) -> bool) -> Option<u128> {
        let begun = self.now;
        (0..240).find_map(|_| found(&self.tick(&reporting)).then(|| (self.now - begun).as_millis()))
    }

    fn dead(&self) -> Vec<u64> {
        let dead = self.nodes.iter().filter(|(_, state)| **state == NodeState::Dead);
        dead.map(|(node, _)| node.get()).collect()
    }
}

const TWO: NodeId = NodeId::new(2);

#[test]
fn a_silent_node_is_suspect_then_dead_then_back() {
    let mut run = Run::of(3);
    assert_eq!(run.until(|_| true, |verdicts| *verdicts != Verdicts::default()), None, "all is well");
    assert_eq!(run.until(|node| node != 2, |verdicts| verdicts.suspect.contains(&TWO)), Some(2000));
    assert_eq!(run.until(|node| node != 2, |verdicts| verdicts.dead.contains(&TWO)), Some(8000));
    assert_eq!(run.until(|node| node != 2, |verdicts| !verdicts.back.is_empty()), None);
    assert_eq!(run.until(|_| true, |verdicts| verdicts.back.contains(&TWO)), Some(250));
    assert_eq!(run.dead(), [] as [u64; 0]);
}

#[test]
fn two_of_three_are_not_declared_dead() {
    let mut run = Run::of(3);
    run.tick(|_| true);
    let alarm = MassSilence { silent: 2, nodes: 3 };
    assert_eq!(run.until(|node| node == 1, |verdicts| verdicts.alarm == Some(alarm)), Some(2000));
    assert_eq!(run.until(|node| node == 1, |verdicts| !verdicts.dead.is_empty()), None);
    // One comes back: the other is given its whole time again before it is judged.
    let mended = run.tick(|node| node < 3);
    assert_eq!((mended.alarm, mended.restarted), (None, Some(Restart::Mended)));
    assert_eq!(run.until(|node| node < 3, |verdicts| !verdicts.dead.is_empty()), Some(10_000));
    assert_eq!(run.dead(), [3]);
}

#[test]
fn half_of_the_nodes_may_die_one_by_one() {
    let mut run = Run::of(4);
    run.tick(|_| true);
    for left in [3, 2, 1] {
        assert!(run.until(|node| node <= left, |verdicts| !verdicts.dead.is_empty()).is_some(), "{left}");
    }
    assert_eq!(run.dead(), [2, 3, 4]);
}

#[test]
fn a_judge_that_was_away_waits_again() {
    let mut run = Run::of(3);
    run.tick(|_| true);
    assert_eq!(run.until(|node| node != 2, |verdicts| !verdicts.suspect.is_empty()), Some(2000));
    run.now += Duration::from_secs(60);
    let verdicts = run.tick(|_| false);
    assert!(verdicts.suspect.is_empty(), "its own gap says nothing about others");
    assert_eq!(verdicts.restarted, Some(Restart::Away(Duration::from_secs(60) + STEP)));
    assert_eq!(run.until(|node| node != 2, |verdicts| !verdicts.dead.is_empty()), Some(10_000));
}

/// A tick that is late by a second is usual on a starved machine, and a death must be found there too.
#[test]
fn a_judge_whose_ticks_are_late_gives_up_the_dead_only() {
    let mut run = Run::of(3);
    run.tick(|_| true);
    let late = POLICY.gap - STEP - Duration::from_millis(1);
    let found = (0..10).find(|_| {
        run.now += late;
        let verdicts = run.tick(|node| node != 2);
        assert_eq!(verdicts.restarted, None);
        !verdicts.dead.is_empty()
    });
    assert!(found.is_some(), "not given up within {:?}", run.now);
    assert_eq!(run.dead(), [2]);
}

#[test]
fn a_new_leader_waits_and_does_not_believe_old_reports() {
    let mut run = Run::of(3);
    run.nodes.insert(TWO, NodeState::Dead);
    run.tick(|_| false);
    assert!(run.tick(|node| node != 2).back.is_empty(), "the wait for a report is no report");
    run.detector.report(TWO, run.now);
    let now = run.now;
    run.detector.restart(now);
    assert!(run.tick(|node| node != 2).back.is_empty(), "what the leader before heard does not count");
    assert_eq!(run.until(|_| true, |verdicts| verdicts.back.contains(&TWO)), Some(250));
}

#[test]
fn a_relay_that_comes_and_goes_holds_off_no_other_verdict() {
    let mut run = Run::of(5);
    run.tick(|_| true);
    let found = (0..240).find(|round| {
        if round % 8 == 0 {
            run.detector.restart_some(&[NodeId::new(3)].into(), run.now);
        }
        !run.tick(|node| node != 2 && node != 3).dead.is_empty()
    });
    assert!(found.is_some(), "the other one is judged on");
    assert_eq!(run.dead(), [2]);
}

#[test]
fn a_leaving_node_is_not_given_up() {
    let mut run = Run::of(3);
    run.nodes.insert(TWO, NodeState::Leaving);
    run.tick(|_| true);
    assert_eq!(run.until(|node| node != 2, |verdicts| !verdicts.dead.is_empty()), None);
    assert!(run.tick(|node| node != 2).suspect.contains(&TWO));
}
