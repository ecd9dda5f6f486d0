//! Goal: each rule of topics once: all subscribers or none, a record for each copy, once for each id, names, bounds.

use std::collections::BTreeSet;

use coracle_proto::id::RequestId;

use super::bench::{Bench, effected, perform, place, reason, text};
use super::queue_bench::{done, published, put, submit, ticket_of};
use crate::model::{
    Asked, COPIES_MAX, Due, Effect, Effected, HEARERS_MAX, HOPS_MAX, Name, Op, Outcome, Phase, Place,
    Publish, Queue, Reason, Reply, Request, Settings, Span, Topic, Verdict, counts, invocation, named_count,
    queue, rehearse, topic, topics, waiting,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn queue_of(function: &str) -> Place {
    Place::of_subscriber(&place("t"), &name(function)).unwrap()
}

fn subscribe(function: &str, settings: Settings) -> Op {
    Op::Subscribe { topic: place("t"), function: name(function), settings }
}

fn unsubscribe(function: &str) -> Op {
    Op::Unsubscribe { topic: place("t"), function: name(function) }
}

/// A topic with these subscribers.
fn bench(functions: &[&str]) -> Bench {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    assert_eq!(bench.run(Op::PutTopic { topic: place("t") }), Outcome::Done);
    for function in functions {
        assert_eq!(bench.run(subscribe(function, Settings::DEFAULT)), Outcome::Done);
    }
    bench
}

fn to_topic(id: &str) -> Publish {
    Publish { queue: place("t"), kind: String::new(), ..published(id) }
}

fn publish(publish: Publish) -> Op {
    perform(vec![Effect::Publish(Box::new(publish))])
}

fn spread(outcome: &Outcome) -> (u32, bool) {
    let [Effected::Spread { copies, repeated }] = effected(outcome) else { panic!("{outcome:?}") };
    (*copies, *repeated)
}

fn found(bench: &Bench) -> Topic {
    topic(&bench.records, &place("t")).unwrap().unwrap()
}

#[test]
fn each_subscriber_gets_a_copy_with_a_record_of_its_own() {
    let mut bench = bench(&["g", "f"]);
    assert_eq!(found(&bench).subscribers, [name("f"), name("g")]);
    assert_eq!(spread(&bench.run(publish(to_topic("a")))), (2, false));
    let mut ids = BTreeSet::new();
    for function in ["f", "g"] {
        let page = waiting(&bench.records, &queue_of(function), 0, 9).unwrap();
        let [peeked] = &page.messages[..] else { panic!("{page:?}") };
        assert_eq!((&peeked.body.id[..], &peeked.body.kind[..]), ("a", "topic"));
        let seen = invocation(&bench.records, peeked.delivery.invocation).unwrap().unwrap();
        assert_eq!((seen.record.queue, seen.record.function), (queue_of(function), Some(name(function))));
        ids.insert(peeked.delivery.invocation);
    }
    assert_eq!(ids.len(), 2);
    let [claimed] = bench.claim_of(queue_of("f"), 9)[..] else { panic!() };
    let ticket = ticket_of(queue_of("f"), &claimed);
    bench.settle_op(Op::Settle { ticket, verdict: done(), report: None, answer: None });
    let still = waiting(&bench.records, &queue_of("g"), 0, 9).unwrap();
    assert_eq!(still.messages.len(), 1, "what one does with its copy is its own");
    assert_eq!(found(&bench).published, 1);
}

#[test]
fn all_subscribers_take_it_or_none_does() {
    let mut bench = bench(&["f"]);
    bench.run(subscribe("g", Settings { messages_max: 1, ..Settings::DEFAULT }));
    assert_eq!(spread(&bench.run(publish(to_topic("a")))), (2, false));
    let outcome = bench.run(publish(to_topic("b")));
    let Outcome::Refused(refusal) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.reason, Reason::QueueFullMessages);
    assert!(refusal.to_string().contains("'shop/topic/t/g'"), "{refusal}");
    let [f, g] = ["f", "g"].map(|function| counts(&bench.records, &queue_of(function)).unwrap());
    assert_eq!((f.published, f.ready, g.published, g.refused), (1, 1, 1, 1));
    assert_eq!(found(&bench).published, 1);
}

