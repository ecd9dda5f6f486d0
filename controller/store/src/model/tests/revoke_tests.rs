//! Goal: what is cancelled is not run, dead letters get other lives, and records are forgotten when their time is over.

use std::collections::BTreeSet;

use super::bench::{Bench, place};
use super::queue_bench::{done, grouped, invocation_of, offer, published};
use super::record_bench::{answered, bury, cancel, names, phase, revive, told};
use crate::model::codec::Stored as _;
use crate::model::{
    Cause, Counts, Due, Kept, Op, Outcome, Phase, RECORD_MS, RECORDS_MAX, Reason, Settings, Span, Wanted,
    answer, due, invocations, keys,
};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
}

#[test]
fn what_is_cancelled_is_not_run_and_what_runs_settles_in_vain() {
    let mut bench = bench();
    let first = bench.publish(grouped("a", "g"));
    let second = bench.publish(grouped("b", "g"));
    bench.publish(grouped("c", "g"));
    let claimed = bench.claim_one();
    assert_eq!(claimed.message, first);
    assert_eq!(bench.run(cancel("a")), Outcome::Done);
    assert_eq!((phase(&bench, "a"), bench.state(first)), (Some(Phase::Cancelled), None));
    assert_eq!(bench.refused(told(&claimed, done(), Some(answered("late")))), Reason::Stale);
    assert_eq!(bench.refused(offer(&claimed)), Reason::Stale);
    let next = bench.claim_one();
    assert_eq!(next.message, second, "its group goes on");
    bench.run(cancel("c"));
    bench.settle(&next, done());
    assert!(bench.claim(9).is_empty());
    for ended in ["a", "b", "c"] {
        assert_eq!(bench.refused(cancel(ended)), Reason::Ended);
    }
    assert_eq!(bench.refused(cancel("nobody")), Reason::NoInvocation);
    let Outcome::Refused(refusal) = bench.run(cancel("b")) else { panic!() };
    assert!(refusal.to_string().ends_with("has ended: it succeeded"), "{refusal}");
    let counts = bench.counts();
    assert_eq!((counts.cancelled, counts.settled, counts.messages()), (2, 1, 0));
}

#[test]
fn a_dead_letter_gets_another_life_and_others_do_not() {
    let mut bench = bench();
    for id in ["a", "b", "c"] {
        bench.publish(published(id));
    }
    bury(&mut bench);
    bury(&mut bench);
    assert_eq!(bench.run(revive("a")), Outcome::Done);
    bench.run(Op::Redrive { queue: place("q"), span: Span::ALL, steps: 9 });
    for id in ["a", "b"] {
        let seen = bench.seen(id).unwrap();
        assert_eq!((seen.phase, seen.attempts, seen.record.reports.len()), (Phase::Waiting, 0, 1), "{id}");
        let kept = answer(&bench.records, invocation_of(id)).unwrap();
        assert_eq!(kept, None, "{id}: that was of another life");
    }
    assert_eq!(bench.counts().redriven, 2);
    let claimed = bench.claim_one();
    assert_eq!(claimed.attempt, 1);
    let why = |bench: &mut Bench, id| {
        assert_eq!(bench.refused(revive(id)), Reason::NotDead);
        let Outcome::Refused(refusal) = bench.run(revive(id)) else { panic!() };
        refusal.to_string()
    };
    assert!(why(&mut bench, "a").ends_with("is no dead letter: it runs"));
    assert!(why(&mut bench, "c").ends_with("it waits"));
    bench.settle_op(told(&claimed, done(), None));
    assert!(why(&mut bench, "a").ends_with("it succeeded"));
    assert_eq!(bench.refused(revive("nobody")), Reason::NoInvocation);
    let attempts: Vec<u32> = bench.seen("a").unwrap().record.reports.iter().map(|it| it.attempt).collect();
    assert_eq!(attempts, [1, 1], "those of its first life stay");
}

#[test]
fn what_is_purged_was_dropped() {
    let mut bench = bench();
    bench.publish(published("a"));
    bench.publish(published("b"));
    bury(&mut bench);
    for kept in [Kept::Dead, Kept::Waiting] {
        bench.run(Op::Purge { queue: place("q"), kept, span: Span::ALL, steps: 9 });
    }
    let (letter, waited) = (bench.seen("a").unwrap(), bench.seen("b").unwrap());
    assert_eq!((letter.phase, letter.cause), (Phase::Dropped, Some(Cause::Rejected)));
    assert_eq!((waited.phase, waited.cause), (Phase::Dropped, None));
}

