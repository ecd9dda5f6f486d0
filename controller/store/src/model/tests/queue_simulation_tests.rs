//! Goal: through thousands of random operations each accepted message is in exactly one place, attempts have no gaps, fences
//! never go back, what a stale claim brings changes nothing, and each invocation's record says what became of it.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::InvocationId;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{self, Bench, luck, perform, place, text, write};
use super::queue_bench::{
    self, NODE, function, invocation_of, published, put, report, submit, ticket, ticket_of,
};
use super::queue_oracle::{Oracle, publishes, told};
use super::rows::{self, Found};
use super::{queue_oracle, record_rows};
use crate::model::{
    Answer, Change, Claimed, Due, Effect, Effected, Fence, Kept, Manner, Op, Outcome, Phase, Place, Publish,
    Reason, Report, Settings, Span, State, Verdict, active, invocation, keys, queue, view,
};

const SETTINGS: Settings = Settings {
    messages_max: 12,
    bytes_max: 400,
    attempts_max: 3,
    backoff_ms: 20,
    backoff_max_ms: 60,
    age_ms: 400,
    dead_keep_ms: 300,
    manner: Manner::USUAL,
};

/// One that a person made, and that of a function.
fn queues() -> [Place; 2] {
    [place("q"), Place::of_function(&function())]
}

fn publish(luck: &mut StdRng) -> Publish {
    let number = luck.random_range(0..1500_u32);
    let group = ["", "", "g", "h"][luck.random_range(0..4)].to_owned();
    let delay_ms = if luck.random_bool(0.3) { luck.random_range(0..60) } else { 0 };
    let data = vec![7; luck.random_range(0..60)].into();
    let fingerprint = text(["", "1", "1", "2", "2"][luck.random_range(0..5)]);
    // Sometimes that of another message.
    let invocation = invocation_of(&luck.random_range(number..number + 2).to_string());
    Publish { group, delay_ms, data, fingerprint, invocation, ..published(&number.to_string()) }
}

/// A claim that may be the newest, or long over.
fn some_claim(luck: &mut StdRng, oracle: &Oracle) -> Option<(Place, Claimed)> {
    let recent = oracle.claims.len().saturating_sub(8);
    let from = if luck.random_bool(0.9) { recent } else { 0 };
    (from < oracle.claims.len()).then(|| oracle.claims[luck.random_range(from..oracle.claims.len())].clone())
}

/// An invocation that is most often a late one, and sometimes nobody's.
fn some_invocation(luck: &mut StdRng, oracle: &Oracle) -> InvocationId {
    let recent = oracle.accepted.len().saturating_sub(20);
    let from = if luck.random_bool(0.9) { recent } else { 0 };
    if from == oracle.accepted.len() || luck.random_bool(0.1) {
        return InvocationId::new(luck.random());
    }
    oracle.accepted[luck.random_range(from..oracle.accepted.len())]
}

/// A dead letter's, if there is one.
fn some_dead(luck: &mut StdRng, found: &BTreeMap<u64, Found>) -> Option<InvocationId> {
    let dead: Vec<_> = found.values().filter(|it| it.delivery.state.is_dead()).collect();
    (!dead.is_empty()).then(|| dead[luck.random_range(0..dead.len())].delivery.invocation)
}

fn verdict(luck: &mut StdRng) -> Verdict {
    match luck.random_range(0..8) {
        0..4 => {
            let mut effects = vec![write("settled", Change::Increment { by: 1 })];
            if luck.random_bool(0.3) {
                effects.push(Effect::Publish(Box::new(publish(luck))));
            }
            if luck.random_bool(0.2) {
                let data = "x".into();
                effects.push(write("k", Change::CompareAndSet { expected: Some(1), data, ttl_ms: None }));
            }
            Verdict::Done { effects, others: Vec::new() }
        }
        4..7 => {
            let after_ms = luck.random_bool(0.5).then(|| luck.random_range(0..50));
            Verdict::Retry { after_ms, error: "failed".into() }
        }
        _ => Verdict::Dead { error: "wrong".into() },
    }
}

fn settle(luck: &mut StdRng, ticket: crate::model::Ticket) -> Op {
    let report = Some(Report { attempt: luck.random(), ..report("200") });
    let answer = luck.random_bool(0.5).then(|| Answer { status: 200, ..Answer::default() });
    Op::Settle { ticket, verdict: verdict(luck), report, answer }
}

fn tending(luck: &mut StdRng, queue: Place) -> Op {
    let (span, steps) = (Span::ALL, luck.random_range(0..3));
    match luck.random_range(0..9) {
        0..4 => Op::Redrive { queue, span, steps },
        4 => Op::Purge { queue, kept: Kept::Dead, span, steps },
        5 => Op::Purge { queue, kept: Kept::Waiting, span, steps },
        6 if luck.random_bool(0.3) => Op::PutQueue { queue, settings: SETTINGS, target: None },
        6 => put(queue, SETTINGS),
        _ => Op::PauseQueue { queue, paused: luck.random_bool(0.3) },
    }
}

