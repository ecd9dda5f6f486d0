//! Goal: through thousands of random operations on topics, on who hears them, and on queues that are deleted, each copy is where it is to
//! be, a name is of one thing, and what is deleted leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coracle_proto::id::InvocationId;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{self, Bench, luck, perform, place, set, write};
use super::queue_bench::{NODE, published, report, submit, ticket_of};
use super::{record_rows, rows};
use crate::model::{
    Claimed, Deletion, Due, Effect, Effected, Fence, Kept, Manner, Name, Op, Outcome, Owner, Place, Publish,
    Queue, Settings, Span, ToHold, Topic, Verdict, Watcher, bucket, counts, keys, named_count, topic, view,
};

const SETTINGS: Settings = Settings {
    messages_max: 8,
    bytes_max: 20_000,
    attempts_max: 2,
    backoff_ms: 5,
    backoff_max_ms: 10,
    age_ms: 200,
    dead_keep_ms: 300,
    manner: Manner::USUAL,
};
const TOPICS: [&str; 3] = ["t", "u", "q"];
const FUNCTIONS: [&str; 3] = ["f", "g", "h"];

/// What is known from answers.
#[derive(Default)]
struct Known {
    claims: Vec<(Place, Claimed)>,
    last_fence: Option<Fence>,
    published: u64,
}

fn name(luck: &mut StdRng) -> Name {
    Name::parse(FUNCTIONS[luck.random_range(0..3)]).unwrap()
}

/// All queues that there are.
fn queues(bench: &Bench) -> Vec<(Place, Queue)> {
    crate::model::all_queues(&bench.records, 999).unwrap()
}

fn some_queue(luck: &mut StdRng, bench: &Bench) -> Place {
    let all = queues(bench);
    if all.is_empty() || luck.random_bool(0.05) {
        return place("nowhere");
    }
    all[luck.random_range(0..all.len())].0.clone()
}

fn message(luck: &mut StdRng, known: &mut Known, to: Place) -> Publish {
    known.published += 1;
    let id = if luck.random_bool(0.2) { String::new() } else { luck.random_range(0..200_u32).to_string() };
    let group = ["", "", "g"][luck.random_range(0..3)].to_owned();
    let delay_ms = if luck.random_bool(0.2) { luck.random_range(0..40) } else { 0 };
    let invocation = InvocationId::new(known.published.into());
    Publish { queue: to, id, group, delay_ms, invocation, kind: String::new(), ..published("m") }
}

fn verdict(luck: &mut StdRng, known: &mut Known) -> Verdict {
    match luck.random_range(0..4) {
        0 => Verdict::Done { effects: Vec::new(), others: Vec::new() },
        1 => {
            let to = place(TOPICS[luck.random_range(0..3)]);
            let effects = vec![write("k", set("v")), Effect::Publish(Box::new(message(luck, known, to)))];
            Verdict::Done { effects, others: Vec::new() }
        }
        2 => Verdict::Retry { after_ms: None, error: "again".into() },
        _ => Verdict::Dead { error: "no".into() },
    }
}

fn telling(luck: &mut StdRng) -> Op {
    let (topic, function, settings) = (place(TOPICS[luck.random_range(0..2)]), name(luck), SETTINGS);
    match luck.random_range(0..12) {
        0 | 1 => Op::PutTopic { topic: place(TOPICS[luck.random_range(0..3)]) },
        2 => Op::DropTopic { topic, force: luck.random_bool(0.5) },
        3..6 => Op::Subscribe { topic, function, settings },
        6 => Op::Unsubscribe { topic, function },
        7 => Op::PutQueue { queue: place(TOPICS[luck.random_range(0..3)]), settings, target: Some(function) },
        8 => Op::PutBucket { bucket: place("a"), keys_max: 9, bytes_max: 999, holds: ToHold::Any },
        9 => Op::DropBucket { bucket: place("a"), force: luck.random_bool(0.5), begun: false },
        10 => {
            let (prefix, suffix) = (String::new(), String::new());
            let watcher = Watcher { function, sets: true, deletes: luck.random(), prefix, suffix };
            Op::Watch { bucket: place("a"), watcher, settings }
        }
        _ => Op::Unwatch { bucket: place("a"), function },
    }
}

