//! Goal: each rule of schedules once: told, paused, dropped; a tick calls once, whoever says it and how often, and is
//! not lost to a full queue.

use super::bench::{BEGIN_MS, Bench, effected, place, reason, text};
use super::queue_bench::{done, function, invocation_of};
use crate::model::{
    Definition, Effected, Fired, Kept, MESSAGE_BYTES_MAX, Message, Missed, Name, Op, Outcome, Overlap,
    PAGE_MAX, Phase, Place, Reason, Schedule, Settings, Span, Tick, Touched, all_schedules, keys, message,
    schedule, schedules, schedules_count, touched,
};

const MINUTE_MS: u64 = 60_000;

pub(crate) fn definition() -> Definition {
    Definition {
        cron: "* * * * *".into(),
        zone: "Europe/Berlin".into(),
        function: Name::parse("f").unwrap(),
        data: text("data"),
        missed: Missed::Once,
        overlap: Overlap::Allow,
    }
}

pub(crate) fn put(name: &str, definition: Definition, from_ms: u64) -> Op {
    Op::PutSchedule { schedule: place(name), definition: Box::new(definition), from_ms }
}

fn bench_with(definition: Definition) -> Bench {
    let mut bench = Bench::new();
    assert_eq!(bench.run(put("nightly", definition, BEGIN_MS)), Outcome::Done);
    bench
}

fn found(bench: &Bench) -> Schedule {
    schedule(&bench.records, &place("nightly")).unwrap().unwrap()
}

/// The one at so many minutes.
fn tick(bench: &Bench, minutes: u64) -> Tick {
    let at_ms = BEGIN_MS + minutes * MINUTE_MS;
    Tick {
        schedule: place("nightly"),
        revision: found(bench).revision,
        at_ms,
        missed: 0,
        invocation: Some(invocation_of(&format!("{at_ms}"))),
    }
}

fn say(bench: &mut Bench, minutes: u64) -> Outcome {
    let tick = tick(bench, minutes);
    bench.run(Op::Tick(tick))
}

fn body(bench: &Bench, outcome: &Outcome) -> Message {
    let [Effected::Published { message: number, repeated: false, .. }] = effected(outcome) else {
        panic!("{outcome:?}")
    };
    message(&bench.records, &queue(), *number).unwrap().unwrap().body
}

fn queue() -> Place {
    Place::of_function(&function())
}

#[test]
fn a_tick_calls_its_function_with_an_event() {
    let mut bench = bench_with(definition());
    bench.now_ms = BEGIN_MS + MINUTE_MS + 7;
    let late = Tick { missed: 3, ..tick(&bench, 1) };
    let outcome = bench.run(Op::Tick(late));
    let message = body(&bench, &outcome);
    assert_eq!(
        (message.source.as_str(), message.id.as_str(), message.kind.as_str(), &message.data[..]),
        ("//shop/schedule/nightly", "nightly@1060000", "schedule", &b"data"[..])
    );
    let attributes = [
        ("missed", "3"),
        ("subject", "nightly"),
        ("time", "1970-01-01T00:17:40Z"),
        ("type", "dev.coracle.cron.tick"),
    ];
    assert!(message.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(attributes));
    assert_eq!(message.http, None, "it is no request");
    let schedule = found(&bench);
    let fired = Fired { at_ms: BEGIN_MS + MINUTE_MS, fired_ms: bench.now_ms };
    assert_eq!((schedule.fired, schedule.cursor_ms), (Some(fired), fired.at_ms));
    assert_eq!((schedule.ticks, schedule.missed, schedule.skipped), (1, 3, 0));
    let seen = bench.seen("1060000").unwrap();
    assert_eq!((seen.phase, seen.record.kind.as_str()), (Phase::Waiting, "schedule"));
    assert_eq!(seen.record.function, Some(Name::parse("f").unwrap()));
}