fn op(luck: &mut StdRng, bench: &Bench, oracle: &Oracle, found: &BTreeMap<u64, Found>) -> Op {
    let until_ms = bench.now_ms + luck.random_range(1..60);
    let queue = queues()[luck.random_range(0..2)].clone();
    let held = some_claim(luck, oracle).map(|(queue, claimed)| ticket_of(queue, &claimed));
    match (luck.random_range(0..100), held) {
        (0..15, _) => perform(vec![Effect::Publish(Box::new(publish(luck)))]),
        (15..30, _) => submit(publish(luck)),
        (30..50, _) => Op::Claim { queue, node: NODE, most: luck.random_range(0..4), until_ms },
        (50..65, Some(ticket)) => settle(luck, ticket),
        (65..70, Some(ticket)) => {
            let after_ms = if luck.random_bool(0.5) { luck.random_range(0..30) } else { 0 };
            Op::Offer { ticket, after_ms, error: "no replica".into() }
        }
        (70..74, Some(ticket)) => Op::Extend { ticket, until_ms },
        (74..77, _) => Op::Cancel { invocation: some_invocation(luck, oracle) },
        (77..80, _) => {
            let dead = some_dead(luck, found).filter(|_| luck.random_bool(0.7));
            Op::Revive { invocation: dead.unwrap_or_else(|| some_invocation(luck, oracle)) }
        }
        (80..85, _) => tending(luck, queue),
        _ => {
            let due = Due::ALL[luck.random_range(0..Due::ALL.len())];
            let from_ms = due_from(bench, due);
            Op::Sweep { due, steps: luck.random_range(0..6), from_ms }
        }
    }
}

/// Whether the claim that the operation shows holds its message.
fn is_held(op: &Op, found: &BTreeMap<u64, Found>) -> Option<bool> {
    let (Op::Settle { ticket, .. } | Op::Offer { ticket, .. } | Op::Extend { ticket, .. }) = op else {
        return None;
    };
    let state = found.get(&ticket.message).map(|found| found.delivery.state);
    Some(matches!(state, Some(State::Claimed(claim)) if claim.fence == ticket.fence))
}

/// How far the invocation is that the operation names.
fn phase(op: &Op, bench: &Bench) -> Option<Phase> {
    let (Op::Cancel { invocation: id } | Op::Revive { invocation: id }) = op else { return None };
    invocation(&bench.records, *id).unwrap().map(|seen| seen.phase)
}

fn step(luck: &mut StdRng, bench: &mut Bench, oracle: &mut Oracle, found: &BTreeMap<u64, Found>) -> Outcome {
    bench.now_ms += luck.random_range(0..8);
    bench.random = luck.random();
    bench.term += u64::from(luck.random_bool(0.01));
    let op = op(luck, bench, oracle, found);
    let (held, before) = (is_held(&op, found), phase(&op, bench));
    let records = if held == Some(false) { bench.records.clone() } else { BTreeMap::new() };
    let outcome = bench.run(op.clone());
    publishes(&op).iter().zip(told(&outcome)).for_each(|(publish, told)| oracle.published(publish, told));
    match &outcome {
        Outcome::Refused(refusal) => {
            oracle.refused(&op, refusal.reason, before);
            if refusal.reason == Reason::Stale {
                assert_eq!(held, Some(false));
                let other = |it: &(&bytes::Bytes, &bytes::Bytes)| *it.0 != keys::group();
                assert!(records.iter().filter(other).eq(bench.records.iter().filter(other)));
            }
        }
        Outcome::Claimed(claimed) => {
            let Op::Claim { queue, .. } = &op else { panic!("{op:?}") };
            claimed.iter().for_each(|claimed| oracle.claimed(queue, claimed));
        }
        Outcome::Performed(_)
        | Outcome::Settled { .. }
        | Outcome::Done
        | Outcome::Moved { .. }
        | Outcome::UploadBegun(_) => {
            assert_ne!(held, Some(false), "{op:?} was let in");
            Oracle::changed(&op, before, phase(&op, bench));
            oracle.settled += i64::from(matches!(op, Op::Settle { verdict: Verdict::Done { .. }, .. }));
            if let Op::Offer { ticket, .. } = &op {
                oracle.offered(ticket.message);
            }
        }
    }
    outcome
}

/// Those that tell that they have something are those that have.
fn check_active(bench: &Bench) {
    let found = active(&bench.records, None, 9).unwrap();
    for (place, queue) in &found {
        assert!(queue.is_open() && !crate::model::ready(&bench.records, place, 1).unwrap().is_empty());
    }
    let open = queues().into_iter().filter(|place| {
        let open = queue(&bench.records, place).unwrap().is_some_and(|queue| queue.is_open());
        open && !crate::model::ready(&bench.records, place, 1).unwrap().is_empty()
    });
    assert_eq!(found.len(), open.count());
}

