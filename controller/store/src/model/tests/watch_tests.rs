//! Goal: a change of a watched bucket is an event for whom it concerns, in the same operation or not at all; checks of what was read.

use super::bench::{Bench, effected, perform, place, reason, set, text, write};
use super::queue_bench::{done, published, settle, ticket_of};
use crate::model::codec::Stored as _;
use crate::model::record::Buckets;
use crate::model::{
    BUCKETS_MAX, CHANGE_BYTES_MAX, Change, Check, Deletion, Due, Effect, Effected, HEARERS_MAX, Name,
    OP_STEPS_MAX, Op, Outcome, Peeked, Place, Reason, Settings, ToHold, Verdict, Watcher, bucket, buckets,
    counts, keys, named_count, queue, waiting,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn queue_of(function: &str) -> Place {
    Place::of_watcher(&place("a"), &name(function)).unwrap()
}

fn all(function: &str) -> Watcher {
    Watcher {
        function: name(function),
        sets: true,
        deletes: true,
        prefix: String::new(),
        suffix: String::new(),
    }
}

fn watch(watcher: Watcher, settings: Settings) -> Op {
    Op::Watch { bucket: place("a"), watcher, settings }
}

fn bench(watchers: Vec<Watcher>) -> Bench {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    for watcher in watchers {
        assert_eq!(bench.run(watch(watcher, Settings::DEFAULT)), Outcome::Done);
    }
    bench
}

fn events(bench: &Bench, function: &str) -> Vec<Peeked> {
    waiting(&bench.records, &queue_of(function), 0, 99).unwrap().messages
}

/// Type and subject of each.
fn told(bench: &Bench, function: &str) -> Vec<(String, String)> {
    let attribute = |it: &Peeked, name| it.body.attributes[name].clone();
    let one = |it: &Peeked| {
        let kind = attribute(it, "type");
        (kind.rsplit('.').next().unwrap().to_owned(), attribute(it, "subject"))
    };
    events(bench, function).iter().map(one).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(kind, subject)| ((*kind).to_owned(), (*subject).to_owned())).collect()
}

#[test]
fn each_change_is_an_event_that_says_what_changed() {
    let mut bench = bench(vec![all("f")]);
    let version = bench.set("k", "value");
    bench.write("n", Change::Increment { by: 12 });
    bench.write("n", Change::CompareAndSet { expected: None, data: text("x"), ttl_ms: None });
    bench.write("k", Change::Delete);
    bench.write("k", Change::Delete);
    assert_eq!(
        told(&bench, "f"),
        pairs(&[("set", "k"), ("set", "n"), ("deleted", "k")]),
        "what was done, once"
    );
    let events = events(&bench, "f");
    let first = &events[0];
    assert_eq!((&first.body.source[..], &first.body.kind[..]), ("//shop/bucket/a", "bucket"));
    assert_eq!(first.body.attributes["type"], "dev.coracle.kv.set");
    assert_eq!(first.body.attributes["sequence"], version.to_string());
    let data = format!("{{\"bucket\":\"a\",\"key\":\"k\",\"version\":{version},\"bytes\":5}}");
    assert_eq!(std::str::from_utf8(&first.body.data).unwrap(), data);
    let sequences: Vec<u64> =
        events.iter().map(|it| it.body.attributes["sequence"].parse().unwrap()).collect();
    assert!(sequences.is_sorted_by(|one, other| one < other), "{sequences:?}");
}

#[test]
fn keys_that_are_no_text_are_told_exactly() {
    let mut bench = bench(vec![all("f")]);
    let key = bytes::Bytes::from_static(b"\xff\n");
    let write = crate::model::Write { bucket: place("a"), key, change: set("v") };
    bench.run(perform(vec![Effect::Write(write)]));
    let events = events(&bench, "f");
    assert_eq!(events[0].body.attributes["subject"], "%FF%0A");
    let data = std::str::from_utf8(&events[0].body.data).unwrap();
    assert!(data.contains("\"key\":\"%FF%0A\",\"key_base64\":\"/wo=\""), "{data}");
}

