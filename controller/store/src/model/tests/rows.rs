//! Every row that a queue should have, made anew from its messages: what the rows that there are are compared with.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::bench::{Bench, place};
use crate::model::keys::{self, Due};
use crate::model::{Counts, Delivery, Message, Span, State, counts, view};

/// The messages of queue `shop/q` by their numbers.
pub(crate) fn deliveries(bench: &Bench) -> BTreeMap<u64, Delivery> {
    let range = keys::delivery_span(&place("q"), Span::ALL);
    let rows = view::keys(&bench.records, &range, usize::MAX).unwrap();
    let one =
        |row: &Bytes| (keys::message_number(row).unwrap(), view::get(&bench.records, row).unwrap().unwrap());
    rows.iter().map(one).collect()
}

/// Asserts that rows, timers and counts are those of the messages, and no others.
pub(crate) fn check(bench: &Bench) -> BTreeMap<u64, Delivery> {
    let found = deliveries(bench);
    let mut expected = BTreeSet::new();
    let mut gauges = Counts::default();
    for (number, delivery) in &found {
        expect(&mut expected, &mut gauges, *number, delivery);
        let body: Option<Message> = view::get(&bench.records, &keys::message(&place("q"), *number)).unwrap();
        assert!(body.is_some(), "message {number} has no body");
    }
    check_rows(bench, &found, &expected);
    check_counts(&counts(&bench.records, &place("q")).unwrap(), &gauges);
    check_groups(&found);
    found
}

fn expect(expected: &mut BTreeSet<Bytes>, gauges: &mut Counts, number: u64, delivery: &Delivery) {
    let (queue, key) = (place("q"), keys::delivery(&place("q"), number));
    gauges.bytes += delivery.weight;
    match delivery.state {
        State::Ready => {
            gauges.ready += 1;
            expected.insert(keys::ready(&queue, number));
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
            expected.insert(keys::dead(&queue, number));
            expected.insert(keys::timer(Due::Dead, burial.until_ms, &key));
        }
    }
    if delivery.state.is_waiting() {
        expected.insert(keys::timer(Due::Ages, delivery.deadline_ms, &key));
    }
    if !delivery.state.is_dead() && !delivery.group.is_empty() {
        expected.insert(keys::in_group(&queue, &delivery.group, number));
    }
}

/// The rows of states; a claimed message may have a timer of its age, or have lost it.
fn check_rows(bench: &Bench, found: &BTreeMap<u64, Delivery>, expected: &BTreeSet<Bytes>) {
    let claimed = |key: &Bytes| {
        key.starts_with(b"ta")
            && matches!(found[&keys::message_number(key).unwrap()].state, State::Claimed(_))
    };
    let kinds = [&b"a"[..], b"d", b"f", b"tw", b"tc", b"ta", b"td"];
    let rows = bench.records.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(kind)));
    let rows: BTreeSet<Bytes> = rows.filter(|key| !claimed(key)).cloned().collect();
    assert_eq!(&rows, expected);
}

fn check_counts(counts: &Counts, gauges: &Counts) {
    let states = |it: &Counts| [it.ready, it.delayed, it.behind, it.claimed, it.dead, it.bytes];
    assert_eq!(states(counts), states(gauges));
    let ended = counts.settled + counts.purged + counts.expired;
    assert_eq!(counts.published, counts.messages() + ended, "each is in one place: {counts:?}");
}

/// Exactly one of each group that is to be delivered is not behind another one.
fn check_groups(found: &BTreeMap<u64, Delivery>) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in found.values().filter(|it| !it.group.is_empty() && !it.state.is_dead()) {
        let behind = matches!(delivery.state, State::Behind { .. });
        *first.entry(&delivery.group).or_default() += usize::from(!behind);
    }
    assert!(first.values().all(|count| *count == 1), "{first:?}");
}