#[test]
fn an_id_is_taken_once_by_each_subscriber() {
    let mut bench = bench(&["f"]);
    assert_eq!(spread(&bench.run(publish(to_topic("a")))), (1, false));
    assert_eq!(spread(&bench.run(publish(to_topic("a")))), (1, true));
    bench.run(subscribe("g", Settings::DEFAULT));
    assert_eq!(spread(&bench.run(publish(to_topic("a")))), (2, false), "it is new to one of them");
    let [f, g] = ["f", "g"].map(|function| counts(&bench.records, &queue_of(function)).unwrap());
    assert_eq!((f.published, f.repeated, g.published), (1, 2, 1));
    assert_eq!(found(&bench).published, 2);
}

#[test]
fn what_nobody_hears_is_told_so() {
    let mut bench = bench(&["f"]);
    bench.run(publish(to_topic("a")));
    assert_eq!(bench.run(unsubscribe("f")), Outcome::Done);
    assert_eq!(bench.run(unsubscribe("f")), Outcome::Done, "again is as once");
    assert_eq!(spread(&bench.run(publish(to_topic("b")))), (0, false));
    assert_eq!(bench.claim_of(queue_of("f"), 9).len(), 1, "what waits is still delivered");
    let nowhere = Publish { queue: place("z"), ..published("c") };
    let Outcome::Refused(refusal) = bench.run(publish(nowhere)) else { panic!() };
    assert_eq!(refusal.to_string(), "there is neither a queue nor a topic 'shop/z'");
}

#[test]
fn a_name_is_of_a_queue_or_of_a_topic() {
    let mut bench = bench(&[]);
    assert_eq!(bench.refused(put(place("t"), Settings::DEFAULT)), Reason::NameTaken);
    assert_eq!(bench.refused(Op::PutTopic { topic: place("q") }), Reason::NameTaken);
    assert_eq!(bench.run(Op::PutTopic { topic: place("t") }), Outcome::Done, "it is there");
    for op in [
        Op::Subscribe { topic: place("q"), function: name("f"), settings: Settings::DEFAULT },
        Op::Unsubscribe { topic: place("q"), function: name("f") },
        Op::DropTopic { topic: place("q"), force: true },
    ] {
        assert_eq!(bench.refused(op), Reason::NoTopic);
    }
}

#[test]
fn a_topic_that_is_heard_goes_where_it_is_forced() {
    let mut bench = bench(&["f", "g"]);
    let drop = |force| Op::DropTopic { topic: place("t"), force };
    let Outcome::Refused(refusal) = bench.run(drop(false)) else { panic!() };
    assert_eq!(
        (refusal.reason, &refusal.to_string()[..]),
        (Reason::InUse, "topic 'shop/t' has subscribers: f, g; --force deletes it all the same")
    );
    assert_eq!(named_count(&bench.records).unwrap(), 4);
    assert_eq!(bench.run(drop(true)), Outcome::Done);
    assert_eq!(topic(&bench.records, &place("t")).unwrap(), None);
    assert!(queue(&bench.records, &queue_of("f")).unwrap().is_none(), "its queue is empty and goes with it");
    assert_eq!(named_count(&bench.records).unwrap(), 1);
}

#[test]
fn the_queue_of_who_heard_goes_with_its_last_message() {
    let mut bench = bench(&["f", "g"]);
    bench.run(publish(to_topic("a")));
    let settle = |bench: &mut Bench, function: &str| {
        let [claimed] = bench.claim_of(queue_of(function), 9)[..] else { panic!("it has one") };
        let ticket = ticket_of(queue_of(function), &claimed);
        bench.settle_op(Op::Settle { ticket, verdict: done(), report: None, answer: None });
    };
    settle(&mut bench, "g");
    bench.run(unsubscribe("g"));
    assert_eq!(queue(&bench.records, &queue_of("g")).unwrap(), None, "it is empty");
    bench.run(unsubscribe("f"));
    let kept = |bench: &Bench| queue(&bench.records, &queue_of("f")).unwrap();
    assert!(kept(&bench).is_some_and(|queue| queue.ends_when_empty && queue.dropping_ms.is_none()));
    bench.run(subscribe("f", Settings::DEFAULT));
    assert!(kept(&bench).is_some_and(|queue| !queue.ends_when_empty), "it hears it again");
    bench.run(unsubscribe("f"));
    settle(&mut bench, "f");
    assert!(kept(&bench).is_some_and(|queue| queue.dropping_ms.is_some()));
    assert_eq!(bench.run(subscribe("f", Settings::DEFAULT)), Outcome::Done, "it comes back in time");
    assert_eq!(kept(&bench), Some(Queue::told(Settings::DEFAULT, Some(name("f")))));
    assert_eq!(spread(&bench.run(publish(to_topic("b")))), (1, false));
    settle(&mut bench, "f");
    bench.run(publish(to_topic("c")));
    bench.run(unsubscribe("f"));
    settle(&mut bench, "f");
    bench.pass(10_000);
    assert_eq!(bench.sweep(Due::Drops), 1);
    assert_eq!((kept(&bench), named_count(&bench.records).unwrap()), (None, 2));
}

