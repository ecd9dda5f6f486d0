//! Goal: through changes of leaders, pauses of processes and clocks that jump by an hour, each second fires once and
//! in its order, and in its time where one clock alone is wrong.

use std::time::Duration;

use coracle_proto::id::NodeId;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::pace::Pace;
use super::plan;
use crate::clock::Clocks;
use crate::cron::Timetable;
use crate::model::Missed;

const BEGIN_MS: u64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;
/// A leader that was lost is replaced within this, and one that was stopped goes on.
const GONE_MS: u64 = 3000;

/// What the members of a group see, and what their leaders have done.
struct World {
    luck: StdRng,
    /// Since the beginning, by a clock that is right.
    at_ms: u64,
    /// How much the clock of each node is wrong.
    off_ms: Vec<i64>,
    leader: usize,
    /// What each node has heard of the others.
    clocks: Vec<Clocks>,
    /// Who has died, and when it is back.
    dead: Option<(usize, u64)>,
    pace: Pace,
    heard_ms: u64,
    cursor_ms: u64,
    /// When each second fired, by the clock that is right.
    fired: Vec<(u64, u64)>,
    left_out: u64,
}

impl World {
    fn new(seed: u64, nodes: usize) -> Self {
        println!("seed {seed}");
        Self {
            luck: StdRng::seed_from_u64(seed),
            at_ms: 0,
            off_ms: vec![0; nodes],
            leader: 0,
            clocks: (0..nodes).map(|_| Clocks::default()).collect(),
            dead: None,
            pace: Pace::from(Duration::ZERO, BEGIN_MS),
            heard_ms: 0,
            cursor_ms: BEGIN_MS,
            fired: Vec::new(),
            left_out: 0,
        }
    }

    fn shows(&self, node: usize) -> u64 {
        (BEGIN_MS + self.at_ms).saturating_add_signed(self.off_ms[node])
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }

    fn lives(&self, node: usize) -> bool {
        self.dead.is_none_or(|(dead, _)| dead != node)
    }

    /// All that live ask all that live.
    fn ask(&mut self) {
        let at = self.steady();
        let living: Vec<usize> = (0..self.off_ms.len()).filter(|node| self.lives(*node)).collect();
        for asks in &living {
            for node in living.iter().filter(|node| *node != asks) {
                let shown = self.shows(*node);
                self.clocks[*asks].heard(NodeId::new(*node as u64), at, shown);
            }
        }
        self.heard_ms = self.at_ms;
    }

    /// The leader dies, for some minutes at most, and another process leads: it knows the records, what those that live
    /// tell it, and what the dead one has told.
    fn elect(&mut self) {
        self.revive(self.at_ms.saturating_add(u64::MAX / 2));
        if self.off_ms.len() > 1 {
            let back_ms = self.at_ms + self.luck.random_range(GONE_MS..5 * 60_000);
            self.dead = Some((self.leader, back_ms));
        }
        self.at_ms += self.luck.random_range(100..GONE_MS);
        let living: Vec<usize> = (0..self.off_ms.len()).filter(|node| self.lives(*node)).collect();
        self.leader = living[self.luck.random_range(0..living.len())];
        self.ask();
        let now_ms = self.clocks[self.leader].middle(self.steady(), self.shows(self.leader));
        self.pace = Pace::from(self.steady(), now_ms);
    }

    /// A new process of whoever was dead asks all.
    fn revive(&mut self, by_ms: u64) {
        if let Some((node, _)) = self.dead.filter(|(_, back_ms)| *back_ms <= by_ms) {
            self.dead = None;
            self.clocks[node] = Clocks::default();
            self.ask();
        }
    }

    fn look(&mut self, table: &Timetable) {
        let (at, shown) = (self.steady(), self.shows(self.leader));
        let (now_ms, _) = self.pace.advance(at, self.clocks[self.leader].middle(at, shown));
        for step in plan::steps(Missed::Once, table, self.cursor_ms, now_ms, 0) {
            // What the model does.
            assert!(step.at_ms > self.cursor_ms, "a tick comes again");
            self.cursor_ms = step.at_ms;
            self.left_out += step.missed;
            self.fired.push((step.at_ms, BEGIN_MS + self.at_ms));
        }
    }

    fn run(&mut self, steps: u32, jumps: bool) {
        let table = Timetable::parse("* * * * * *", "").unwrap();
        for _ in 0..steps {
            self.at_ms += self.luck.random_range(20..250);
            match self.luck.random_range(0..400) {
                0 => self.elect(),
                1 => self.at_ms += self.luck.random_range(0..GONE_MS),
                2 | 3 if jumps && self.dead.is_none() => {
                    // One clock is wrong at a time: what a dead one has shown is one too.
                    self.off_ms.fill(0);
                    let node = self.luck.random_range(0..self.off_ms.len());
                    self.off_ms[node] = [HOUR_MS, -HOUR_MS, 1500, -1500][self.luck.random_range(0..4)];
                }
                4 => self.off_ms.fill(0),
                _ => {}
            }
            self.revive(self.at_ms);
            if self.at_ms - self.heard_ms >= 1000 {
                self.ask();
            }
            self.look(&table);
        }
    }

    /// Each second, once, in order.
    fn check(&self) {
        assert_eq!(self.left_out, 0, "some were passed over");
        let expected = (1..).map(|second| BEGIN_MS + second * 1000);
        assert!(self.fired.iter().map(|(at_ms, _)| *at_ms).eq(expected.take(self.fired.len())));
    }

    /// How far from its time a second fired, at most.
    fn worst_ms(&self) -> u64 {
        self.fired.iter().map(|(at_ms, fired_ms)| at_ms.abs_diff(*fired_ms)).max().unwrap_or_default()
    }
}

#[test]
fn one_wrong_clock_of_three_moves_nothing_whoever_leads() {
    let mut world = World::new(rand::random(), 3);
    world.run(20_000, true);
    world.check();
    assert!(world.fired.len() > 2000);
    // A leader that is gone, and a look that comes late.
    assert!(world.worst_ms() < 2 * GONE_MS, "{} ms from its time", world.worst_ms());
}

#[test]
fn a_clock_that_is_all_alone_jumps_and_no_second_comes_twice_or_in_silence() {
    let mut world = World::new(rand::random(), 1);
    let table = Timetable::parse("* * * * * *", "").unwrap();
    // Some seconds of a wrong clock, and one that is right again: nothing is lost.
    for (jump_ms, looks) in [(HOUR_MS, 16), (0, 300), (-HOUR_MS, 300), (0, 300)] {
        world.off_ms[0] = jump_ms;
        for _ in 0..looks {
            world.at_ms += world.luck.random_range(20..250);
            world.look(&table);
        }
    }
    world.check();
    assert!(world.fired.len() > 80, "{}", world.fired.len());
    assert!(world.worst_ms() < 90_000, "{} ms from its time", world.worst_ms());
    // One that stays: the newest of what was missed fires, and says how many were.
    world.off_ms[0] = HOUR_MS;
    for _ in 0..300 {
        world.at_ms += world.luck.random_range(20..250);
        world.look(&table);
    }
    assert!(world.fired.windows(2).all(|two| two[0].0 < two[1].0), "a tick comes again");
    let last_ms = world.cursor_ms;
    assert_eq!(world.left_out, 1000, "at least so many");
    let out = world.fired.windows(2).filter(|two| two[1].0 - two[0].0 > 1000).count();
    assert_eq!(out, 1, "only the one time");
    assert!(world.shows(0) - last_ms < 2000, "it goes by what the clock shows");
}