fn op(luck: &mut StdRng, bench: &Bench, known: &mut Known) -> Op {
    let queue = some_queue(luck, bench);
    let recent = known.claims.len().saturating_sub(6);
    let held = (recent < known.claims.len())
        .then(|| known.claims[luck.random_range(recent..known.claims.len())].clone());
    match (luck.random_range(0..100), held) {
        (0..25, _) => {
            let to = place(TOPICS[luck.random_range(0..3)]);
            perform(vec![Effect::Publish(Box::new(message(luck, known, to)))])
        }
        (25..30, _) => submit(message(luck, known, queue)),
        (30..50, _) => {
            let until_ms = bench.now_ms + luck.random_range(1..60);
            Op::Claim { queue, node: NODE, most: luck.random_range(0..4), until_ms }
        }
        (50..62, Some((queue, claimed))) => {
            let ticket = ticket_of(queue, &claimed);
            Op::Settle { ticket, verdict: verdict(luck, known), report: Some(report("200")), answer: None }
        }
        (62..75, _) => telling(luck),
        (75..82, _) => {
            let ways = [Deletion::Unused, Deletion::Forced, Deletion::Forced, Deletion::Begun];
            Op::DropQueue { queue, deletion: ways[luck.random_range(0..4)], steps: luck.random_range(0..4) }
        }
        (82..84, _) => Op::Purge { queue, kept: Kept::Waiting, span: Span::ALL, steps: 2 },
        (84..86, _) => Op::Redrive { queue, span: Span::ALL, steps: 2 },
        (86..92, _) => {
            let ttl_ms = luck.random_bool(0.5).then(|| luck.random_range(1..30));
            let data = "v".into();
            perform(vec![write("k", crate::model::Change::Set { data, ttl_ms })])
        }
        _ => {
            let due = Due::ALL[luck.random_range(0..Due::ALL.len())];
            Op::Sweep { due, steps: luck.random_range(0..6), from_ms: 0 }
        }
    }
}

/// What each queue has taken in, also what it had before.
fn taken(bench: &Bench) -> BTreeMap<Place, u64> {
    let one = |(place, _): (Place, Queue)| {
        let counts = counts(&bench.records, &place).unwrap();
        (place, counts.published + counts.repeated)
    };
    queues(bench).into_iter().map(one).collect()
}

fn subscribers(bench: &Bench, to: &Place) -> BTreeSet<Place> {
    let found: Option<Topic> = topic(&bench.records, to).unwrap();
    let found = found.map(|topic| topic.subscribers).unwrap_or_default();
    found.iter().map(|function| Place::of_subscriber(to, function).unwrap()).collect()
}

fn step(luck: &mut StdRng, bench: &mut Bench, known: &mut Known) -> Outcome {
    bench.now_ms += luck.random_range(0..8);
    bench.random = luck.random();
    let op = op(luck, bench, known);
    let before = taken(bench);
    let outcome = bench.run(op.clone());
    match (&op, &outcome) {
        (Op::Perform { effects, .. }, Outcome::Performed(told)) => {
            if let ([Effect::Publish(publish)], [Effected::Spread { copies, .. }]) = (&effects[..], &told[..])
            {
                check_spread(bench, &before, &publish.queue, *copies);
            }
        }
        (Op::Perform { .. }, Outcome::Refused(_)) => assert_eq!(taken(bench), before, "{op:?}"),
        (Op::Claim { queue, .. }, Outcome::Claimed(claimed)) => {
            for claimed in claimed {
                assert!(known.last_fence < Some(claimed.fence), "a fence went back");
                known.last_fence = Some(claimed.fence);
                known.claims.push((queue.clone(), *claimed));
            }
        }
        (Op::DropQueue { queue, .. }, Outcome::Moved { more: false, .. }) => check_gone(bench, queue),
        _ => {}
    }
    outcome
}

/// Each subscriber has one more, and nobody else.
fn check_spread(bench: &Bench, before: &BTreeMap<Place, u64>, to: &Place, copies: u32) {
    let hear = subscribers(bench, to);
    assert_eq!(hear.len(), copies as usize);
    for (place, now) in taken(bench) {
        let more = now - before[&place];
        assert_eq!(more, u64::from(hear.contains(&place)), "queue {place} of topic {to}");
    }
}

/// No row and no record is of this queue any more.
fn check_gone(bench: &Bench, queue: &Place) {
    let part = format!("{}\0{}\0", queue.namespace, queue.name);
    let is_own = |key: &&Bytes| key.windows(part.len()).any(|window| window == part.as_bytes());
    let left: Vec<_> = bench.records.keys().filter(is_own).collect();
    assert!(left.is_empty(), "{queue} left {left:?}");
    assert!(record_rows::records(bench).values().all(|record| record.queue != *queue));
}

