//! Goal: through thousands of random operations each accepted message is in exactly one place, attempts have no gaps, fences
//! never go back, and what a stale claim brings changes nothing.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{Bench, Seen, luck, perform, place, write};
use super::queue_bench::{NODE, published, ticket};
use super::rows;
use crate::model::{
    Change, Claimed, Delivery, Due, Effect, Effected, Fence, Kept, Op, Outcome, Publish, Reason, Settings,
    Span, State, Verdict, keys,
};

const SETTINGS: Settings = Settings {
    messages_max: 12,
    bytes_max: 400,
    attempts_max: 3,
    backoff_ms: 20,
    backoff_max_ms: 60,
    age_ms: 400,
    dead_keep_ms: 300,
};

/// What is known of a queue from its answers alone.
#[derive(Debug, Default)]
struct Oracle {
    /// Attempts of each message that was taken in and has not ended.
    attempts: BTreeMap<u64, u32>,
    /// By id: what was published within the day, which is all of the test.
    ids: BTreeMap<String, u64>,
    /// Every claim that there ever was, the newest last.
    claims: Vec<Claimed>,
    last_fence: Option<Fence>,
    /// Settles that were accepted, each of which has counted one up.
    settled: i64,
}

impl Oracle {
    fn published(&mut self, id: &str, effected: &Effected) {
        let Effected::Published { message, repeated } = effected else { panic!("{effected:?}") };
        let known = self.ids.insert(id.to_owned(), *message);
        assert_eq!(known.is_some(), *repeated, "{id}");
        assert!(known.is_none_or(|known| known == *message));
        if !repeated {
            self.attempts.insert(*message, 0);
        }
    }

    fn claimed(&mut self, claimed: &Claimed) {
        let attempts = self.attempts.get_mut(&claimed.message).expect("a message that was taken in");
        *attempts += 1;
        assert_eq!(claimed.attempt, *attempts, "attempts have a gap");
        assert!(self.last_fence < Some(claimed.fence), "a fence went back");
        self.last_fence = Some(claimed.fence);
        self.claims.push(*claimed);
    }

    /// Takes over what ended, or began anew, without a word of its own.
    fn follow(&mut self, found: &BTreeMap<u64, Delivery>) {
        assert!(
            found.keys().all(|number| self.attempts.contains_key(number)),
            "a message that nobody published"
        );
        self.attempts.retain(|number, _| found.contains_key(number));
        for (number, attempts) in &mut self.attempts {
            let delivery = &found[number];
            if delivery.attempts == 0 && !delivery.state.is_dead() && *attempts > 0 {
                *attempts = 0;
            }
            assert_eq!(*attempts, delivery.attempts, "of message {number}");
        }
    }
}

fn id(luck: &mut StdRng) -> String {
    luck.random_range(0..3000_u32).to_string()
}

fn publish(luck: &mut StdRng) -> Publish {
    let group = ["", "", "g", "h"][luck.random_range(0..4)].to_owned();
    let delay_ms = if luck.random_bool(0.3) { luck.random_range(0..60) } else { 0 };
    let data = vec![7; luck.random_range(0..60)].into();
    Publish { group, delay_ms, data, ..published(&id(luck)) }
}

/// A claim that may be the newest, or long over.
fn some_claim(luck: &mut StdRng, oracle: &Oracle) -> Option<Claimed> {
    let recent = oracle.claims.len().saturating_sub(8);
    let from = if luck.random_bool(0.9) { recent } else { 0 };
    (from < oracle.claims.len()).then(|| oracle.claims[luck.random_range(from..oracle.claims.len())])
}

fn verdict(luck: &mut StdRng) -> Verdict {
    match luck.random_range(0..8) {
        0..4 => {
            let mut effects = vec![write("settled", Change::Increment { by: 1 })];
            if luck.random_bool(0.3) {
                effects.push(Effect::Publish(publish(luck)));
            }
            if luck.random_bool(0.2) {
                let data = "x".into();
                effects.push(write("k", Change::CompareAndSet { expected: Some(1), data, ttl_ms: None }));
            }
            Verdict::Done { effects }
        }
        4..7 => {
            let after_ms = luck.random_bool(0.5).then(|| luck.random_range(0..50));
            Verdict::Retry { after_ms, error: "failed".into() }
        }
        _ => Verdict::Dead { error: "wrong".into() },
    }
}

fn tending(luck: &mut StdRng) -> Op {
    let (queue, span, steps) = (place("q"), Span::ALL, luck.random_range(0..3));
    match luck.random_range(0..8) {
        0..4 => Op::Redrive { queue, span, steps },
        4 => Op::Purge { queue, kept: Kept::Dead, span, steps },
        5 => Op::Purge { queue, kept: Kept::Waiting, span, steps },
        _ => Op::PauseQueue { queue, paused: luck.random_bool(0.3) },
    }
}

fn op(luck: &mut StdRng, bench: &Bench, oracle: &Oracle) -> Op {
    let until_ms = bench.now_ms + luck.random_range(1..60);
    let claim = Op::Claim { queue: place("q"), node: NODE, most: luck.random_range(0..4), until_ms };
    let held = some_claim(luck, oracle).map(|claimed| ticket(&claimed));
    match (luck.random_range(0..100), held) {
        (0..30, _) => perform(vec![Effect::Publish(publish(luck))]),
        (30..50, _) => claim,
        (50..65, Some(ticket)) => Op::Settle { ticket, verdict: verdict(luck) },
        (65..70, Some(ticket)) => Op::Offer { ticket },
        (70..75, Some(ticket)) => Op::Extend { ticket, until_ms },
        (75..80, _) => tending(luck),
        _ => {
            let due = Due::ALL[luck.random_range(0..Due::ALL.len())];
            Op::Sweep { due, steps: luck.random_range(0..6) }
        }
    }
}

