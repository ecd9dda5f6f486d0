//! Goal: each rule of queues once: taken in once, attempts, fences, effects, groups, ages, dead letters, bounds.

use super::bench::{Bench, effected, perform, place, set, text, write};
use super::queue_bench::{
    CLAIM_MS, done, grouped, invocation_of, offer, published, put, report, retry, settle, ticket,
};
use crate::model::{
    CLAIM_MS_MAX, Cause, Change, Claimed, DEDUP_MS, DELAY_MS_MAX, Due, Effect, Effected, Fate, Fence, How,
    Kept, Op, Other, Outcome, Publish, Reason, Settings, Span, State, Verdict, dead, due, message, ready,
};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
}

fn publish(publish: Publish) -> Op {
    perform(vec![Effect::Publish(Box::new(publish))])
}

#[test]
fn an_id_is_taken_once_within_a_day() {
    let mut bench = bench();
    let first = bench.publish(published("a"));
    let again = bench.run(publish(published("a")));
    let invocation = invocation_of("a");
    assert_eq!(effected(&again), [Effected::Published { message: first, repeated: true, invocation }]);
    let named = |name| invocation_of(name);
    let elsewhere =
        bench.publish(Publish { source: "other".into(), invocation: named("b"), ..published("a") });
    assert!(elsewhere > first);
    assert_eq!((bench.counts().published, bench.counts().repeated), (2, 1));
    for _ in 0..24 {
        bench.now_ms += DEDUP_MS / 24;
        bench.sweep(Due::Values);
    }
    let after = bench.publish(Publish { invocation: named("c"), ..published("a") });
    assert!(after > elsewhere, "the day is over");
    assert_eq!(bench.counts().dedups, 1, "what is too old is forgotten on the way");
    assert_eq!(bench.counts().forgotten, 0);
}

#[test]
fn attempts_have_no_gaps_and_each_a_greater_fence() {
    let mut bench = bench();
    bench.publish(published("a"));
    let mut before = Fence { term: 0, sequence: 0 };
    for attempt in 1..=3 {
        let claimed = bench.claim_one();
        assert_eq!(claimed.attempt, attempt);
        assert!(claimed.fence > before);
        before = claimed.fence;
        bench.run(offer(&claimed));
        let claimed = bench.claim_one();
        assert_eq!(claimed.attempt, attempt, "what the platform refused was no attempt");
        let fate = bench.settle(&claimed, retry());
        assert_eq!(matches!(fate, Fate::Dead(Cause::Attempts)), attempt == 3, "{fate:?}");
        bench.term += 1;
    }
    let counts = bench.counts();
    assert_eq!((counts.retried, counts.offered, counts.dead_attempts, counts.dead), (2, 3, 1, 1));
}

#[test]
fn a_stale_fence_changes_nothing_and_neither_do_its_effects() {
    let mut bench = bench();
    bench.publish(published("a"));
    let lost = bench.claim_one();
    bench.now_ms += CLAIM_MS;
    assert_eq!(bench.sweep(Due::Claims), 1);
    bench.now_ms += 1000;
    bench.sweep(Due::Delays);
    let held = bench.claim_one();
    assert_eq!(held.attempt, 2);
    let late = || Verdict::Done {
        effects: vec![write("k", set("late")), Effect::Publish(Box::new(published("late")))],
        others: Vec::new(),
    };
    assert_eq!(bench.refused(settle(&lost, late())), Reason::Stale);
    assert_eq!(bench.refused(offer(&lost)), Reason::Stale);
    let until_ms = bench.now_ms + 1;
    assert_eq!(bench.refused(Op::Extend { ticket: ticket(&lost), until_ms }), Reason::Stale);
    assert_eq!(bench.settle(&held, late()), Fate::Done);
    assert_eq!(bench.data("k").as_deref(), Some("late"));
    assert_eq!(bench.refused(settle(&held, late())), Reason::Stale, "once is enough");
    assert_eq!((bench.counts().settled, bench.counts().ready, bench.counts().lapsed), (1, 1, 1));
}