#[test]
fn a_subscriber_is_told_anew_and_keeps_what_it_has() {
    let mut bench = bench(&["f"]);
    bench.run(publish(to_topic("a")));
    let other = Settings { attempts_max: 9, ..Settings::DEFAULT };
    assert_eq!(bench.run(subscribe("f", other.clone())), Outcome::Done);
    assert_eq!(queue(&bench.records, &queue_of("f")).unwrap().unwrap().settings, other);
    assert_eq!((found(&bench).subscribers.len(), bench.claim_of(queue_of("f"), 9).len()), (1, 1));
    let wrong = subscribe("f", Settings { attempts_max: 0, ..other });
    assert_eq!(bench.refused(wrong), Reason::Invalid);
}

#[test]
fn subscribers_and_copies_have_bounds() {
    let mut bench = bench(&[]);
    for number in 0..HEARERS_MAX {
        assert_eq!(bench.run(subscribe(&format!("f{number}"), Settings::DEFAULT)), Outcome::Done);
    }
    assert_eq!(bench.refused(subscribe("g", Settings::DEFAULT)), Reason::ListFull);
    let effects = |count: usize| {
        let one = |number: usize| Effect::Publish(Box::new(to_topic(&format!("m{number}"))));
        perform((0..count).map(one).collect())
    };
    let fits = COPIES_MAX / HEARERS_MAX;
    let Outcome::Refused(refusal) = bench.run(effects(fits + 1)) else { panic!("they do not fit") };
    assert_eq!(
        (refusal.reason, &refusal.to_string()[..]),
        (
            Reason::NeverFits,
            "the subscribers of topic 'shop/t' are 100, and so at most 20 messages for them fit at once"
        )
    );
    assert!(matches!(bench.run(effects(fits)), Outcome::Performed(_)));
    assert_eq!(counts(&bench.records, &queue_of("f0")).unwrap().published, fits as u64);
}

#[test]
fn an_entry_makes_so_many_copies_and_no_more() {
    let functions: Vec<_> = (0..HEARERS_MAX).map(|number| format!("f{number}")).collect();
    let mut bench = bench(&functions.iter().map(String::as_str).collect::<Vec<_>>());
    let fits = COPIES_MAX / HEARERS_MAX;
    let one = |number: usize| {
        let request = Some(Request { id: RequestId::new(number as u128), since: 0 });
        Asked { request, op: publish(to_topic(&format!("m{number}"))) }
    };
    let batch = bench.batch((0..=fits).map(one).collect());
    let Reply::Outcomes(outcomes) = bench.ask(&batch) else { panic!("it is an entry") };
    let (last, first) = outcomes.split_last().unwrap();
    assert!(first.iter().all(|outcome| matches!(outcome, Outcome::Performed(_))));
    assert_eq!(reason(last), Reason::Busy);
    let batch = bench.batch(vec![one(fits)]);
    let Reply::Outcomes(outcomes) = bench.ask(&batch) else { panic!("it is an entry") };
    assert_eq!(spread(&outcomes[0]), (100, false), "the same request has room in the next entry");
}

#[test]
fn what_no_queue_could_hold_is_not_said_to_be_full() {
    let mut bench = bench(&[]);
    let small = Settings { messages_max: 2, ..Settings::DEFAULT };
    bench.run(put(place("q"), small.clone()));
    bench.run(subscribe("f", small));
    let all = |to: fn(&str) -> Publish, ids: &[&str]| {
        perform(ids.iter().map(|id| Effect::Publish(Box::new(to(id)))).collect())
    };
    for to in [published as fn(&str) -> Publish, to_topic] {
        assert_eq!(bench.refused(all(to, &["a", "b", "c"])), Reason::NeverFits);
        assert!(matches!(bench.run(all(to, &["a", "b", "a"])), Outcome::Performed(_)), "one comes twice");
        assert_eq!(reason(&bench.run(all(to, &["c"]))), Reason::QueueFullMessages);
    }
    bench.run(put(place("r"), Settings { bytes_max: 9, ..Settings::DEFAULT }));
    let large = Publish { queue: place("r"), data: text("0123456789"), ..published("a") };
    assert_eq!(bench.refused(publish(large)), Reason::NeverFits);
}

