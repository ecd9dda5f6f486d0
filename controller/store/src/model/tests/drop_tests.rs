//! Goal: a queue that is deleted is gone with all that was its own, in bounded steps, and nothing enters or leaves it meanwhile.

use super::bench::{Bench, perform, place, write};
use super::queue_bench::{
    CLAIM_MS, NODE, done, function, grouped, invocation_of, offer, published, put, settle, submit, ticket,
};
use super::record_bench::{answered, bury, cancel, publish, revive, told};
use super::rows;
use crate::model::{
    Change, Deletion, Due, Kept, Name, OP_STEPS_MAX, Op, Outcome, Phase, Place, Publish, Reason, Settings,
    Span, counts, named_count, queue, topic,
};

fn deletion(force: bool) -> Deletion {
    if force { Deletion::Forced } else { Deletion::Unused }
}

fn drop(force: bool, steps: u32) -> Op {
    Op::DropQueue { queue: place("q"), deletion: deletion(force), steps }
}

/// Everything that is the queue's own, or names one of these invocations.
fn own(bench: &Bench, ids: &[&str]) -> Vec<String> {
    let place = b"shop\0q\0";
    let ids: Vec<_> = ids.iter().map(|id| invocation_of(id).to_bytes()).collect();
    let is_own = |key: &&bytes::Bytes| {
        key.windows(place.len()).any(|part| part == place)
            || ids.iter().any(|id| key.windows(id.len()).any(|part| part == id))
    };
    bench.records.keys().filter(is_own).map(|key| format!("{key:?}")).collect()
}

/// One with something of each kind: waiting, delayed, behind, claimed, dead, ended with an answer, remembered.
fn full() -> (Bench, Vec<&'static str>) {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    bench.publish(published("dead"));
    bury(&mut bench);
    bench.publish(published("ended"));
    let claimed = bench.claim_one();
    bench.settle_op(told(&claimed, done(), Some(answered("yes"))));
    bench.publish(published("cancelled"));
    bench.run(cancel("cancelled"));
    bench.publish(grouped("claimed", "g"));
    bench.publish(grouped("behind", "g"));
    bench.publish(Publish { delay_ms: 50, ..published("delayed") });
    bench.publish(Publish { id: String::new(), ..published("unnamed") });
    (bench, vec!["dead", "ended", "cancelled", "claimed", "behind", "delayed", "unnamed"])
}

#[test]
fn not_one_key_of_it_is_left() {
    let (mut bench, ids) = full();
    bench.claim(1);
    let before = bench.counts();
    assert!(before.records > 0 && before.dedups > 0 && before.answer_bytes > 0 && before.claimed == 1);
    let mut moved = 0;
    for step in 0.. {
        assert!(step < 100, "it does not end");
        let Outcome::Moved { moved: some, more, .. } = bench.run(drop(true, 1)) else { panic!() };
        moved += some;
        let left: Vec<_> = if more { vec![place("q")] } else { Vec::new() };
        rows::check(&bench, &left);
        if !more {
            break;
        }
    }
    assert_eq!(u64::from(moved), before.messages());
    assert_eq!(own(&bench, &ids), Vec::<String>::new());
    assert_eq!(named_count(&bench.records).unwrap(), 0);
    assert_eq!(bench.refused(drop(true, 1)), Reason::NoQueue);
    bench.run(put(place("q"), Settings::DEFAULT));
    let new = crate::model::Counts { delivery_from: bench.counts().delivery_from, ..Default::default() };
    assert_eq!(bench.counts(), new, "one of the same name is a new one");
    bench.publish(published("dead"));
}