#[test]
fn a_settle_is_refused_with_its_effects() {
    let mut bench = bench();
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    let check = Change::CompareAndSet { expected: Some(99), data: text("x"), ttl_ms: None };
    let effects = vec![write("k", set("v")), write("l", check)];
    assert_eq!(
        bench.refused(settle(&claimed, Verdict::Done { effects, others: Vec::new() })),
        Reason::Mismatch
    );
    assert!(matches!(bench.state(claimed.message), Some(State::Claimed(_))), "it may be tried again");
    let nowhere = Publish { queue: place("z"), ..published("b") };
    let effects = vec![Effect::Publish(Box::new(nowhere))];
    assert_eq!(
        bench.refused(settle(&claimed, Verdict::Done { effects, others: Vec::new() })),
        Reason::Nowhere
    );
    assert_eq!(bench.settle(&claimed, done()), Fate::Done);
    assert_eq!(bench.state(claimed.message), None);
    assert_eq!(bench.counts().bytes, 0);
}

#[test]
fn a_wait_is_drawn_from_the_entry_and_doubles_up_to_its_bound() {
    let settings = Settings { attempts_max: 20, backoff_ms: 1000, ..Settings::DEFAULT };
    let mut bench = Bench::with_queue(settings.clone());
    bench.publish(published("a"));
    let mut longest = 0;
    for attempt in 1..20_u32 {
        bench.random += 1;
        let claimed = bench.claim_one();
        let verdict = Verdict::Retry { after_ms: None, error: String::new() };
        let Fate::Retried { at_ms } = bench.settle(&claimed, verdict) else { panic!("attempt {attempt}") };
        let wait_ms = at_ms - bench.now_ms;
        assert!(wait_ms <= (1000 << (attempt - 1)).min(settings.backoff_max_ms), "{attempt}: {wait_ms}");
        longest = longest.max(wait_ms);
        bench.now_ms = at_ms;
        bench.sweep(Due::Delays);
    }
    assert!(longest > 60_000, "it waits: {longest}");
}

#[test]
fn a_claim_is_extended_and_lapses() {
    let mut bench = bench();
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    let later = bench.now_ms + 10 * CLAIM_MS;
    assert_eq!(bench.run(Op::Extend { ticket: ticket(&claimed), until_ms: later }), Outcome::Done);
    let sooner = bench.now_ms + 1;
    bench.run(Op::Extend { ticket: ticket(&claimed), until_ms: sooner });
    bench.now_ms = later - 1;
    assert_eq!(bench.sweep(Due::Claims), 0);
    bench.now_ms = later;
    assert_eq!(bench.sweep(Due::Claims), 1);
    let peeked = message(&bench.records, &place("q"), claimed.message).unwrap().unwrap();
    assert_eq!(peeked.delivery.attempts, 1, "it counts: it may have ended its node");
    assert!(peeked.delivery.last_error.contains("node 4"), "{}", peeked.delivery.last_error);
    for until_ms in [bench.now_ms, bench.now_ms + CLAIM_MS_MAX + 1] {
        let node = super::queue_bench::NODE;
        let claim = Op::Claim { queue: place("q"), node, most: 1, until_ms };
        assert_eq!(bench.refused(claim), Reason::Invalid);
    }
}

#[test]
fn a_delay_holds_a_message_back() {
    let mut bench = bench();
    bench.publish(Publish { delay_ms: 50, ..published("a") });
    assert!(bench.claim(1).is_empty());
    bench.now_ms += 49;
    assert_eq!(bench.sweep(Due::Delays), 0);
    bench.now_ms += 1;
    assert_eq!(bench.sweep(Due::Delays), 1);
    assert_eq!(bench.claim_one().attempt, 1);
    let over = Publish { delay_ms: DELAY_MS_MAX + 1, ..published("b") };
    assert_eq!(bench.refused(publish(over)), Reason::Invalid);
}