#[test]
fn a_dead_letters_record_lives_as_long_as_the_letter() {
    let mut bench = bench();
    bench.publish(published("a"));
    bury(&mut bench);
    bench.pass(2 * RECORD_MS);
    let seen = bench.seen("a").unwrap();
    assert_eq!(
        (seen.phase, seen.cause, seen.last_error.as_str()),
        (Phase::Dead, Some(Cause::Rejected), "no")
    );
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), Some(answered("no")));
    bench.pass(Settings::DEFAULT.dead_keep_ms - 2 * RECORD_MS);
    assert_eq!(phase(&bench, "a"), Some(Phase::Dead), "nobody has swept it");
    bench.sweep(Due::Dead);
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.cause), (Phase::Dropped, Some(Cause::Rejected)));
    bench.pass(RECORD_MS - 1);
    assert_eq!(phase(&bench, "a"), Some(Phase::Dropped));
    bench.pass(1);
    assert_eq!(phase(&bench, "a"), None, "a day is over");
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), None);
    let listed =
        |bench: &Bench| invocations(&bench.records, &place("q").namespace, &Wanted::ALL, None, 9).unwrap();
    assert_eq!(names(&listed(&bench)), [0_u128; 0]);
    assert_eq!(bench.run(cancel("a")), bench.run(revive("a")), "nobody knows it any more");
}

#[test]
fn what_is_too_old_is_forgotten_with_all_that_was_kept_of_it() {
    let mut bench = bench();
    for id in ["a", "b", "c"] {
        bench.publish(published(id));
        let claimed = bench.claim_one();
        bench.settle_op(told(&claimed, done(), Some(answered("yes"))));
    }
    assert_eq!(bench.counts().records, 3);
    bench.publish(published("d"));
    bench.publish(published("e"));
    let rows = |bench: &Bench| {
        bench.records.keys().filter(|key| b"exlz".contains(&key[0])).cloned().collect::<BTreeSet<_>>().len()
    };
    assert_eq!(rows(&bench), 3 * 4 + 2 * 2);
    bench.pass(RECORD_MS);
    bench.run(cancel("d"));
    assert_eq!((bench.counts().records, rows(&bench)), (2, 4 + 2 + 3), "two at once, and one more");
    bench.run(cancel("e"));
    assert_eq!((bench.counts().records, rows(&bench)), (2, 2 * 3));
    assert_eq!(bench.counts().records_forgotten, 0, "none before its time");
}

#[test]
fn what_a_queue_remembers_goes_though_nothing_happens_in_it() {
    let mut bench = bench();
    let kept = |bench: &Bench| bench.records.keys().filter(|key| b"exlzij".contains(&key[0])).count();
    let next = |bench: &Bench, kind| due(&bench.records, kind, 0, u64::MAX).unwrap();
    let first_ms = bench.now_ms;
    for id in 0..70 {
        bench.publish(published(&format!("{id}")));
        let claimed = bench.claim_one();
        bench.settle_op(told(&claimed, done(), Some(answered("yes"))));
        bench.now_ms += 1;
    }
    for kind in [Due::Records, Due::Ids] {
        assert_eq!(next(&bench, kind), Some(first_ms + RECORD_MS), "when the oldest goes");
    }
    bench.pass(first_ms + RECORD_MS - bench.now_ms);
    assert_eq!((bench.sweep(Due::Records), bench.sweep(Due::Ids)), (1, 1));
    assert_eq!((bench.counts().records, bench.counts().dedups), (69, 69), "one has had its day");
    bench.pass(70);
    assert_eq!((bench.sweep(Due::Records), bench.sweep(Due::Ids)), (1, 1));
    assert_eq!((bench.counts().records, bench.counts().dedups), (5, 5), "so many at once");
    bench.now_ms += 1;
    assert_eq!((bench.sweep(Due::Records), bench.sweep(Due::Ids)), (1, 1), "and then the others");
    assert_eq!((bench.counts().records, bench.counts().dedups, bench.counts().answer_bytes), (0, 0, 0));
    assert_eq!((kept(&bench), next(&bench, Due::Records), next(&bench, Due::Ids)), (0, None, None));
    bench.publish(published("z"));
    assert_eq!(next(&bench, Due::Ids), Some(bench.now_ms + RECORD_MS), "it begins anew");
}

#[test]
fn a_queue_has_a_bounded_number_of_records() {
    let mut bench = bench();
    for id in ["a", "b"] {
        bench.publish(published(id));
    }
    for claimed in bench.claim(2) {
        bench.settle_op(told(&claimed, done(), None));
    }
    let many = Counts { records: RECORDS_MAX, ..bench.counts() };
    bench.set_record(keys::counts(&place("q")), many.encode());
    bench.publish(published("c"));
    bench.run(cancel("c"));
    assert_eq!((bench.counts().records, bench.counts().records_forgotten), (RECORDS_MAX, 1));
    let phases = ["a", "b", "c"].map(|id| phase(&bench, id));
    assert_eq!(phases, [None, Some(Phase::Succeeded), Some(Phase::Cancelled)], "the oldest one went");
}