#[test]
fn a_tick_counts_once_and_never_out_of_order() {
    let mut bench = bench_with(definition());
    assert!(matches!(say(&mut bench, 2), Outcome::Performed(_)));
    bench.term += 1;
    for again in [2, 1, 0] {
        let tick = Tick { invocation: Some(invocation_of("other")), ..tick(&bench, again) };
        assert_eq!(bench.refused(Op::Tick(tick)), Reason::Late);
    }
    assert!(matches!(say(&mut bench, 3), Outcome::Performed(_)));
    assert_eq!(found(&bench).ticks, 2);
    assert_eq!(
        bench.refused(Op::Tick(Tick { schedule: place("other"), ..tick(&bench, 9) })),
        Reason::NoSchedule
    );
}

#[test]
fn a_cursor_that_a_wrong_clock_has_taken_years_ahead_comes_back_when_the_schedule_is_changed() {
    let years = 2 * 365 * 24 * 60;
    for (ahead, paused) in [(years, false), (years, true), (60, false), (60, true)] {
        let mut bench = bench_with(definition());
        say(&mut bench, ahead);
        let schedule = place("nightly");
        let from_ms = BEGIN_MS + 1;
        if paused {
            for paused in [true, false] {
                bench.run(Op::PauseSchedule { schedule: schedule.clone(), paused, from_ms });
            }
        } else {
            bench.run(put("nightly", definition(), from_ms));
        }
        let expected_ms = if ahead == years { from_ms } else { BEGIN_MS + ahead * MINUTE_MS };
        assert_eq!(found(&bench).cursor_ms, expected_ms, "{ahead} minutes, paused: {paused}");
    }
}

#[test]
fn by_hand_is_remembered_only_where_the_last_call_has_ended() {
    let mut bench = bench_with(definition());
    let by_hand = |name: &str| Op::Trigger { schedule: place("nightly"), invocation: invocation_of(name) };
    bench.run(by_hand("first"));
    assert_eq!(found(&bench).invocation, Some(invocation_of("first")));
    bench.run(by_hand("second"));
    assert_eq!(found(&bench).invocation, Some(invocation_of("first")), "it has not ended");
    bench.run(Op::Purge { queue: queue(), kept: Kept::Waiting, span: Span::ALL, steps: 9 });
    bench.run(by_hand("third"));
    assert_eq!(found(&bench).invocation, Some(invocation_of("third")));
}

#[test]
fn times_that_are_left_out_are_counted_and_over() {
    let mut bench = bench_with(definition());
    let skipped = Tick { missed: 5, invocation: None, ..tick(&bench, 5) };
    assert_eq!(bench.run(Op::Tick(skipped)), Outcome::Done);
    let schedule = found(&bench);
    assert_eq!((schedule.cursor_ms, schedule.missed, schedule.ticks), (BEGIN_MS + 5 * MINUTE_MS, 5, 0));
    assert_eq!((schedule.fired, schedule.invocation), (None, None));
}

#[test]
fn a_full_queue_does_not_lose_a_tick() {
    let mut bench = bench_with(definition());
    say(&mut bench, 1);
    let settings = Settings { messages_max: 1, ..Settings::DEFAULT };
    bench.run(Op::PutQueue { queue: queue(), settings, target: Some(Name::parse("f").unwrap()) });
    assert_eq!(reason(&say(&mut bench, 2)), Reason::QueueFullMessages);
    assert_eq!(found(&bench).cursor_ms, BEGIN_MS + MINUTE_MS);
    end_first(&mut bench);
    assert!(matches!(say(&mut bench, 2), Outcome::Performed(_)));
}

fn end_first(bench: &mut Bench) {
    let claimed = bench.claim_of(queue(), 1).remove(0);
    let ticket = super::queue_bench::ticket_of(queue(), &claimed);
    bench.run(Op::Settle { ticket, verdict: done(), report: None, answer: None });
}