fn check(bench: &Bench, whole: bool) {
    let all = queues(bench);
    let places: Vec<_> = all.iter().map(|(place, _)| place.clone()).collect();
    let found = rows::check(bench, &places);
    if whole {
        record_rows::check(bench, &places, &found);
    }
    let of_functions = all.iter().filter(|(place, _)| place.owner() == Owner::Function).count();
    let rows = view::keys(&bench.records, &keys::all_topics(), 99).unwrap();
    let topics: Vec<_> = rows.iter().map(|row| keys::place_of(row).unwrap()).collect();
    let named = (all.len() - of_functions + topics.len()) as u64;
    assert_eq!(named_count(&bench.records).unwrap(), named);
    let kept: BTreeSet<_> =
        all.iter().filter(|(_, queue)| queue.dropping_ms.is_none()).map(|(place, _)| place.clone()).collect();
    for topic in topics {
        assert!(!places.contains(&topic), "{topic} is both");
        assert!(subscribers(bench, &topic).is_subset(&kept), "{topic} is heard by a queue that goes");
    }
    let watched = bucket(&bench.records, &place("a")).unwrap();
    for watcher in watched.map(|found| found.watchers).unwrap_or_default() {
        assert!(kept.contains(&Place::of_watcher(&place("a"), &watcher.function).unwrap()));
    }
    check_timers(bench, &all);
}

/// Each queue that goes has one timer, and each one that remembers something has one for each of its memories.
fn check_timers(bench: &Bench, all: &[(Place, Queue)]) {
    let mut expected = BTreeSet::new();
    for (place, queue) in all {
        let (key, counts) = (keys::queue(place), counts(&bench.records, place).unwrap());
        expected.extend(queue.dropping_ms.map(|at_ms| keys::timer(Due::Drops, at_ms, &key)));
        for (due, at_ms) in [(Due::Records, counts.records_timer_ms), (Due::Ids, counts.ids_timer_ms)] {
            expected.extend((at_ms > 0).then(|| keys::timer(due, at_ms, &key)));
        }
        assert!(counts.records == 0 || counts.records_timer_ms > 0, "nobody forgets the records of {place}");
        assert!(counts.dedups == 0 || counts.ids_timer_ms > 0, "nobody forgets the ids of {place}");
    }
    let timers = |due| view::keys(&bench.records, &keys::timers(due, 0, u64::MAX), usize::MAX).unwrap();
    let found: BTreeSet<_> = [Due::Drops, Due::Records, Due::Ids].into_iter().flat_map(timers).collect();
    assert_eq!(found, expected);
}

fn play(seed: u64, steps: u32) -> bench::Seen {
    let mut luck = luck(seed);
    let (mut bench, mut known, mut seen) =
        (Bench::with_queue(SETTINGS), Known::default(), bench::Seen::default());
    for number in 0..steps {
        let outcome = step(&mut luck, &mut bench, &mut known);
        seen.outcome(&outcome);
        if let Outcome::Performed(effects) = &outcome {
            effects.iter().for_each(|it| seen.count(format!("{it:?}").split(' ').next().unwrap()));
        }
        check(&bench, number % 20 == 0 || number + 1 == steps);
    }
    seen
}

#[test]
fn each_copy_is_where_it_is_to_be_and_what_is_deleted_leaves_nothing() {
    let seen = play(rand::random(), 5_000);
    seen.expect(&["Claimed", "Settled", "Performed", "Moved", "Done", "Spread", "Published", "Written"]);
    seen.expect(&["Stale", "QueueFullMessages", "NameTaken", "InUse", "Dropping", "Nowhere", "NoTopic"]);
}

#[test]
fn a_seed_replays() {
    assert_eq!(play(0x00c0_7ac1_e000, 300), play(0x00c0_7ac1_e000, 300));
}

#[test]
#[should_panic(expected = "left")]
fn a_key_that_is_left_is_found() {
    let mut bench = Bench::with_queue(SETTINGS);
    bench.publish(published("a"));
    bench.run(Op::DropQueue { queue: place("q"), deletion: Deletion::Forced, steps: 99 });
    bench.records.insert(keys::delivery(&place("q"), 7), Bytes::new());
    check_gone(&bench, &place("q"));
}