#[test]
fn a_watcher_gets_what_concerns_it() {
    let mut bench = bench(vec![
        Watcher { deletes: false, ..all("sets") },
        Watcher { sets: false, ..all("deletes") },
        Watcher { prefix: "a/".into(), suffix: ".jpg".into(), ..all("images") },
    ]);
    for key in ["a/1.jpg", "a/1.png", "b/1.jpg"] {
        bench.set(key, "v");
        bench.write(key, Change::Delete);
    }
    assert_eq!(told(&bench, "sets").len(), 3);
    assert!(told(&bench, "deletes").iter().all(|(kind, _)| kind == "deleted"));
    assert_eq!(told(&bench, "images"), pairs(&[("set", "a/1.jpg"), ("deleted", "a/1.jpg")]));
}

#[test]
fn a_change_that_cannot_be_told_is_not_made() {
    let mut bench = bench(vec![all("f")]);
    bench.run(watch(all("g"), Settings { messages_max: 1, ..Settings::DEFAULT }));
    bench.set("k", "one");
    let outcome = bench.run(perform(vec![write("l", set("v")), write("k", set("two"))]));
    let Outcome::Refused(refusal) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.reason, Reason::QueueFullMessages);
    assert!(refusal.to_string().contains("'shop/bucket/a/g'"), "{refusal}");
    assert_eq!((bench.data("k").as_deref(), bench.data("l")), (Some("one"), None));
    assert_eq!(told(&bench, "f"), pairs(&[("set", "k")]), "nor is it told to others");
}

#[test]
fn what_expires_is_told_when_there_is_room() {
    let mut bench = bench(vec![all("f")]);
    bench.run(watch(all("g"), Settings { messages_max: 1, ..Settings::DEFAULT }));
    bench.write("k", Change::Set { data: text("v"), ttl_ms: Some(10) });
    bench.now_ms += 10;
    assert_eq!(bench.sweep(Due::Values), 1, "nobody waits for it");
    assert!(bench.value("k").is_none());
    assert_eq!(bench.bucket().unwrap().keys, 1, "it is still to be told");
    let [claimed] = bench.claim_of(queue_of("g"), 1)[..] else { panic!() };
    let ticket = ticket_of(queue_of("g"), &claimed);
    bench.settle_op(Op::Settle { ticket, verdict: done(), report: None, answer: None });
    bench.now_ms += 1000;
    assert_eq!(bench.sweep(Due::Values), 1);
    assert_eq!(told(&bench, "g"), pairs(&[("deleted", "k")]));
    assert_eq!(told(&bench, "f"), pairs(&[("set", "k"), ("deleted", "k")]), "once");
    assert_eq!(bench.bucket().unwrap().keys, 0);
    assert!(!bench.records.keys().any(|key| key.starts_with(b"tv")), "no timer is left");
}

#[test]
fn what_expires_for_many_is_told_as_far_as_an_entry_goes_and_then_by_the_next_one() {
    let hearers: Vec<_> = (0..9).map(|number| all(&format!("f{number}"))).collect();
    let mut bench = bench(hearers);
    for number in 0..256 {
        bench.write(&format!("k{number}"), Change::Set { data: text("v"), ttl_ms: Some(10) });
    }
    bench.now_ms += 10;
    for _ in 0..2 {
        bench.sweep(Due::Values);
    }
    assert_eq!(bench.bucket().unwrap().keys, 0, "none of them is put off");
    assert!(!bench.records.keys().any(|key| key.starts_with(b"tv")), "no timer is left");
}

#[test]
fn what_has_expired_and_is_deleted_before_it_is_swept_is_told() {
    let mut bench = bench(vec![Watcher { sets: false, ..all("f") }]);
    bench.write("k", Change::Set { data: text("v"), ttl_ms: Some(10) });
    bench.now_ms += 10;
    assert_eq!(effected(&bench.write("k", Change::Delete)), [Effected::Deleted { existed: false }]);
    assert_eq!((bench.sweep(Due::Values), told(&bench, "f")), (0, pairs(&[("deleted", "k")])));
}

