//! Every row that queues should have, made anew from their messages: what the rows that there are are compared with.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::bench::Bench;
use crate::model::keys::{self, Due};
use crate::model::{Counts, Delivery, Message, Place, Queue, Span, State, counts, queue, view};

/// A message where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) queue: Place,
    pub(crate) delivery: Delivery,
}

/// The messages of these queues by their numbers, which are the group's.
pub(crate) fn deliveries(bench: &Bench, queues: &[Place]) -> BTreeMap<u64, Found> {
    let mut found = BTreeMap::new();
    for queue in queues {
        for row in view::keys(&bench.records, &keys::delivery_span(queue, Span::ALL), usize::MAX).unwrap() {
            let delivery = view::get(&bench.records, &row).unwrap().unwrap();
            let number = keys::message_number(&row).unwrap();
            assert!(found.insert(number, Found { queue: queue.clone(), delivery }).is_none());
        }
    }
    found
}

/// Asserts that rows, timers and counts are those of the messages, and no others.
pub(crate) fn check(bench: &Bench, queues: &[Place]) -> BTreeMap<u64, Found> {
    let found = deliveries(bench, queues);
    let mut expected = BTreeSet::new();
    for place in queues {
        let mut gauges = Counts::default();
        for (number, it) in found.iter().filter(|(_, it)| it.queue == *place) {
            expect(&mut expected, &mut gauges, *number, it);
            let body: Option<Message> = view::get(&bench.records, &keys::message(place, *number)).unwrap();
            assert!(body.is_some(), "message {number} has no body");
        }
        let counts = counts(&bench.records, place).unwrap();
        check_counts(&counts, &gauges);
        let queue: Option<Queue> = queue(&bench.records, place).unwrap();
        if counts.ready > 0 && queue.unwrap().is_open() {
            expected.insert(keys::active(place));
        }
    }
    check_rows(bench, &found, &expected);
    check_begins(bench, queues);
    check_groups(&found);
    found
}

fn expect(expected: &mut BTreeSet<Bytes>, gauges: &mut Counts, number: u64, found: &Found) {
    let Found { queue, delivery } = found;
    let key = keys::delivery(queue, number);
    gauges.bytes += delivery.weight;
    match delivery.state {
        State::Ready => {
            gauges.ready += 1;
            expected.insert(keys::ready(queue, number));
        }
        State::Delayed { at_ms } => {
            gauges.delayed += 1;
            expected.insert(keys::timer(Due::Delays, at_ms, &key));
        }
        State::Behind { .. } => gauges.behind += 1,
        State::Claimed(claim) => {
            gauges.claimed += 1;
            expected.insert(keys::timer(Due::Claims, claim.until_ms, &key));
        }
        State::Dead(burial) => {
            gauges.dead += 1;
            expected.insert(keys::dead(queue, number));
            expected.insert(keys::timer(Due::Dead, burial.until_ms, &key));
        }
    }
    if delivery.state.is_waiting() {
        expected.insert(keys::timer(Due::Ages, delivery.deadline_ms, &key));
    }
    if !delivery.state.is_dead() && !delivery.group.is_empty() {
        expected.insert(keys::in_group(queue, &delivery.group, number));
    }
}

/// The rows of states; a claimed message may have a timer of its age, or have lost it.
fn check_rows(bench: &Bench, found: &BTreeMap<u64, Found>, expected: &BTreeSet<Bytes>) {
    let claimed = |key: &Bytes| {
        key.starts_with(b"ta")
            && matches!(found[&keys::message_number(key).unwrap()].delivery.state, State::Claimed(_))
    };
    let kinds = [&b"a"[..], b"w", b"d", b"f", b"tw", b"tc", b"ta", b"td"];
    let rows = bench.records.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(kind)));
    let rows: BTreeSet<Bytes> = rows.filter(|key| !claimed(key)).cloned().collect();
    assert_eq!(&rows, expected);
}

/// Nothing lies before where a search for it begins.
fn check_begins(bench: &Bench, queues: &[Place]) {
    for queue in queues {
        let counts = counts(&bench.records, queue).unwrap();
        let begins = [
            (keys::delivery(queue, 0), keys::delivery(queue, counts.delivery_from)),
            (keys::ready_range(queue, 0).0, keys::ready_range(queue, counts.ready_from).0),
            (keys::dedup_range(queue, 0).0, keys::dedup_range(queue, counts.dedups_from).0),
            (keys::ended_range(queue, 0).0, keys::ended_range(queue, counts.records_from_ms).0),
        ];
        for range in begins {
            let before = view::keys(&bench.records, &range, 1).unwrap();
            assert!(before.is_empty(), "of queue {queue}: {before:?}");
        }
    }
}

fn check_counts(counts: &Counts, gauges: &Counts) {
    let states = |it: &Counts| [it.ready, it.delayed, it.behind, it.claimed, it.dead, it.bytes];
    assert_eq!(states(counts), states(gauges));
    let ended = counts.settled + counts.cancelled + counts.purged + counts.expired;
    assert_eq!(counts.published, counts.messages() + ended, "each is in one place: {counts:?}");
}

/// Exactly one of each group that is to be delivered is not behind another one.
fn check_groups(found: &BTreeMap<u64, Found>) {
    let mut first: BTreeMap<(&Place, &str), usize> = BTreeMap::new();
    for Found { queue, delivery } in found.values() {
        if delivery.group.is_empty() || delivery.state.is_dead() {
            continue;
        }
        let behind = matches!(delivery.state, State::Behind { .. });
        *first.entry((queue, &delivery.group)).or_default() += usize::from(!behind);
    }
    assert!(first.values().all(|count| *count == 1), "{first:?}");
}