#[test]
fn who_goes_on_means_no_other_queue_of_the_name() {
    let (mut bench, _) = full();
    let go_on = |steps| Op::DropQueue { queue: place("q"), deletion: Deletion::Begun, steps };
    assert_eq!(bench.refused(go_on(1)), Reason::NoQueue, "nobody has begun");
    bench.run(drop(true, 1));
    assert!(matches!(bench.run(go_on(256)), Outcome::Moved { more: false, .. }));
    bench.run(Op::PutQueue { queue: place("q"), settings: Settings::DEFAULT, target: None });
    assert_eq!(bench.refused(go_on(256)), Reason::NoQueue);
}

#[test]
fn it_is_refused_while_it_is_used_and_says_by_whom() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    bench.publish(published("a"));
    let Outcome::Refused(refusal) = bench.run(drop(false, 9)) else { panic!() };
    assert_eq!(refusal.reason, Reason::InUse);
    let sentence = "queue 'shop/q' is in use: function 'f' takes its messages, and it has 1 messages; --force deletes it all the same";
    assert_eq!(refusal.to_string(), sentence);
    bench.run(Op::PutQueue { queue: place("q"), settings: Settings::DEFAULT, target: None });
    assert_eq!(bench.refused(drop(false, 9)), Reason::InUse);
    bench.run(Op::Purge { queue: place("q"), kept: Kept::Waiting, span: Span::ALL, steps: 9 });
    assert!(matches!(bench.run(drop(false, 9)), Outcome::Moved { more: false, .. }));
}

#[test]
fn nothing_enters_or_leaves_one_that_goes() {
    let (mut bench, _) = full();
    let held = bench.claim_one();
    assert!(matches!(bench.run(drop(true, 1)), Outcome::Moved { more: true, .. }));
    let write = || vec![write("k", Change::Increment { by: 1 })];
    let until_ms = bench.now_ms + CLAIM_MS;
    let extend = Op::Extend { ticket: ticket(&held), until_ms };
    let settle = settle(&held, crate::model::Verdict::Done { effects: write(), others: Vec::new() });
    for op in [settle, offer(&held), extend] {
        assert_eq!(bench.refused(op), Reason::Stale, "who runs it settles in vain");
    }
    assert!(bench.value("k").is_none());
    let queue = || place("q");
    for op in [
        publish(published("new")),
        put(queue(), Settings::DEFAULT),
        Op::PauseQueue { queue: queue(), paused: true },
        Op::Claim { queue: queue(), node: NODE, most: 1, until_ms },
        Op::Redrive { queue: queue(), span: Span::ALL, steps: 9 },
        perform(vec![crate::model::Effect::Publish(Box::new(published("new")))]),
    ] {
        assert!(matches!(bench.refused(op.clone()), Reason::Dropping), "{op:?}");
    }
    assert!(crate::model::active(&bench.records, None, 9).unwrap().is_empty());
    // What time does to it meanwhile is done, and does not hold up others.
    bench.pass(Settings::DEFAULT.age_ms);
    for due in [Due::Delays, Due::Claims, Due::Ages, Due::Records, Due::Ids] {
        bench.sweep(due);
    }
    assert!(matches!(bench.run(drop(false, 256)), Outcome::Moved { more: false, .. }), "it was begun");
}

#[test]
fn what_was_dropped_is_told_until_it_is_gone() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    for id in ["a", "b"] {
        bench.publish(published(id));
    }
    bench.run(drop(true, 1));
    assert_eq!(bench.seen("a").map(|seen| seen.phase), Some(Phase::Dropped));
    assert_eq!(bench.seen("b").map(|seen| seen.phase), Some(Phase::Waiting));
    bench.run(cancel("b"));
    bench.run(drop(true, 256));
    assert_eq!((bench.seen("a"), bench.seen("b")), (None, None));
    assert_eq!(bench.refused(revive("a")), Reason::NoInvocation);
}