#[test]
fn who_forbids_overlap_has_one_call_at_a_time() {
    let mut bench = bench_with(Definition { overlap: Overlap::Forbid, ..definition() });
    assert!(matches!(say(&mut bench, 1), Outcome::Performed(_)));
    assert_eq!(say(&mut bench, 2), Outcome::Done, "it waits");
    bench.claim_of(queue(), 1);
    assert_eq!(say(&mut bench, 3), Outcome::Done, "it runs");
    let schedule = found(&bench);
    assert_eq!((schedule.skipped, schedule.ticks), (2, 1));
    assert_eq!(schedule.cursor_ms, BEGIN_MS + 3 * MINUTE_MS, "these times are over");
    bench.run(Op::Cancel { invocation: schedule.invocation.unwrap() });
    assert!(matches!(say(&mut bench, 4), Outcome::Performed(_)));
    end_first(&mut bench);
    bench.run(Op::Trigger { schedule: place("nightly"), invocation: invocation_of("hand") });
    assert_eq!(say(&mut bench, 5), Outcome::Done, "what was called by hand is one of its calls");
}

#[test]
fn a_change_is_not_overtaken_by_what_was_reckoned_before() {
    let mut bench = bench_with(definition());
    let before = tick(&bench, 1);
    bench.run(put("nightly", Definition { data: text("new"), ..definition() }, BEGIN_MS + 9 * MINUTE_MS));
    assert_eq!(found(&bench).cursor_ms, BEGIN_MS, "its times are the same");
    assert_eq!(bench.refused(Op::Tick(before)), Reason::Mismatch);
    let outcome = say(&mut bench, 1);
    assert_eq!(body(&bench, &outcome).data, text("new"));
    let other = [
        Definition { cron: "0 * * * *".into(), ..definition() },
        Definition { zone: "UTC".into(), cron: "0 * * * *".into(), ..definition() },
    ];
    for (minutes, other) in [5, 6].into_iter().zip(other) {
        bench.run(put("nightly", other, BEGIN_MS + minutes * MINUTE_MS));
        assert_eq!(found(&bench).cursor_ms, BEGIN_MS + minutes * MINUTE_MS, "it has other times");
    }
    bench.run(put("nightly", definition(), BEGIN_MS));
    assert_eq!(found(&bench).cursor_ms, BEGIN_MS + 6 * MINUTE_MS, "never back");
    assert_eq!(found(&bench).ticks, 1, "it is the same one");
}

#[test]
fn the_time_of_a_pause_is_over() {
    let mut bench = bench_with(definition());
    let pause = |paused, minutes: u64| {
        let from_ms = BEGIN_MS + minutes * MINUTE_MS;
        Op::PauseSchedule { schedule: place("nightly"), paused, from_ms }
    };
    let before = tick(&bench, 1);
    bench.run(pause(true, 1));
    assert_eq!(bench.refused(Op::Tick(before)), Reason::Mismatch);
    let now = tick(&bench, 1);
    assert_eq!(bench.refused(Op::Tick(now)), Reason::Mismatch, "nothing fires");
    let outcome = bench.run(Op::Trigger { schedule: place("nightly"), invocation: invocation_of("hand") });
    assert_eq!(body(&bench, &outcome).id, format!("nightly+{}", invocation_of("hand")));
    bench.run(pause(true, 2));
    bench.run(pause(false, 5));
    assert_eq!(found(&bench).cursor_ms, BEGIN_MS + 5 * MINUTE_MS);
    bench.run(pause(false, 7));
    assert_eq!(found(&bench).cursor_ms, BEGIN_MS + 5 * MINUTE_MS, "it goes on already");
    assert_eq!(reason(&say(&mut bench, 5)), Reason::Late);
    assert!(matches!(say(&mut bench, 6), Outcome::Performed(_)));
}

