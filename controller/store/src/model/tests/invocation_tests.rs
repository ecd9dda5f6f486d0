//! Goal: each rule of invocations once: taken in with a record, told of attempts, ended, cancelled, revived, listed, forgotten.

use std::collections::BTreeSet;

use super::bench::{Bench, effected, perform, place, text};
use super::queue_bench::{
    NODE, dead, done, function, grouped, invocation_of, offer, published, put, report, retry, settle, submit,
    ticket, ticket_of,
};
use crate::model::codec::Stored as _;
use crate::model::{
    Answer, Cause, Claimed, Counts, Due, Effect, Effected, Fate, HttpHead, Kept, Listing, Mark, Name,
    OFFER_MS_MAX, Op, Outcome, PAGE_MAX, Phase, Place, Publish, RECORD_MS, RECORDS_MAX, REPORTS_MAX, Reason,
    Report, Settings, Span, Touched, Verdict, Wanted, active, answer, counts, invocations, keys, message,
    queue, queues, touched,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
}

fn publish(publish: Publish) -> Op {
    perform(vec![Effect::Publish(Box::new(publish))])
}

fn told(claimed: &Claimed, verdict: Verdict, answer: Option<Answer>) -> Op {
    Op::Settle { ticket: ticket(claimed), verdict, report: Some(report("200")), answer }
}

fn body(body: &str) -> Answer {
    Answer { status: 200, body: text(body), body_bytes: 9, ..Answer::default() }
}

fn phase(bench: &Bench, id: &str) -> Option<Phase> {
    bench.seen(id).map(|seen| seen.phase)
}

fn cancel(id: &str) -> Op {
    Op::Cancel { invocation: invocation_of(id) }
}

fn revive(id: &str) -> Op {
    Op::Revive { invocation: invocation_of(id) }
}

/// The first message of the queue becomes a dead letter.
fn bury(bench: &mut Bench) {
    let claimed = bench.claim_one();
    bench.settle_op(told(&claimed, dead(), Some(body("no"))));
}

fn names(listing: &Listing) -> Vec<u128> {
    listing.seen.iter().map(|seen| seen.invocation.get()).collect()
}

fn numbers(ids: &[&str]) -> Vec<u128> {
    ids.iter().map(|id| invocation_of(id).get()).collect()
}

#[test]
fn a_call_makes_its_functions_queue_once() {
    let mut bench = Bench::new();
    let place = Place::of_function(&function());
    assert_eq!(place.to_string(), "shop/function/f");
    let outcome = bench.run(submit(published("a")));
    let [Effected::Published { message: number, repeated: false, invocation }] = effected(&outcome) else {
        panic!("{outcome:?}")
    };
    assert_eq!(*invocation, invocation_of("a"));
    let made = queue(&bench.records, &place).unwrap().unwrap();
    assert_eq!((made.settings, made.target), (Settings::DEFAULT, Some(Name::parse("f").unwrap())));
    assert!(message(&bench.records, &place, *number).unwrap().is_some());
    let settings = Settings { attempts_max: 9, ..Settings::DEFAULT };
    bench.run(put(place.clone(), settings));
    bench.run(submit(published("b")));
    assert_eq!(queue(&bench.records, &place).unwrap().unwrap().settings, settings, "it was there");
    assert_eq!(bench.claim_of(place, 9).len(), 2);
    let wrong = Publish { id: String::new(), ..published("c") };
    assert_eq!(bench.refused(submit(wrong)), Reason::Invalid);
}