#[test]
fn what_is_due_is_looked_for_between_two_times() {
    let mut bench = bench();
    for (id, delay_ms) in [("a", 50), ("b", 70)] {
        bench.publish(Publish { delay_ms, ..published(id) });
    }
    let (one, other) = (bench.now_ms + 50, bench.now_ms + 70);
    let found = |from_ms, until_ms| due(&bench.records, Due::Delays, from_ms, until_ms).unwrap();
    assert_eq!((found(0, one - 1), found(0, one), found(0, u64::MAX)), (None, Some(one), Some(one)));
    assert_eq!((found(one, one), found(one + 1, u64::MAX)), (Some(one), Some(other)));
    assert_eq!((found(other + 1, u64::MAX), found(other, one), found(u64::MAX, 0)), (None, None, None));
}

#[test]
fn messages_of_a_group_come_one_after_the_other() {
    let mut bench = bench();
    let first = bench.publish(grouped("1", "g"));
    let second = bench.publish(grouped("2", "g"));
    let third = bench.publish(grouped("3", "g"));
    let other = bench.publish(grouped("4", "h"));
    let numbers = |claimed: &[Claimed]| claimed.iter().map(|it| it.message).collect::<Vec<_>>();
    let claimed = bench.claim(9);
    assert_eq!(numbers(&claimed), [first, other]);
    bench.settle(&claimed[0], Verdict::Retry { after_ms: Some(10), error: String::new() });
    assert!(bench.claim(9).is_empty(), "the group waits for the one that is tried again");
    bench.now_ms += 10;
    bench.sweep(Due::Delays);
    let claimed = bench.claim(9);
    assert_eq!(numbers(&claimed), [first]);
    bench.settle(&claimed[0], Verdict::Dead { error: "no".into() });
    let claimed = bench.claim(9);
    assert_eq!(numbers(&claimed), [second], "a dead letter does not take its neighbours with it");
    let redrive = Op::Redrive { queue: place("q"), span: Span::ALL, steps: 9 };
    assert_eq!(bench.run(redrive), Outcome::Moved { moved: 1, more: false, next: first + 1 });
    assert!(bench.claim(9).is_empty(), "what is redriven waits its turn too");
    bench.settle(&claimed[0], done());
    let claimed = bench.claim(9);
    assert_eq!((numbers(&claimed), claimed[0].attempt), (vec![first], 1));
    bench.settle(&claimed[0], done());
    assert_eq!(numbers(&bench.claim(9)), [third]);
}

#[test]
fn who_waits_for_too_long_becomes_a_dead_letter_and_goes_at_last() {
    let settings = Settings { age_ms: 100, dead_keep_ms: 1000, ..Settings::DEFAULT };
    let mut bench = Bench::with_queue(settings);
    let waits = bench.publish(published("a"));
    let held = bench.publish(published("b"));
    let unswept = bench.publish(Publish { delay_ms: 5, ..published("c") });
    bench.claim(1);
    let claimed = bench.claim_one();
    assert_eq!(claimed.message, held);
    bench.now_ms += 105;
    bench.sweep(Due::Delays);
    assert!(bench.claim(1).is_empty(), "it is too old, though nobody has swept it");
    assert!(matches!(bench.state(unswept), Some(State::Dead(burial)) if burial.cause == Cause::Age));
    bench.sweep(Due::Ages);
    assert!(matches!(bench.state(waits), Some(State::Claimed(_))), "who is being tried may end well");
    bench.run(offer(&claimed));
    assert!(matches!(bench.state(held), Some(State::Dead(_))), "and who is given back is too old");
    assert_eq!(bench.counts().dead_age, 2);
    bench.now_ms += 999;
    assert_eq!(bench.sweep(Due::Dead), 0);
    bench.now_ms += 1;
    assert_eq!(bench.sweep(Due::Dead), 2);
    assert_eq!((bench.counts().expired, bench.counts().dead, bench.counts().claimed), (2, 0, 1));
}