#[test]
fn what_waits_to_be_told_may_be_written_anew() {
    let mut bench = bench(Vec::new());
    bench.run(watch(Watcher { sets: false, ..all("g") }, Settings { messages_max: 1, ..Settings::DEFAULT }));
    bench.set("l", "v");
    bench.write("l", Change::Delete);
    bench.write("k", Change::Set { data: text("v"), ttl_ms: Some(10) });
    bench.now_ms += 10;
    bench.sweep(Due::Values);
    bench.set("k", "new");
    assert!(!bench.records.keys().any(|key| key.starts_with(b"tv")), "its timer went with it");
    assert_eq!((bench.data("k").as_deref(), bench.bucket().unwrap().keys), (Some("new"), 1));
}

#[test]
fn watchers_have_a_bound_and_are_told_anew() {
    let mut bench = bench(Vec::new());
    for number in 0..HEARERS_MAX {
        bench.run(watch(all(&format!("f{number}")), Settings::DEFAULT));
    }
    assert_eq!(bench.refused(watch(all("g"), Settings::DEFAULT)), Reason::ListFull);
    let narrower = Watcher { sets: false, ..all("f7") };
    assert_eq!(bench.run(watch(narrower.clone(), Settings::DEFAULT)), Outcome::Done);
    let listed = bucket(&bench.records, &place("a")).unwrap().unwrap();
    assert_eq!(listed.watchers.len(), HEARERS_MAX);
    assert!(listed.watchers.contains(&narrower));
    assert!(listed.watchers.is_sorted_by(|one, other| one.function < other.function));
    let nothing = Watcher { sets: false, deletes: false, ..all("f7") };
    assert_eq!(bench.refused(watch(nothing, Settings::DEFAULT)), Reason::Invalid);
    let long = Watcher { prefix: "p".repeat(1025), ..all("f7") };
    assert_eq!(bench.refused(watch(long, Settings::DEFAULT)), Reason::TooLarge);
    let nowhere = Op::Watch { bucket: place("z"), watcher: all("f"), settings: Settings::DEFAULT };
    assert_eq!(bench.refused(nowhere), Reason::NoBucket);
}

#[test]
fn who_watches_no_more_gets_nothing_new() {
    let mut bench = bench(vec![all("f"), all("g")]);
    bench.set("k", "one");
    bench.run(Op::Unwatch { bucket: place("a"), function: name("f") });
    bench.set("k", "two");
    assert_eq!((told(&bench, "f").len(), told(&bench, "g").len()), (1, 2));
    bench.run(Op::DropQueue { queue: queue_of("g"), deletion: Deletion::Forced, steps: 99 });
    assert_eq!(bench.bucket().map(|bucket| bucket.watched), Some(false));
    bench.set("k", "three");
}

#[test]
fn a_watched_bucket_goes_where_it_is_forced_and_tells_nobody() {
    let mut bench = bench(vec![all("f")]);
    bench.set("k", "v");
    let drop = |force| Op::DropBucket { bucket: place("a"), force, begun: false };
    let Outcome::Refused(refusal) = bench.run(drop(false)) else { panic!() };
    assert_eq!(
        (refusal.reason, &refusal.to_string()[..]),
        (Reason::InUse, "bucket 'shop/a' is watched by f; --force deletes it all the same")
    );
    assert!(matches!(bench.run(drop(true)), Outcome::Moved { moved: 1, more: false, .. }));
    assert_eq!(told(&bench, "f"), pairs(&[("set", "k")]));
    assert!(!bench.records.keys().any(|key| key.starts_with(b"h")));
    let kept = queue(&bench.records, &queue_of("f")).unwrap().unwrap();
    assert!(kept.ends_when_empty, "its queue stays for what waits");
    assert_eq!(named_count(&bench.records).unwrap(), 2);
    assert!(buckets(&bench.records, &place("a").namespace, None, 9).unwrap().is_empty());
}