#[test]
fn an_id_belongs_to_one_request() {
    let mut bench = bench();
    let of = |fingerprint, id| Publish {
        fingerprint: text(fingerprint),
        invocation: invocation_of(id),
        ..published("a")
    };
    bench.publish(of("one", "first"));
    for same in ["one", ""] {
        let again = bench.run(publish(of(same, "second")));
        let [Effected::Published { repeated: true, invocation, .. }] = effected(&again) else {
            panic!("{again:?}")
        };
        assert_eq!(*invocation, invocation_of("first"));
    }
    assert_eq!(bench.refused(publish(of("two", "second"))), Reason::OtherRequest);
    assert_eq!(phase(&bench, "second"), None);
    let taken = Publish { invocation: invocation_of("first"), ..published("b") };
    assert_eq!(bench.refused(publish(taken)), Reason::Invalid, "one record is of one message");
    let unlike = Publish { fingerprint: text(""), ..published("c") };
    bench.publish(unlike.clone());
    let outcome = bench.run(publish(Publish { fingerprint: text("x"), ..unlike }));
    assert!(matches!(effected(&outcome), [Effected::Published { repeated: true, .. }]), "not compared");
}

#[test]
fn a_record_follows_its_message() {
    let mut bench = bench();
    let attributes = [("traceparent".to_owned(), format!("00-{TRACE}-00f067aa0ba902b7-01"))].into();
    let number = bench.publish(Publish { attributes, delay_ms: 5, ..published("a") });
    let seen = bench.seen("a").unwrap();
    let at_ms = bench.now_ms;
    assert_eq!((seen.phase, seen.next_ms, seen.attempts), (Phase::Waiting, at_ms + 5, 0));
    let record = &seen.record;
    assert_eq!((record.message, record.accepted_ms, record.kind.as_str()), (number, at_ms, "async"));
    assert_eq!((&record.queue, record.trace_id.as_str()), (&place("q"), TRACE));
    assert_eq!(record.function, Some(Name::parse("f").unwrap()));
    bench.now_ms += 5;
    bench.sweep(Due::Delays);
    assert_eq!(bench.seen("a").unwrap().next_ms, 0);
    let claimed = bench.claim_one();
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.node, seen.attempts), (Phase::Running, Some(NODE), 1));
    bench.settle_op(told(&claimed, retry(), Some(body("again"))));
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.last_error.as_str(), seen.node), (Phase::Waiting, "again", None));
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), Some(body("again")));
    let claimed = bench.claim_one();
    bench.settle_op(told(&claimed, done(), None));
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.attempts, seen.record.reports.len()), (Phase::Succeeded, 2, 2));
    let expected = [1, 2].map(|attempt| Report { attempt, ..report("200") });
    assert_eq!(seen.record.reports, expected);
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), None, "that was an earlier attempt's");
    assert!(!bench.records.contains_key(&keys::answer(invocation_of("a"))));
}

#[test]
fn what_is_no_trace_is_none() {
    let mut bench = bench();
    let upper = TRACE.to_uppercase();
    let zero = "0".repeat(32);
    for (number, wrong) in ["", "00", "00-12-34-01", &upper, &zero].iter().enumerate() {
        let attributes = [("traceparent".to_owned(), format!("00-{wrong}-00f067aa0ba902b7-01"))].into();
        let id = number.to_string();
        bench.publish(Publish { attributes, ..published(&id) });
        assert_eq!(bench.seen(&id).unwrap().record.trace_id, "", "{wrong}");
    }
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
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), Some(body("no")));
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
        bench.settle_op(told(&claimed, done(), Some(body("yes"))));
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
    assert_eq!(bench.refused(told(&claimed, done(), Some(body("late")))), Reason::Stale);
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
fn an_attempt_of_which_nobody_tells_is_reported() {
    let mut bench = bench();
    bench.publish(published("a"));
    let begun_ms = bench.now_ms;
    let claimed = bench.claim_one();
    bench.now_ms = claimed.until_ms;
    bench.sweep(Due::Claims);
    let seen = bench.seen("a").unwrap();
    let [report] = &seen.record.reports[..] else { panic!("{seen:?}") };
    assert_eq!((report.attempt, report.node, report.outcome.as_str()), (1, NODE, "claim-lost"));
    assert_eq!((report.started_ms, report.ended_ms), (begun_ms, claimed.until_ms));
    assert_eq!(report.error, "node 4 did not tell how its attempt ended");
    assert_eq!(seen.last_error, report.error);
}