#[test]
fn what_was_given_no_id_is_like_no_other_and_leaves_no_memory() {
    let mut bench = bench();
    let unnamed = |id| Publish { id: String::new(), ..published(id) };
    let first = bench.publish(unnamed("a"));
    let second = bench.publish(unnamed("b"));
    assert_ne!(first, second);
    assert_eq!(bench.counts().dedups, 0);
    let rows = bench.records.keys().filter(|key| key.starts_with(b"i") || key.starts_with(b"j"));
    assert_eq!(rows.count(), 0);
    for (number, id) in [(first, "a"), (second, "b")] {
        let found = message(&bench.records, &place("q"), number).unwrap().unwrap();
        assert_eq!(found.body.id, invocation_of(id).to_string());
    }
    assert_eq!(bench.refused(publish(unnamed("a"))), Reason::Invalid, "one record is of one message");
    bench.publish(published("c"));
    bench.pass(DEDUP_MS);
    bench.publish(unnamed("d"));
    assert_eq!(bench.counts().dedups, 0, "it makes old ids forgotten all the same");
}

#[test]
fn whoever_is_to_wait_beyond_its_age_is_tried_before_it() {
    let settings = Settings { age_ms: 10_000, attempts_max: 4, ..Settings::DEFAULT };
    let mut bench = Bench::with_queue(settings);
    let later = || Verdict::Retry { after_ms: Some(3_600_000), error: "later".into() };
    bench.publish(published("a"));
    let deadline_ms = bench.now_ms + 10_000;
    let claimed = bench.claim_one();
    assert_eq!(bench.settle(&claimed, later()), Fate::Retried { at_ms: deadline_ms - 1000 });
    bench.now_ms = deadline_ms - 1000;
    bench.sweep(Due::Delays);
    let claimed = bench.claim_one();
    assert_eq!(bench.settle(&claimed, later()), Fate::Retried { at_ms: bench.now_ms }, "there is no later");
    let claimed = bench.claim_one();
    bench.now_ms += 500;
    assert_eq!(bench.settle(&claimed, later()), Fate::Retried { at_ms: bench.now_ms });
    let claimed = bench.claim_one();
    assert_eq!(bench.settle(&claimed, later()), Fate::Dead(Cause::Attempts), "that was the last one");
    bench.publish(published("b"));
    bench.now_ms += 9_500;
    let claimed = bench.claim_one();
    bench.now_ms += 500;
    assert_eq!(bench.settle(&claimed, later()), Fate::Dead(Cause::Age));
}

#[test]
fn a_queue_has_bounds_that_are_named_and_counts_whom_they_refuse() {
    let mut bench = Bench::with_queue(Settings { messages_max: 2, bytes_max: 1000, ..Settings::DEFAULT });
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    bench.settle(&claimed, Verdict::Dead { error: "no".into() });
    let large = Publish { data: vec![7; 990].into(), ..published("b") };
    let refused = bench.run(publish(large));
    assert!(
        matches!(&refused, Outcome::Refused(it) if it.reason == Reason::QueueFullBytes && it.bound == 1000)
    );
    bench.publish(published("b"));
    let refused = bench.run(publish(published("c")));
    assert!(
        matches!(&refused, Outcome::Refused(it) if it.reason == Reason::QueueFullMessages && it.found == 3)
    );
    assert_eq!(bench.counts().refused, 2);
    let claimed = bench.claim_one();
    let effects = vec![Effect::Publish(Box::new(published("c")))];
    assert_eq!(
        bench.settle(&claimed, Verdict::Done { effects, others: Vec::new() }),
        Fate::Done,
        "in the place of its own message"
    );
}