#[test]
fn what_is_told_of_a_chain_makes_it_no_shorter() {
    let mut bench = bench(&["f"]);
    let told = |hops: &str, id: &str| Publish {
        attributes: [("hops".to_owned(), hops.to_owned())].into(),
        ..to_topic(id)
    };
    bench.run(publish(told("5", "a")));
    let [claimed] = bench.claim_of(queue_of("f"), 1)[..] else { panic!() };
    let effects = vec![Effect::Publish(Box::new(told("0", "b")))];
    let (verdict, ticket) =
        (Verdict::Done { effects, others: Vec::new() }, ticket_of(queue_of("f"), &claimed));
    bench.settle_op(Op::Settle { ticket, verdict, report: None, answer: None });
    let page = waiting(&bench.records, &queue_of("f"), 0, 9).unwrap();
    assert_eq!(page.messages[0].body.attributes["hops"], "6");
    let call = Publish { attributes: told("17", "c").attributes, ..published("c") };
    assert_eq!(bench.refused(submit(call)), Reason::Loop, "calls too");
}

#[test]
fn what_goes_in_a_circle_ends() {
    let mut bench = bench(&["f"]);
    let hops = |hops: u64, id| Publish {
        attributes: [("hops".to_owned(), hops.to_string())].into(),
        ..to_topic(id)
    };
    assert_eq!(bench.refused(publish(hops(HOPS_MAX + 1, "a"))), Reason::Loop);
    assert_eq!(spread(&bench.run(publish(hops(HOPS_MAX, "a")))), (1, false));
    let [claimed] = bench.claim_of(queue_of("f"), 9)[..] else { panic!() };
    let again = |effects| Op::Settle {
        ticket: ticket_of(queue_of("f"), &claimed),
        verdict: Verdict::Done { effects, others: Vec::new() },
        report: None,
        answer: None,
    };
    let more = vec![Effect::Publish(Box::new(to_topic("b")))];
    assert_eq!(bench.refused(again(more)), Reason::Loop, "one more than the message that caused it");
    bench.settle_op(again(Vec::new()));
    bench.run(publish(hops(3, "c")));
    let [claimed] = bench.claim_of(queue_of("f"), 9)[..] else { panic!() };
    let effects = vec![Effect::Publish(Box::new(to_topic("d")))];
    let (verdict, ticket) =
        (Verdict::Done { effects, others: Vec::new() }, ticket_of(queue_of("f"), &claimed));
    bench.settle_op(Op::Settle { ticket, verdict, report: None, answer: None });
    let page = waiting(&bench.records, &queue_of("f"), 0, 9).unwrap();
    assert_eq!(page.messages[0].body.attributes["hops"], "4");
}

#[test]
fn topics_are_listed_by_name() {
    let mut bench = bench(&[]);
    for name in ["a", "z"] {
        bench.run(Op::PutTopic { topic: place(name) });
    }
    let namespace = place("t").namespace;
    let names = |after: Option<&str>, most| {
        let after = after.map(name);
        let found = topics(&bench.records, &namespace, after.as_ref(), most).unwrap();
        found.into_iter().map(|(place, _)| place.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((names(None, 2), names(Some("t"), 9)), (vec!["a".into(), "t".into()], vec!["z".into()]));
}

#[test]
fn what_is_only_asked_changes_nothing() {
    let mut bench = bench(&["f"]);
    let before = bench.records.clone();
    let asked = |op| rehearse(&bench.records, bench.now_ms, op).unwrap();
    assert_eq!(asked(put(place("new"), Settings::DEFAULT)), Outcome::Done);
    assert_eq!(reason(&asked(put(place("t"), Settings::DEFAULT))), Reason::NameTaken);
    assert_eq!(asked(subscribe("g", Settings::DEFAULT)), Outcome::Done);
    assert_eq!(bench.records, before);
    bench.run(publish(to_topic("a")));
    let cancelled = waiting(&bench.records, &queue_of("f"), 0, 9).unwrap().messages[0].delivery.invocation;
    bench.run(Op::Cancel { invocation: cancelled });
    assert_eq!(invocation(&bench.records, cancelled).unwrap().unwrap().phase, Phase::Cancelled);
    let purge = Op::Redrive { queue: queue_of("f"), span: Span::ALL, steps: 1 };
    assert!(matches!(bench.run(purge), Outcome::Moved { moved: 0, .. }));
}