#[test]
fn what_the_platform_gives_back_comes_again_later_and_counts_nothing() {
    let mut bench = bench();
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    let offer = |claimed: &Claimed, after_ms| Op::Offer {
        ticket: ticket(claimed),
        after_ms,
        error: "no replica".into(),
    };
    bench.run(offer(&claimed, 50));
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.attempts, seen.next_ms), (Phase::Waiting, 0, bench.now_ms + 50));
    assert_eq!((seen.last_error.as_str(), seen.record.reports.len()), ("no replica", 0));
    assert!(bench.claim(1).is_empty());
    bench.now_ms += 50;
    bench.sweep(Due::Delays);
    let claimed = bench.claim_one();
    assert_eq!(claimed.attempt, 1);
    bench.run(offer(&claimed, u64::MAX));
    assert_eq!(bench.seen("a").unwrap().next_ms, bench.now_ms + OFFER_MS_MAX);
}

#[test]
fn a_record_has_the_last_reports_and_texts_have_bounds() {
    let mut bench = Bench::with_queue(Settings { attempts_max: 99, ..Settings::DEFAULT });
    bench.publish(published("a"));
    let attempts = u32::try_from(REPORTS_MAX).unwrap() + 2;
    for _ in 0..attempts {
        let claimed = bench.claim_one();
        let report = Report { error: "\u{e9}".repeat(2000), ..report(&"o".repeat(300)) };
        let (ticket, verdict, answer) = (ticket(&claimed), retry(), None);
        bench.settle_op(Op::Settle { ticket, verdict, report: Some(report), answer });
    }
    let reports = bench.seen("a").unwrap().record.reports;
    let told: Vec<u32> = reports.iter().map(|report| report.attempt).collect();
    assert_eq!(told, (3..=attempts).collect::<Vec<_>>());
    assert!(reports.iter().all(|report| (report.outcome.len(), report.error.len()) == (256, 1024)));
}

#[test]
fn an_answer_and_a_request_have_bounds() {
    let mut bench = bench();
    bench.publish(published("a"));
    let claimed = bench.claim_one();
    let long = |bytes| vec![("x".to_owned(), text(&"v".repeat(bytes)))];
    let answers = [
        (Answer { body: vec![0; 64 * 1024 + 1].into(), ..Answer::default() }, Reason::TooLarge),
        (Answer { headers: long(8 * 1024), ..Answer::default() }, Reason::TooLarge),
        (Answer { headers: vec![(String::new(), text("")); 129], ..Answer::default() }, Reason::TooMany),
    ];
    for (wrong, reason) in answers {
        assert_eq!(bench.refused(told(&claimed, done(), Some(wrong))), reason);
    }
    let heads = [
        (HttpHead { headers: long(32 * 1024), ..HttpHead::default() }, Reason::TooLarge),
        (HttpHead { headers: vec![(String::new(), text("")); 129], ..HttpHead::default() }, Reason::TooMany),
        (HttpHead { uri: "u".repeat(8 * 1024 + 1), ..HttpHead::default() }, Reason::TooLarge),
        (HttpHead { method: "m".repeat(257), ..HttpHead::default() }, Reason::TooLarge),
    ];
    for (wrong, reason) in heads {
        assert_eq!(bench.refused(submit(Publish { http: Some(wrong), ..published("b") })), reason);
    }
    let wide = Publish { fingerprint: vec![0; 33].into(), ..published("b") };
    assert_eq!(bench.refused(submit(wide)), Reason::TooLarge);
    let before = bench.counts().bytes;
    let head = HttpHead { method: "GET".into(), uri: "/u".into(), headers: long(9), route: "/".into() };
    bench.publish(Publish { http: Some(head.clone()), ..published("b") });
    assert_eq!(bench.counts().bytes - before, 11 + 3 + 2 + 10 + 1, "a head weighs too");
    let claimed = bench.claim_one();
    let peeked = message(&bench.records, &place("q"), claimed.message).unwrap().unwrap();
    assert_eq!(peeked.body.http, Some(head));
}

