//! Goal: each rule of a record once: it is made with what is accepted, follows its message, and is told of attempts
//! within bounds.

use super::bench::{Bench, effected, place, text};
use super::queue_bench::{
    NODE, done, function, invocation_of, published, put, report, retry, submit, ticket, ticket_of,
};
use super::record_bench::{TRACE, answered, publish, told};
use crate::model::codec::Stored as _;
use crate::model::{
    ANSWERS_BYTES_MAX, Answer, Cause, Claimed, Counts, Due, Effected, Fate, HttpHead, Name, OFFER_MS_MAX, Op,
    Phase, Place, Publish, RECORD_MS, REPORTS_MAX, Reason, Report, Settings, answer, counts, keys, message,
    queue,
};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
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
    bench.run(put(place.clone(), settings.clone()));
    bench.run(submit(published("b")));
    assert_eq!(queue(&bench.records, &place).unwrap().unwrap().settings, settings, "it was there");
    assert_eq!(bench.claim_of(place, 9).len(), 2);
    let wrong = Publish { id: "i\0".into(), ..published("c") };
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
    assert_eq!(bench.seen("second"), None);
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
    bench.settle_op(told(&claimed, retry(), Some(answered("again"))));
    let seen = bench.seen("a").unwrap();
    assert_eq!((seen.phase, seen.last_error.as_str(), seen.node), (Phase::Waiting, "again", None));
    assert_eq!(answer(&bench.records, invocation_of("a")).unwrap(), Some(answered("again")));
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
fn a_record_names_who_took_its_message_last() {
    let mut bench = bench();
    let to = |target: Option<&str>| {
        let target = target.map(|name| Name::parse(name).unwrap());
        Op::PutQueue { queue: place("q"), settings: Settings::DEFAULT, target }
    };
    bench.run(to(None));
    bench.publish(published("a"));
    assert_eq!(bench.seen("a").unwrap().record.function, None);
    bench.run(to(Some("g")));
    let claimed = bench.claim_one();
    bench.settle_op(told(&claimed, retry(), None));
    let named = |bench: &Bench| bench.seen("a").unwrap().record.function.unwrap().to_string();
    assert_eq!(named(&bench), "g");
    let claimed = bench.claim_one();
    bench.run(to(None));
    bench.settle_op(told(&claimed, done(), None));
    assert_eq!(named(&bench), "g");
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
fn an_answer_ends_its_attempt_however_large_it_is() {
    let long = |bytes| ("x".to_owned(), text(&"v".repeat(bytes)));
    let few = vec![long(1), long(2)];
    let answers = [
        (Answer { body: vec![0; 64 * 1024 + 1].into(), ..Answer::default() }, (0, 64 * 1024 + 1, 0)),
        (Answer { body: vec![0; 64 * 1024].into(), body_bytes: 7, ..Answer::default() }, (65_536, 65_536, 0)),
        (Answer { headers: vec![long(8 * 1024), long(1), long(2)], ..Answer::default() }, (0, 0, 2)),
        (Answer { headers: vec![few[0].clone(); 129], ..Answer::default() }, (0, 0, 128)),
        (Answer { headers: few.clone(), ..Answer::default() }, (0, 0, 2)),
    ];
    for (told_of, expected) in answers {
        let mut bench = bench();
        bench.publish(published("a"));
        let claimed = bench.claim_one();
        assert_eq!(bench.settle_op(told(&claimed, done(), Some(told_of))), Fate::Done);
        let kept = answer(&bench.records, invocation_of("a")).unwrap().unwrap();
        assert_eq!((kept.body.len(), kept.body_bytes, kept.headers.len()), expected);
        assert!(expected.2 != 2 || kept.headers == few, "those that fit: {:?}", kept.headers);
    }
}

#[test]
fn answers_of_a_queue_have_a_bound_together() {
    let mut bench = bench();
    let kept = |bench: &Bench, id| answer(&bench.records, invocation_of(id)).unwrap().unwrap();
    let settle = |bench: &mut Bench, id: &str, room: u64| {
        let full = Counts { answer_bytes: ANSWERS_BYTES_MAX - room, ..bench.counts() };
        bench.set_record(keys::counts(&place("q")), full.encode());
        bench.publish(published(id));
        let claimed = bench.claim_one();
        let headers = vec![("x".to_owned(), text("12"))];
        let answer = Answer { headers, ..answered("123456789") };
        assert_eq!(bench.settle_op(told(&claimed, done(), Some(answer))), Fate::Done);
        bench.counts().answer_bytes + room - ANSWERS_BYTES_MAX
    };
    for (id, room, body, headers) in [("a", 12, 9, 1), ("b", 11, 0, 1), ("c", 3, 0, 1), ("d", 2, 0, 0)] {
        let added = settle(&mut bench, id, room);
        let kept = kept(&bench, id);
        assert_eq!(
            (kept.body.len(), kept.headers.len(), kept.body_bytes, kept.status),
            (body, headers, 9, 200)
        );
        assert_eq!(added, kept.weight());
    }
    bench.pass(RECORD_MS);
    let counts = Counts { answer_bytes: 18, ..bench.counts() };
    bench.set_record(keys::counts(&place("q")), counts.encode());
    for id in ["e", "f"] {
        bench.publish(published(id));
        let claimed = bench.claim_one();
        bench.settle_op(told(&claimed, done(), None));
    }
    assert_eq!(bench.counts().answer_bytes, 0, "what is forgotten makes room");
}

#[test]
fn a_request_has_bounds() {
    let mut bench = bench();
    let long = |bytes| vec![("x".to_owned(), text(&"v".repeat(bytes)))];
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
