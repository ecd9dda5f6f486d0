//! What must be true of the records of invocations and of their rows, whatever was done.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coracle_proto::id::InvocationId;

use super::bench::Bench;
use super::rows::Found;
use crate::model::{Answer, How, Invocation, Place, Report, State, counts, keys, view};

/// Asserts that each invocation is in exactly one place: its message waits, runs or is dead, or it has ended; that it is
/// listed once; and that its reports have no gap. All records of the group, which are those of these queues.
pub(crate) fn check(bench: &Bench, queues: &[Place], found: &BTreeMap<u64, Found>) {
    let records = records(bench);
    let by_message: BTreeMap<u64, &InvocationId> = records.iter().map(|(id, it)| (it.message, id)).collect();
    assert_eq!(by_message.len(), records.len(), "two records have one message");
    for (number, it) in found {
        let id = it.delivery.invocation;
        assert_eq!(by_message.get(number), Some(&&id), "message {number} has no record");
        assert_eq!(records[&id].queue, it.queue);
    }
    let (mut rows, mut ended, mut bytes) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    for (id, record) in &records {
        rows.insert(keys::invocation(*id));
        rows.insert(keys::listed(&record.queue.namespace, record.accepted_ms, *id));
        if record.answered {
            rows.insert(keys::answer(*id));
            let answer: Answer = view::get(&bench.records, &keys::answer(*id)).unwrap().unwrap();
            *bytes.entry(&record.queue).or_insert(0) += answer.weight();
        }
        check_place(record, found.get(&record.message));
        check_reports(record, found.get(&record.message));
        if let Some(end) = record.ended.as_ref().filter(|end| end.how != How::Dead) {
            rows.insert(keys::ended(&record.queue, end.at_ms, *id));
            *ended.entry(&record.queue).or_insert(0) += 1;
        }
    }
    let kinds = [b"e", b"x", b"l", b"z"];
    let kept = bench.records.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(*kind)));
    assert_eq!(kept.cloned().collect::<BTreeSet<Bytes>>(), rows);
    for queue in queues {
        let expected = ended.get(queue).copied().unwrap_or_default();
        let counts = counts(&bench.records, queue).unwrap();
        assert_eq!(counts.records, expected, "records of queue {queue}");
        let expected = bytes.get(queue).copied().unwrap_or_default();
        assert_eq!(counts.answer_bytes, expected, "bytes of answers of queue {queue}");
    }
}

pub(crate) fn records(bench: &Bench) -> BTreeMap<InvocationId, Invocation> {
    let rows = bench.records.keys().filter(|key| key.starts_with(b"e"));
    let one = |key: &Bytes| {
        let id = InvocationId::try_from(&key[1..]).unwrap();
        (id, view::get(&bench.records, key).unwrap().unwrap())
    };
    rows.map(one).collect()
}

fn check_place(record: &Invocation, found: Option<&Found>) {
    let how = record.ended.as_ref().map(|ended| ended.how);
    match (how, found) {
        (None, Some(it)) => assert!(!it.delivery.state.is_dead(), "a dead letter has not ended: {record:?}"),
        (Some(How::Dead), Some(it)) => {
            let State::Dead(burial) = it.delivery.state else {
                panic!("{it:?} is no dead letter: {record:?}")
            };
            assert_eq!(record.ended.as_ref().unwrap().until_ms, burial.until_ms);
        }
        (Some(How::Succeeded | How::Cancelled | How::Dropped), None) => {}
        (how, found) => panic!("{how:?}, and its message is {found:?}"),
    }
}

/// Of each life they are 1, 2, and so on; the last one is of the attempt that ended last.
fn check_reports(record: &Invocation, found: Option<&Found>) {
    let attempts: Vec<u32> = record.reports.iter().map(|report: &Report| report.attempt).collect();
    let whole = attempts.windows(2).all(|two| two[1] == two[0] + 1 || two[1] == 1);
    assert!(whole, "reports have a gap: {attempts:?}");
    let Some(Found { delivery, .. }) = found else { return };
    let claimed = matches!(delivery.state, State::Claimed(_));
    let over = delivery.attempts - u32::from(claimed);
    assert!(over == 0 || attempts.last() == Some(&over), "{over} attempts, and reports {attempts:?}");
}