#[test]
fn a_check_that_fails_changes_nothing() {
    let mut bench = bench(vec![all("f")]);
    let version = bench.set("k", "v");
    let check = |key: &str, version| Effect::Check(Check { bucket: place("a"), key: text(key), version });
    bench.publish(published("m"));
    let held = bench.claim_one();
    let settled = |effects| settle(&held, Verdict::Done { effects, others: Vec::new() });
    for wrong in [check("k", version + 1), check("k", 0), check("none", 1)] {
        assert_eq!(bench.refused(settled(vec![wrong, write("l", set("v"))])), Reason::Mismatch);
    }
    let good = || vec![check("k", version), check("none", 0), write("l", set("v"))];
    let Outcome::Settled { effects, .. } = bench.run(settled(good())) else {
        panic!("the claim is as it was")
    };
    assert!(matches!(effects[..], [Effected::Checked, Effected::Checked, Effected::Written { .. }]));
    let written = bench.value("l").unwrap().version;
    assert_eq!(bench.refused(settled(good())), Reason::Stale, "once");
    assert_eq!(bench.value("l").unwrap().version, written);
    assert_eq!(told(&bench, "f"), pairs(&[("set", "k"), ("set", "l")]));
    assert_eq!(counts(&bench.records, &place("q")).unwrap().settled, 1);
    let outcome = bench.run(perform(vec![check("k", version)]));
    assert_eq!(effected(&outcome), [Effected::Checked]);
}

#[test]
fn an_event_says_how_many_calls_stand_behind_it() {
    let mut bench = bench(vec![all("f")]);
    bench.set("k", "v");
    let mut seen = Vec::new();
    for round in 0..20 {
        let [claimed] = bench.claim_of(queue_of("f"), 1)[..] else { panic!("round {round}") };
        let ticket = ticket_of(queue_of("f"), &claimed);
        let verdict = Verdict::Done { effects: vec![write("k", set("v"))], others: Vec::new() };
        let outcome = bench.run(Op::Settle { ticket, verdict, report: None, answer: None });
        if let Outcome::Refused(refusal) = outcome {
            assert_eq!(refusal.reason, Reason::Loop);
            break;
        }
        seen.push(events(&bench, "f")[0].body.attributes["hops"].parse::<u64>().unwrap());
    }
    assert_eq!(seen, (1..=16).collect::<Vec<_>>());
}

#[test]
fn what_a_client_writes_has_the_calls_that_stand_behind_it() {
    let mut bench = bench(vec![all("f")]);
    let write = |hops| Op::Perform { effects: vec![write("k", set("v"))], hops };
    bench.run(write(3));
    assert_eq!(events(&bench, "f")[0].body.attributes["hops"], "3");
    assert_eq!(bench.refused(write(17)), Reason::Loop);
}

#[test]
fn what_expires_belongs_to_the_chain_of_who_wrote_it() {
    let mut bench = bench(vec![Watcher { sets: false, ..all("f") }]);
    let brief = Change::Set { data: text("v"), ttl_ms: Some(10) };
    let write = |hops| Op::Perform { effects: vec![write("k", brief.clone())], hops };
    assert_eq!(bench.refused(write(17)), Reason::Loop, "its end would be told");
    bench.run(write(16));
    bench.now_ms += 10;
    bench.sweep(Due::Values);
    assert_eq!(events(&bench, "f")[0].body.attributes["hops"], "16");
}

