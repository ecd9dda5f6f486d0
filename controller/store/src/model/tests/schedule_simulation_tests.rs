//! Goal: through thousands of random operations each time of a schedule calls once at most, cursors go forward only, and what is
//! counted is what was done.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::InvocationId;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{self, BEGIN_MS, Bench, luck, place};
use super::queue_bench::{CLAIM_MS, NODE, done, function, ticket_of};
use super::schedule_tests::{definition, put};
use crate::model::{
    Definition, Effected, Missed, Op, Outcome, Overlap, Place, Schedule, Settings, Tick, keys, schedule, view,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What was seen of the schedules.
#[derive(Debug, Default)]
struct Seen {
    /// Times that called, of each life of a schedule.
    called: BTreeSet<(String, u64)>,
    cursors: BTreeMap<String, u64>,
    ticks: BTreeMap<String, u64>,
    claims: Vec<crate::model::Ticket>,
}

fn all(bench: &Bench) -> Vec<(&'static str, Option<Schedule>)> {
    NAMES.map(|name| (name, schedule(&bench.records, &place(name)).unwrap())).into()
}

fn op(luck: &mut StdRng, bench: &Bench, seen: &Seen) -> Op {
    let name = NAMES[luck.random_range(0..3)];
    let schedule = place(name);
    let from_ms = bench.now_ms.saturating_add_signed(luck.random_range(-500..500));
    let known = crate::model::schedule(&bench.records, &schedule).unwrap();
    match luck.random_range(0..100) {
        0..10 => {
            let cron = ["* * * * *", "0 * * * *"][luck.random_range(0..2)].into();
            let overlap = [Overlap::Allow, Overlap::Forbid][luck.random_range(0..2)];
            put(name, Definition { cron, overlap, missed: Missed::All, ..definition() }, from_ms)
        }
        10..12 => Op::DropSchedule { schedule },
        12..18 => Op::PauseSchedule { schedule, paused: luck.random_bool(0.4), from_ms },
        18..25 => Op::Trigger { schedule, invocation: InvocationId::new(luck.random()) },
        25..70 => {
            let stale = u64::from(luck.random_bool(0.1));
            let revision = known.map_or(0, |known| known.revision).saturating_sub(stale);
            // On a grid, so that the same one is said again and again.
            let at_ms = from_ms / 50 * 50;
            let invocation = luck.random_bool(0.8).then(|| InvocationId::new(luck.random()));
            Op::Tick(Tick { schedule, revision, at_ms, missed: luck.random_range(0..3), invocation })
        }
        70..85 => {
            let queue = Place::of_function(&function());
            Op::Claim { queue, node: NODE, most: 3, until_ms: bench.now_ms + CLAIM_MS }
        }
        85..97 if !seen.claims.is_empty() => {
            let ticket = seen.claims[luck.random_range(0..seen.claims.len())].clone();
            Op::Settle { ticket, verdict: done(), report: None, answer: None }
        }
        _ => {
            let messages_max = [2, 1000][luck.random_range(0..2)];
            let settings = Settings { messages_max, ..Settings::DEFAULT };
            let target = Some(definition().function);
            Op::PutQueue { queue: Place::of_function(&function()), settings, target }
        }
    }
}

fn step(luck: &mut StdRng, bench: &mut Bench, seen: &mut Seen) -> Outcome {
    // A leader's clock may be behind that of the last one.
    bench.now_ms = bench.now_ms.saturating_add_signed(luck.random_range(-20..60)).max(BEGIN_MS);
    bench.term += u64::from(luck.random_bool(0.02));
    let op = op(luck, bench, seen);
    let outcome = bench.run(op.clone());
    match (&op, &outcome) {
        (Op::Tick(tick), Outcome::Performed(effects)) => {
            let name = tick.schedule.name.to_string();
            if let [Effected::Published { repeated: false, .. }] = effects[..] {
                assert!(
                    seen.called.insert((name.clone(), tick.at_ms)),
                    "{name} has called twice at {}",
                    tick.at_ms
                );
            }
            *seen.ticks.entry(name).or_default() += 1;
        }
        (Op::DropSchedule { schedule }, Outcome::Done) => {
            seen.cursors.remove(schedule.name.as_str());
            seen.ticks.remove(schedule.name.as_str());
        }
        (Op::Claim { queue, .. }, Outcome::Claimed(claimed)) => {
            seen.claims.extend(claimed.iter().map(|claimed| ticket_of(queue.clone(), claimed)));
        }
        _ => {}
    }
    outcome
}

fn check(bench: &Bench, seen: &mut Seen) {
    let mut count = 0;
    for (name, schedule) in all(bench) {
        let Some(schedule) = schedule else { continue };
        count += 1;
        let before = seen.cursors.insert(name.to_owned(), schedule.cursor_ms);
        assert!(before.is_none_or(|before| before <= schedule.cursor_ms), "{name} went back");
        assert_eq!(schedule.ticks, seen.ticks.get(name).copied().unwrap_or_default(), "{name}");
    }
    let counted: Option<crate::model::record::Schedules> =
        view::get(&bench.records, &keys::schedules()).unwrap();
    assert_eq!(counted.unwrap_or_default().count, count);
}

fn play(seed: u64, steps: u32) -> bench::Seen {
    let mut luck = luck(seed);
    let (mut bench, mut seen, mut outcomes) = (Bench::new(), Seen::default(), bench::Seen::default());
    for _ in 0..steps {
        outcomes.outcome(&step(&mut luck, &mut bench, &mut seen));
        check(&bench, &mut seen);
    }
    (0..seen.called.len()).for_each(|_| outcomes.count("called"));
    for (_, schedule) in all(&bench) {
        (0..schedule.map_or(0, |it| it.skipped)).for_each(|_| outcomes.count("skipped"));
    }
    outcomes
}

#[test]
fn each_time_calls_once_at_most() {
    let seen = play(rand::random(), 6_000);
    seen.expect(&["Done", "Performed", "Claimed", "Settled", "called"]);
    seen.expect(&["Late", "Mismatch", "NoSchedule", "QueueFullMessages"]);
}

#[test]
fn a_seed_replays() {
    assert_eq!(play(0x00c0_7ac1_e000, 300), play(0x00c0_7ac1_e000, 300));
}