/// From when on a leader that has looked until now has something of a kind swept.
fn due_from(bench: &Bench, due: Due) -> u64 {
    let first = crate::model::due(&bench.records, due, 0, u64::MAX).unwrap().unwrap_or(u64::MAX);
    first.min(bench.group().time_ms)
}

fn ahead(bench: &Bench) -> BTreeSet<bytes::Bytes> {
    let timers = |kind| view::keys(&bench.records, &keys::timers(kind, 0, u64::MAX), usize::MAX).unwrap();
    Due::ALL.into_iter().flat_map(timers).collect()
}

/// No new one is for a time that the group has had.
fn check_ahead(bench: &Bench, before: &BTreeSet<bytes::Bytes>) {
    for timer in ahead(bench).difference(before) {
        let (at_ms, _) = keys::timer_parts(timer).unwrap();
        assert!(at_ms > bench.group().time_ms, "{timer:?} is set for {at_ms}");
    }
}

fn play(seed: u64, steps: u32) -> bench::Seen {
    let mut luck = luck(seed);
    let (mut bench, mut oracle) = (Bench::with_queue(SETTINGS), Oracle::default());
    let (mut seen, mut found) = (bench::Seen::default(), BTreeMap::new());
    for number in 0..steps {
        let before = ahead(&bench);
        let outcome = step(&mut luck, &mut bench, &mut oracle, &found);
        check_ahead(&bench, &before);
        seen.outcome(&outcome);
        found = rows::check(&bench, &queues());
        oracle.follow(&found);
        check_active(&bench);
        // All of them are dear.
        if number % 20 == 0 || number + 1 == steps {
            record_rows::check(&bench, &queues(), &found);
            oracle.check_accepted(&bench);
        }
        let counted = bench.data("settled").map_or(0, |text| text.parse().unwrap());
        assert_eq!(counted, oracle.settled, "effects and settles are not the same");
    }
    for place in queues() {
        count(&mut seen, &crate::model::counts(&bench.records, &place).unwrap());
    }
    seen
}

fn count(seen: &mut bench::Seen, counts: &crate::model::Counts) {
    for (what, count) in [
        ("lapsed", counts.lapsed),
        ("too old", counts.dead_age),
        ("last attempt", counts.dead_attempts),
        ("rejected", counts.dead_rejected),
        ("redriven", counts.redriven),
        ("expired", counts.expired),
        ("purged", counts.purged),
        ("offered", counts.offered),
        ("cancelled", counts.cancelled),
        ("repeated", counts.repeated),
        ("refused", counts.refused),
    ] {
        (0..count).for_each(|_| seen.count(what));
    }
}

#[test]
fn each_message_is_in_exactly_one_place() {
    let seen = play(rand::random(), 5_000);
    seen.expect(&["Claimed", "Settled", "Performed", "Moved", "Done"]);
    seen.expect(&["Stale", "Mismatch", "Paused", "QueueFullMessages", "QueueFullBytes"]);
    seen.expect(&["Ended", "NotDead", "NoInvocation", "OtherRequest", "Invalid"]);
    seen.expect(&["lapsed", "too old", "last attempt", "rejected", "redriven", "expired"]);
    seen.expect(&["purged", "offered", "cancelled", "repeated", "refused"]);
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
    rows::check(&bench, &queues());
    bench.records.insert(keys::dead(&place("q"), message), bytes::Bytes::new());
    rows::check(&bench, &queues());
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_queue_that_tells_of_nothing_is_found() {
    let mut bench = Bench::with_queue(SETTINGS);
    bench.records.insert(keys::active(&place("q")), bytes::Bytes::new());
    rows::check(&bench, &queues());
}

#[test]
#[should_panic(expected = "attempts have a gap")]
fn a_skipped_attempt_is_found() {
    let mut oracle = queue_oracle::Oracle::default();
    let invocation = invocation_of("a");
    oracle.published(&published("a"), &Effected::Published { message: 1, repeated: false, invocation });
    let fence = Fence { term: 1, sequence: 2 };
    oracle.claimed(&place("q"), &Claimed { message: 1, attempt: 2, fence, until_ms: 9 });
}

#[test]
#[should_panic(expected = "reports have a gap")]
fn a_report_that_is_not_there_is_found() {
    use crate::model::codec::Stored as _;
    let mut bench = Bench::with_queue(SETTINGS);
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    let (verdict, answer) = (queue_bench::retry(), None);
    bench.run(Op::Settle { ticket: ticket(&claimed), verdict, report: Some(report("500")), answer });
    let found = rows::check(&bench, &queues());
    record_rows::check(&bench, &queues(), &found);
    let (id, mut record) = record_rows::records(&bench).pop_first().unwrap();
    record.reports.push(Report { attempt: 3, ..report("500") });
    bench.records.insert(keys::invocation(id), record.encode());
    record_rows::check(&bench, &queues(), &found);
}