#[test]
fn dead_letters_tell_why_and_are_redriven_or_purged() {
    let mut bench = bench();
    for id in ["a", "b", "c"] {
        bench.publish(published(id));
    }
    for claimed in bench.claim(3) {
        bench.settle(&claimed, Verdict::Dead { error: format!("{}{}", "e".repeat(1023), "\u{e9}") });
    }
    let letters = dead(&bench.records, &place("q"), Span::ALL, 9).unwrap();
    let [first, second, _] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((first.delivery.last_error.len(), first.delivery.attempts), (1023, 1));
    assert_eq!((first.body.id.as_str(), &first.body.data[..]), ("a", &b"data"[..]));
    let one = Span { from: second.message, to: second.message + 1 };
    let redrive = Op::Redrive { queue: place("q"), span: one, steps: 9 };
    assert_eq!(bench.run(redrive), Outcome::Moved { moved: 1, more: false, next: second.message + 1 });
    assert_eq!(bench.claim_one().attempt, 1);
    let purge = |kept| Op::Purge { queue: place("q"), kept, span: Span::ALL, steps: 1 };
    assert!(matches!(bench.run(purge(Kept::Dead)), Outcome::Moved { moved: 1, more: true, .. }));
    assert!(matches!(bench.run(purge(Kept::Dead)), Outcome::Moved { moved: 1, more: true, .. }));
    assert!(matches!(bench.run(purge(Kept::Dead)), Outcome::Moved { moved: 0, more: false, .. }));
    assert!(
        matches!(bench.run(purge(Kept::Waiting)), Outcome::Moved { moved: 0, more: true, .. }),
        "it is claimed"
    );
    let counts = bench.counts();
    assert_eq!((counts.purged, counts.redriven, counts.dead, counts.claimed), (2, 1, 0, 1));
}

#[test]
fn a_paused_queue_takes_in_and_gives_nothing_out() {
    let mut bench = bench();
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    bench.run(Op::PauseQueue { queue: place("q"), paused: true });
    bench.publish(published("b"));
    let until_ms = bench.now_ms + CLAIM_MS;
    let claim = Op::Claim { queue: place("q"), node: super::queue_bench::NODE, most: 1, until_ms };
    assert_eq!(bench.refused(claim), Reason::Paused);
    bench.settle(&claimed, done());
    bench.run(put(place("q"), Settings::DEFAULT));
    bench.run(Op::PauseQueue { queue: place("q"), paused: false });
    let next = ready(&bench.records, &place("q"), 9).unwrap();
    assert_eq!(next.iter().map(|it| it.message).collect::<Vec<_>>(), [bench.claim_one().message]);
}

#[test]
fn what_one_call_was_for_is_done_together_as_far_as_it_is_held() {
    let mut bench = bench();
    for id in ["a", "b", "c"] {
        bench.publish(published(id));
    }
    let held = bench.claim(3);
    let other = |it: &Claimed| Other { message: it.message, fence: it.fence, report: Some(report("200")) };
    let all = || Verdict::Done {
        effects: vec![write("k", set("v"))],
        others: held[1..].iter().map(other).collect(),
    };
    bench.run(Op::Cancel { invocation: invocation_of("a") });
    let stale = Fence { sequence: 0, ..held[0].fence };
    let mut wrong = vec![Other { fence: stale, ..other(&held[1]) }];
    let Outcome::Settled { effects, lost, .. } = bench.run(settle(&held[0], all())) else { panic!() };
    assert_eq!((effects.len(), lost), (1, vec![held[0].message]), "the first is not wanted, the others are");
    assert_eq!(bench.data("k").as_deref(), Some("v"));
    for id in ["b", "c"] {
        let seen = bench.seen(id).unwrap().record;
        assert_eq!((seen.reports.len(), seen.ended.unwrap().how), (1, How::Succeeded));
    }
    assert_eq!((bench.counts().settled, bench.counts().claimed), (2, 0));
    assert_eq!(bench.refused(settle(&held[0], all())), Reason::Stale, "nothing is done twice");

    bench.publish(published("d"));
    let last = bench.claim_one();
    wrong.resize(256, wrong[0].clone());
    let others = |others| Verdict::Done { effects: Vec::new(), others };
    assert_eq!(bench.refused(settle(&last, others(wrong.clone()))), Reason::TooMany);
    wrong.truncate(1);
    let check = Change::CompareAndSet { expected: Some(99), data: text("x"), ttl_ms: None };
    let effects = vec![write("k", check)];
    assert_eq!(
        bench.refused(settle(&last, Verdict::Done { effects, others: wrong.clone() })),
        Reason::Mismatch
    );
    wrong.push(other(&last));
    let Outcome::Settled { lost, .. } = bench.run(settle(&last, others(wrong))) else { panic!() };
    assert_eq!(lost, [held[1].message, last.message], "each of them counts once");
}