#[test]
fn queues_tell_whether_they_have_something() {
    let mut bench = bench();
    let found = |bench: &Bench| -> Vec<String> {
        let found = active(&bench.records, None, 9).unwrap();
        found.iter().map(|(place, _)| place.name.to_string()).collect()
    };
    assert_eq!(found(&bench), [""; 0]);
    bench.publish(published("a"));
    bench.run(submit(published("b")));
    assert_eq!(found(&bench), ["function/f", "q"]);
    let after = Place::of_function(&function());
    let rest = active(&bench.records, Some(&after), 9).unwrap();
    assert_eq!(rest.iter().map(|it| &it.0).collect::<Vec<_>>(), [&place("q")]);
    assert_eq!(active(&bench.records, None, 1).unwrap().len(), 1);
    bench.run(Op::PauseQueue { queue: after.clone(), paused: true });
    assert_eq!(found(&bench), ["q"]);
    bench.run(Op::PutQueue { queue: place("q"), settings: Settings::DEFAULT, target: None });
    assert_eq!(found(&bench), [""; 0]);
    let until_ms = bench.now_ms + 9;
    let claim = Op::Claim { queue: place("q"), node: NODE, most: 1, until_ms };
    assert_eq!(bench.refused(claim), Reason::Invalid, "nobody takes its messages");
    bench.run(Op::PauseQueue { queue: after.clone(), paused: false });
    bench.run(put(place("q"), Settings::DEFAULT));
    assert_eq!(found(&bench), ["function/f", "q"]);
    bench.claim_of(after, 1);
    let claimed = bench.claim_one();
    assert_eq!(found(&bench), [""; 0]);
    bench.run(offer(&claimed));
    assert_eq!(found(&bench), ["q"]);
}

#[test]
fn queues_of_a_namespace_are_listed_by_name() {
    let mut bench = bench();
    bench.run(submit(published("b")));
    for other in ["shop-2", "a"] {
        bench.run(put(Place::parse(other, "q").unwrap(), Settings::DEFAULT));
    }
    let namespace = place("q").namespace;
    let names = |after: Option<&Name>| -> Vec<String> {
        let found = queues(&bench.records, &namespace, after, 9).unwrap();
        found.iter().map(|(place, _)| place.to_string()).collect()
    };
    assert_eq!(names(None), ["shop/function/f", "shop/q"]);
    assert_eq!(names(Some(&Name::parse("function/f").unwrap())), ["shop/q"]);
    assert_eq!(queues(&bench.records, &namespace, None, 1).unwrap().len(), 1);
}

/// What somebody is told who watches the keys that an operation changes.
fn touched_by(bench: &mut Bench, op: Op) -> Vec<Touched> {
    let before = bench.records.clone();
    bench.run(op);
    let changed = |(one, other): (&_, &_)| one != other;
    let keys: BTreeSet<_> = before.keys().chain(bench.records.keys()).cloned().collect();
    let keys = keys.iter().filter(|key| changed((&before.get(*key), &bench.records.get(*key))));
    let mut told: Vec<Touched> = keys.filter_map(|key| touched(key)).collect();
    told.dedup();
    told
}

#[test]
fn changed_keys_tell_what_they_are_about() {
    let mut bench = bench();
    let record = Touched::Invocation(invocation_of("a"));
    assert_eq!(touched_by(&mut bench, publish(published("a"))), [Touched::Ready, record, Touched::Ready]);
    let paused = |paused| Op::PauseQueue { queue: place("q"), paused };
    assert_eq!(touched_by(&mut bench, paused(true)), [Touched::Ready]);
    assert_eq!(touched_by(&mut bench, paused(false)), [Touched::Ready]);
    let claimed = bench.claim_one();
    let until_ms = bench.now_ms + 5000;
    assert_eq!(touched_by(&mut bench, Op::Extend { ticket: ticket(&claimed), until_ms }), []);
    assert_eq!(touched_by(&mut bench, settle(&claimed, done())), [record]);
    assert_eq!(touched(b"e123"), None);
    assert_eq!(touched(b""), None);
}