#[test]
fn the_leader_goes_on_with_what_nobody_ends() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    for number in 0..2 * OP_STEPS_MAX {
        bench.publish(published(&number.to_string()));
    }
    assert!(matches!(bench.run(drop(true, 1)), Outcome::Moved { moved: 1, more: true, .. }));
    assert_eq!(bench.sweep(Due::Drops), 0, "whoever began it has some time alone");
    bench.pass(20_000);
    let mut rounds = 0;
    while queue(&bench.records, &place("q")).unwrap().is_some() {
        assert_eq!(bench.sweep(Due::Drops), 1);
        bench.now_ms += 1;
        rounds += 1;
        assert!(rounds < 50, "it does not end");
    }
    assert!(rounds > 2, "in bounded steps");
    assert_eq!(own(&bench, &["0", "300"]), Vec::<String>::new());
    assert_eq!(bench.sweep(Due::Drops), 0);
}

#[test]
fn whoever_heard_by_it_hears_no_more() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let name = Name::parse("f").unwrap();
    let of_topic = Place::of_subscriber(&place("t"), &name).unwrap();
    bench.run(Op::PutTopic { topic: place("t") });
    bench.run(Op::Subscribe { topic: place("t"), function: name, settings: Settings::DEFAULT });
    let drop = |force| Op::DropQueue { queue: of_topic.clone(), deletion: deletion(force), steps: 9 };
    assert_eq!(bench.refused(drop(false)), Reason::InUse);
    assert!(matches!(bench.run(drop(true)), Outcome::Moved { more: false, .. }));
    assert!(topic(&bench.records, &place("t")).unwrap().unwrap().subscribers.is_empty());
    let publish = publish(Publish { queue: place("t"), ..published("a") });
    assert!(matches!(bench.run(publish), Outcome::Performed(_)), "nobody is missing");
}

#[test]
fn that_of_a_function_is_made_again_with_its_next_call() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let queue = || Place::of_function(&function());
    bench.run(submit(published("a")));
    bench.run(Op::DropQueue { queue: queue(), deletion: Deletion::Forced, steps: 256 });
    assert_eq!(counts(&bench.records, &queue()).unwrap().published, 0);
    bench.run(submit(published("a")));
    assert_eq!(counts(&bench.records, &queue()).unwrap().published, 1);
    assert_eq!(named_count(&bench.records).unwrap(), 1, "those of functions are not counted");
}

#[test]
fn queues_and_topics_have_a_bound_together() {
    use crate::model::codec::Stored as _;
    use crate::model::record::Queues;
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let count = crate::model::QUEUES_MAX - 1;
    bench.set_record(crate::model::keys::queues(), Queues { count }.encode());
    bench.run(Op::PutTopic { topic: place("t") });
    let Outcome::Refused(refusal) = bench.run(put(place("r"), Settings::DEFAULT)) else { panic!() };
    assert_eq!((refusal.reason, refusal.found, refusal.bound), (Reason::QueuesFull, 10_001, 10_000));
    assert_eq!(bench.refused(Op::PutTopic { topic: place("u") }), Reason::QueuesFull);
    assert_eq!(bench.run(put(place("q"), Settings::DEFAULT)), Outcome::Done, "it is told anew");
    assert!(matches!(bench.run(submit(published("a"))), Outcome::Performed(_)));
    bench.run(Op::DropTopic { topic: place("t"), force: false });
    assert_eq!(bench.run(put(place("r"), Settings::DEFAULT)), Outcome::Done);
}

#[test]
fn a_timer_of_what_is_remembered_is_one() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    bench.publish(published("a"));
    bench.pass(crate::model::DEDUP_MS);
    // It makes the only id forgotten, and another one comes before the timer is swept.
    bench.publish(Publish { id: String::new(), ..published("b") });
    bench.publish(published("c"));
    let timers = bench.records.keys().filter(|key| key.starts_with(b"ti")).count();
    assert_eq!(timers, 1);
    bench.sweep(Due::Ids);
    assert_eq!(
        bench.records.keys().filter(|key| key.starts_with(b"ti")).count(),
        1,
        "for the one that is left"
    );
}