#[test]
fn what_cannot_be_told_waits_twice_as_long_each_time_and_only_its_timer_moves() {
    let mut bench = bench(Vec::new());
    bench.run(watch(Watcher { sets: false, ..all("g") }, Settings { messages_max: 1, ..Settings::DEFAULT }));
    bench.set("l", "v");
    bench.write("l", Change::Delete);
    for key in ["j", "k"] {
        bench.write(key, Change::Set { data: text("v"), ttl_ms: Some(10) });
    }
    let stored = |bench: &Bench| bench.records[&keys::value(&place("a"), b"k")].clone();
    let (before, begun_ms) = (stored(&bench), bench.now_ms + 10);
    let mut waits = Vec::new();
    bench.now_ms = begun_ms;
    while waits.len() < 9 {
        let refused = counts(&bench.records, &queue_of("g")).unwrap().refused;
        assert_eq!(bench.sweep(Due::Values), 2);
        assert_eq!(counts(&bench.records, &queue_of("g")).unwrap().refused, refused);
        let timers: Vec<_> = bench.records.keys().filter(|key| key.starts_with(b"tv")).cloned().collect();
        let at_ms: Vec<_> = timers.iter().map(|key| keys::timer_parts(key).unwrap().0).collect();
        assert_eq!((at_ms.len(), at_ms[0]), (2, at_ms[1]), "one for each");
        waits.push(at_ms[0] - bench.now_ms);
        bench.now_ms = at_ms[0];
    }
    assert_eq!(waits, [1000, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(stored(&bench), before);
    bench.run(Op::Unwatch { bucket: place("a"), function: name("g") });
    assert_eq!(bench.sweep(Due::Values), 2);
    let left = |kind: &[u8]| bench.records.keys().any(|key| key.starts_with(kind));
    assert!(!left(b"tv") && !left(b"u") && !left(b"v"), "nothing is left");
}

#[test]
fn the_largest_event_has_room_in_the_smallest_queue() {
    let mut bench = Bench::with_bucket(9, 1 << 20);
    let small = Settings { bytes_max: CHANGE_BYTES_MAX, ..Settings::DEFAULT };
    assert_eq!(bench.run(watch(all("f"), small)), Outcome::Done);
    let less = Settings { bytes_max: CHANGE_BYTES_MAX - 1, ..Settings::DEFAULT };
    assert_eq!(bench.refused(watch(all("f"), less)), Reason::Invalid);
    let key = vec![0xff; crate::model::KEY_BYTES_MAX].into();
    let write = crate::model::Write { bucket: place("a"), key, change: set("v") };
    assert!(matches!(bench.run(perform(vec![Effect::Write(write)])), Outcome::Performed(_)));
}

#[test]
fn a_group_has_so_many_buckets_and_no_more() {
    let mut bench = Bench::with_bucket(9, 9);
    bench.set_record(keys::bucket_count(), Buckets { count: BUCKETS_MAX }.encode());
    let put = |name| Op::PutBucket { bucket: place(name), keys_max: 1, bytes_max: 1, holds: ToHold::Any };
    assert_eq!(bench.run(put("a")), Outcome::Done, "it is there");
    assert_eq!(reason(&bench.run(put("b"))), Reason::BucketsFull);
    bench.run(Op::DropBucket { bucket: place("a"), force: false, begun: false });
    assert_eq!(bench.run(put("b")), Outcome::Done);
}

#[test]
fn a_bucket_that_goes_takes_nothing_and_goes_to_its_end_by_itself() {
    let mut bench = Bench::with_bucket(999, 99_999);
    for number in 0..=OP_STEPS_MAX {
        bench.set(&format!("{number}"), "v");
    }
    let drop = |begun| Op::DropBucket { bucket: place("a"), force: false, begun };
    assert_eq!(bench.refused(drop(true)), Reason::NoBucket, "nobody has begun it");
    assert!(matches!(bench.run(drop(false)), Outcome::Moved { more: true, .. }));
    let put = Op::PutBucket { bucket: place("a"), keys_max: 9, bytes_max: 9, holds: ToHold::Any };
    for op in [put, watch(all("f"), Settings::DEFAULT), perform(vec![write("new", set("v"))])] {
        assert_eq!(bench.refused(op), Reason::BucketDropping);
    }
    assert_eq!(bench.sweep(Due::Buckets), 0, "whoever has begun it has some time alone");
    bench.pass(10_000);
    assert_eq!((bench.sweep(Due::Buckets), bench.bucket()), (1, None));
    assert_eq!(bench.records.len(), 1, "the group's own record");
    assert_eq!(bench.refused(drop(true)), Reason::NoBucket);
}