#[test]
fn a_schedule_goes_and_what_it_called_stays() {
    let mut bench = bench_with(definition());
    let outcome = say(&mut bench, 1);
    bench.run(Op::DropSchedule { schedule: place("nightly") });
    assert_eq!(schedule(&bench.records, &place("nightly")).unwrap(), None);
    body(&bench, &outcome);
    for gone in [
        Op::DropSchedule { schedule: place("nightly") },
        Op::PauseSchedule { schedule: place("nightly"), paused: true, from_ms: 0 },
        Op::Trigger { schedule: place("nightly"), invocation: invocation_of("hand") },
    ] {
        assert_eq!(bench.refused(gone), Reason::NoSchedule);
    }
    // The same time of one that is made again is no other call.
    bench.run(put("nightly", definition(), BEGIN_MS));
    let again = Tick { invocation: Some(invocation_of("again")), ..tick(&bench, 1) };
    let outcome = bench.run(Op::Tick(again));
    assert!(matches!(effected(&outcome), [Effected::Published { repeated: true, .. }]), "{outcome:?}");
    assert_eq!(bench.seen("again"), None);
}

#[test]
fn a_group_has_a_bounded_number_of_schedules() {
    use crate::model::SCHEDULES_MAX;
    use crate::model::codec::Stored as _;
    use crate::model::record::Schedules;
    let mut bench = bench_with(definition());
    assert_eq!(schedules_count(&bench.records).unwrap(), 1);
    let full = Schedules { count: SCHEDULES_MAX };
    bench.set_record(keys::schedules(), full.encode());
    assert_eq!(bench.refused(put("other", definition(), 0)), Reason::SchedulesFull);
    assert_eq!(bench.run(put("nightly", definition(), 0)), Outcome::Done, "it is one of them");
    bench.run(Op::DropSchedule { schedule: place("nightly") });
    assert_eq!(bench.run(put("other", definition(), 0)), Outcome::Done);
}

#[test]
fn what_a_schedule_is_told_has_bounds() {
    let mut bench = Bench::new();
    for wrong in [
        Definition { cron: "*".repeat(257), ..definition() },
        Definition { zone: "z".repeat(257), ..definition() },
        Definition { data: vec![0; MESSAGE_BYTES_MAX + 1].into(), ..definition() },
    ] {
        assert_eq!(bench.refused(put("nightly", wrong, 0)), Reason::TooLarge);
    }
    assert_eq!(bench.refused(put(&"n".repeat(230), definition(), 0)), Reason::TooLarge);
    for function in ["a/b".to_owned(), "f".repeat(250)] {
        let wrong = Definition { function: Name::parse(&function).unwrap(), ..definition() };
        assert_eq!(bench.refused(put("nightly", wrong, 0)), Reason::Invalid);
    }
}

#[test]
fn schedules_are_listed_and_told_of() {
    let mut bench = Bench::new();
    let elsewhere = Place::parse("shops", "a").unwrap();
    for place in [place("b"), place("a"), elsewhere.clone()] {
        let definition = Box::new(definition());
        bench.run(Op::PutSchedule { schedule: place, definition, from_ms: 0 });
    }
    let names =
        |found: Vec<(Place, Schedule)>| found.iter().map(|(it, _)| it.to_string()).collect::<Vec<_>>();
    let of = |after: Option<&Name>| schedules(&bench.records, &place("a").namespace, after, 9).unwrap();
    assert_eq!(names(of(None)), ["shop/a", "shop/b"]);
    assert_eq!(names(of(Some(&Name::parse("a").unwrap()))), ["shop/b"]);
    let all = |after: Option<&Place>| all_schedules(&bench.records, after, PAGE_MAX).unwrap();
    assert_eq!(names(all(None)), ["shop/a", "shop/b", "shops/a"]);
    assert_eq!(names(all(Some(&place("b")))), ["shops/a"]);
    assert_eq!(names(all(Some(&elsewhere))), [""; 0]);
    assert_eq!(touched(&keys::schedule(&elsewhere)), Some(Touched::Schedule(elsewhere)));
    assert_eq!(touched(&keys::schedules()), None);
}