fn ids(op: &Op) -> Vec<String> {
    let effects = match op {
        Op::Perform { effects } | Op::Settle { verdict: Verdict::Done { effects }, .. } => &effects[..],
        _ => &[],
    };
    let id = |effect: &Effect| match effect {
        Effect::Publish(publish) => Some(publish.id.clone()),
        Effect::Write(_) => None,
    };
    effects.iter().filter_map(id).collect()
}

/// Whether the claim that the operation shows holds its message.
fn is_held(op: &Op, found: &BTreeMap<u64, Delivery>) -> Option<bool> {
    let (Op::Settle { ticket, .. } | Op::Offer { ticket } | Op::Extend { ticket, .. }) = op else {
        return None;
    };
    let state = found.get(&ticket.message).map(|delivery| delivery.state);
    Some(matches!(state, Some(State::Claimed(claim)) if claim.fence == ticket.fence))
}

fn step(
    luck: &mut StdRng,
    bench: &mut Bench,
    oracle: &mut Oracle,
    found: &BTreeMap<u64, Delivery>,
) -> Outcome {
    bench.now_ms += luck.random_range(0..8);
    bench.random = luck.random();
    bench.term += u64::from(luck.random_bool(0.01));
    let op = op(luck, bench, oracle);
    let held = is_held(&op, found);
    let before = if held == Some(false) { bench.records.clone() } else { BTreeMap::new() };
    let outcome = bench.run(op.clone());
    match &outcome {
        Outcome::Refused(refusal) if refusal.reason == Reason::Stale => {
            assert_eq!(held, Some(false));
            let group = keys::group();
            assert!(
                before
                    .iter()
                    .filter(|it| *it.0 != group)
                    .eq(bench.records.iter().filter(|it| *it.0 != group))
            );
        }
        Outcome::Claimed(claimed) => claimed.iter().for_each(|claimed| oracle.claimed(claimed)),
        Outcome::Performed(effects) | Outcome::Settled { effects, .. } => {
            assert_ne!(held, Some(false), "{op:?} was let in");
            let told = effects.iter().filter(|it| matches!(it, Effected::Published { .. }));
            ids(&op).iter().zip(told).for_each(|(id, effected)| oracle.published(id, effected));
            oracle.settled += i64::from(matches!(op, Op::Settle { verdict: Verdict::Done { .. }, .. }));
        }
        Outcome::Done if matches!(op, Op::Offer { .. }) => {
            let Op::Offer { ticket } = &op else { panic!() };
            *oracle.attempts.get_mut(&ticket.message).unwrap() -= 1;
        }
        Outcome::Done | Outcome::Moved { .. } | Outcome::Refused(_) => {}
    }
    outcome
}

fn play(seed: u64, steps: u32) -> Seen {
    let mut luck = luck(seed);
    let (mut bench, mut oracle, mut seen) = (Bench::with_queue(SETTINGS), Oracle::default(), Seen::default());
    let mut found = BTreeMap::new();
    for _ in 0..steps {
        let outcome = step(&mut luck, &mut bench, &mut oracle, &found);
        seen.outcome(&outcome);
        found = rows::check(&bench);
        oracle.follow(&found);
        let counted = bench.data("settled").map_or(0, |text| text.parse().unwrap());
        assert_eq!(counted, oracle.settled, "effects and settles are not the same");
    }
    let counts = bench.counts();
    for (what, count) in [
        ("lapsed", counts.lapsed),
        ("too old", counts.dead_age),
        ("last attempt", counts.dead_attempts),
        ("rejected", counts.dead_rejected),
        ("redriven", counts.redriven),
        ("expired", counts.expired),
        ("purged", counts.purged),
        ("offered", counts.offered),
        ("repeated", counts.repeated),
        ("refused", counts.refused),
    ] {
        (0..count).for_each(|_| seen.count(what));
    }
    seen
}

#[test]
fn each_message_is_in_exactly_one_place() {
    let seen = play(rand::random(), 5_000);
    seen.expect(&["Claimed", "Settled", "Performed", "Moved", "Done"]);
    seen.expect(&["Stale", "Mismatch", "Paused", "QueueFullMessages", "QueueFullBytes"]);
    seen.expect(&[
        "lapsed",
        "too old",
        "last attempt",
        "rejected",
        "redriven",
        "expired",
        "purged",
        "offered",
    ]);
    seen.expect(&["repeated", "refused"]);
}

#[test]
fn a_seed_replays() {
    assert_eq!(play(0x00c0_7ac1_e000, 300), play(0x00c0_7ac1_e000, 300));
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_row_of_nobody_is_found() {
    let mut bench = Bench::with_queue(SETTINGS);
    let message = bench.publish(published("a"));
    rows::check(&bench);
    bench.records.insert(keys::dead(&place("q"), message), bytes::Bytes::new());
    rows::check(&bench);
}

#[test]
#[should_panic(expected = "attempts have a gap")]
fn a_skipped_attempt_is_found() {
    let mut oracle = Oracle::default();
    oracle.published("a", &Effected::Published { message: 1, repeated: false });
    let fence = Fence { term: 1, sequence: 2 };
    oracle.claimed(&Claimed { message: 1, attempt: 2, fence, until_ms: 9 });
}