#[test]
fn a_list_has_the_newest_first_and_what_is_wanted() {
    let mut bench = bench();
    let begin_ms = bench.now_ms;
    for id in ["a", "b", "c"] {
        bench.now_ms += 10;
        bench.publish(published(id));
    }
    bench.now_ms += 10;
    let attributes = [("traceparent".to_owned(), format!("00-{TRACE}-00f067aa0ba902b7-01"))].into();
    bench.run(submit(Publish { attributes, ..published("d") }));
    bench.run(put(Place::parse("other", "q").unwrap(), Settings::DEFAULT));
    bench.publish(Publish { queue: Place::parse("other", "q").unwrap(), ..published("e") });
    bury(&mut bench);
    bench.claim_one();
    let list = |wanted: &Wanted| -> Vec<u128> {
        let listing = invocations(&bench.records, &place("q").namespace, wanted, None, 9).unwrap();
        assert_eq!(listing.after, None);
        names(&listing)
    };
    assert_eq!(list(&Wanted::ALL), numbers(&["d", "c", "b", "a"]));
    let phases = |phases: &[Phase]| Wanted { phases: phases.to_vec(), ..Wanted::ALL };
    assert_eq!(list(&phases(&[Phase::Dead])), numbers(&["a"]));
    assert_eq!(list(&phases(&[Phase::Running, Phase::Waiting])), numbers(&["d", "c", "b"]));
    let between = Wanted { since_ms: begin_ms + 20, until_ms: begin_ms + 40, ..Wanted::ALL };
    assert_eq!(list(&between), numbers(&["c", "b"]));
    assert_eq!(list(&Wanted { trace_id: TRACE.into(), ..Wanted::ALL }), numbers(&["d"]));
    let of = |name| Wanted { function: Some(Name::parse(name).unwrap()), ..Wanted::ALL };
    assert_eq!((list(&of("f")).len(), list(&of("g")).len()), (4, 0));
}

#[test]
fn a_list_comes_in_pages_that_look_at_so_many() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let many = PAGE_MAX + 5;
    for number in 0..many {
        bench.now_ms += u64::from(number % 2 == 0);
        bench.publish(published(&number.to_string()));
    }
    let namespace = place("q").namespace;
    let page = |wanted: &Wanted, after| invocations(&bench.records, &namespace, wanted, after, 400).unwrap();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let listing = page(&Wanted::ALL, after);
        found.extend(names(&listing));
        after = listing.after.map(|mark| Mark::from_wire(&mark.to_wire()).unwrap());
        pages += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, found.len(), found.iter().collect::<BTreeSet<_>>().len()), (3, many, many));
    let none = Wanted { phases: vec![Phase::Dead], ..Wanted::ALL };
    let first = page(&none, None);
    assert!(first.seen.is_empty() && first.after.is_some(), "it stops, and says where to go on");
    assert_eq!(page(&none, first.after), Listing { seen: Vec::new(), after: None });
    assert_eq!(Mark::from_wire(b"123"), None);
}

#[test]
fn a_function_that_is_called_so_runs_until_it_is_done() {
    let mut bench = Bench::new();
    let place = Place::of_function(&function());
    bench.run(submit(published("a")));
    let attempts_max = Settings::DEFAULT.attempts_max;
    for attempt in 1..=attempts_max {
        let claimed = bench.claim_of(place.clone(), 1).pop().unwrap();
        assert_eq!(claimed.attempt, attempt);
        let ticket = ticket_of(place.clone(), &claimed);
        let report = Some(report("500"));
        let fate = bench.settle_op(Op::Settle { ticket, verdict: retry(), report, answer: None });
        assert_eq!(fate == Fate::Dead(Cause::Attempts), attempt == attempts_max, "{fate:?}");
    }
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.attempts, seen.cause), (Phase::Dead, attempts_max, Some(Cause::Attempts)));
    assert_eq!(counts(&bench.records, &place).unwrap().dead_attempts, 1);
}
