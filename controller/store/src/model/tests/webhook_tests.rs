//! Goal: each rule of secrets and webhooks once: both values for a time, who uses what, queues that go, names, bounds.

use super::bench::{Bench, effected, perform, place, reason, text};
use super::queue_bench::{invocation_of, published};
use crate::model::codec::Stored;
use crate::model::record::Secrets;
use crate::model::{
    Deletion, Due, Effect, Effected, Form, KEEP_MS_MAX, Manner, Name, Op, Outcome, Place, Publish, Reason,
    SECRET_BYTES_MAX, SECRETS_MAX, Sealed, Settings, TOLERANCE_MS_MAX, TOLERANCE_MS_MIN, Terms, due, keys,
    named_count, queue, secret, secrets, users, view, webhook, webhooks,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn put_secret(value: &str, keep_ms: u64) -> Op {
    Op::PutSecret { secret: place("s"), value: Sealed::new(text(value)), keep_ms }
}

fn put_webhook(webhook: &str, secret: &str) -> Op {
    let terms =
        Terms { function: name("f"), form: Form::Github, secret: name(secret), tolerance_ms: 300_000 };
    Op::PutWebhook { webhook: place(webhook), terms, settings: Settings::DEFAULT }
}

fn drop_secret(force: bool) -> Op {
    Op::DropSecret { secret: place("s"), force }
}

fn own_queue() -> Place {
    Place::of_webhook(&place("w")).unwrap()
}

/// With secret `s`.
fn bench() -> Bench {
    let mut bench = Bench::new();
    assert_eq!(bench.run(put_secret("one", 0)), Outcome::Done);
    bench
}

fn good(bench: &Bench) -> Vec<String> {
    let secret = secret(&bench.records, &place("s")).unwrap().unwrap();
    secret.good(bench.now_ms).into_iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

fn sent(id: &str) -> Op {
    let publish = Publish { queue: own_queue(), kind: "webhook".into(), ..published(id) };
    perform(vec![Effect::Publish(Box::new(publish))])
}

#[test]
fn a_value_before_is_good_for_a_time_and_then_forgotten() {
    let mut bench = bench();
    assert_eq!(good(&bench), ["one"]);
    let version = |bench: &Bench| secret(&bench.records, &place("s")).unwrap().unwrap().version;
    let first = version(&bench);
    bench.run(put_secret("two", 1000));
    assert_eq!(good(&bench), ["two", "one"]);
    assert!(version(&bench) > first);
    let second = version(&bench);
    bench.run(put_secret("two", 2000));
    let seen = (good(&bench), version(&bench));
    assert_eq!(seen, (vec!["two".into(), "one".into()], second), "it is as it was");
    let until = |bench: &Bench| due(&bench.records, Due::Secrets, 0, u64::MAX).unwrap();
    assert_eq!(until(&bench), Some(bench.now_ms + 1000), "and for no longer");
    bench.run(put_secret("two", 500));
    assert_eq!((good(&bench).len(), until(&bench)), (2, Some(bench.now_ms + 500)));
    bench.run(put_secret("two", 0));
    assert_eq!(
        (good(&bench), until(&bench), version(&bench)),
        (vec!["two".into()], None, second),
        "it is revoked"
    );
    bench.run(put_secret("three", 5000));
    assert_eq!(good(&bench), ["three", "two"], "of two before only the last");
    let until_ms = bench.now_ms + 5000;
    assert_eq!(due(&bench.records, Due::Secrets, 0, u64::MAX).unwrap(), Some(until_ms));
    bench.now_ms = until_ms;
    assert_eq!(good(&bench), ["three"], "by the time alone");
    bench.run(Op::Sweep { due: Due::Secrets, steps: 9, from_ms: 0 });
    assert_eq!(secret(&bench.records, &place("s")).unwrap().unwrap().before, None);
    assert_eq!(due(&bench.records, Due::Secrets, 0, u64::MAX).unwrap(), None);
    bench.run(put_secret("four", 0));
    assert_eq!(good(&bench), ["four"], "it is not to be kept");
    bench.run(put_secret("five", 7));
    bench.run(drop_secret(false));
    assert_eq!(due(&bench.records, Due::Secrets, 0, u64::MAX).unwrap(), None);
    assert!(bench.records.values().all(|value| !value.windows(4).any(|it| it == b"five" || it == b"four")));
}

#[test]
fn nobody_is_shown_a_secret() {
    let shown = format!("{:?}", put_secret("hush", 0));
    assert!(!shown.contains("hush") && !shown.contains("104, 117") && shown.contains("4 bytes"), "{shown}");
    let mut bench = bench();
    bench.run(put_secret("hush", 9));
    bench.run(put_secret("hushed", 9));
    let kept = secret(&bench.records, &place("s")).unwrap();
    assert!(!format!("{kept:?}").contains("hush"));
}

#[test]
fn secrets_have_bounds_and_are_counted() {
    let mut bench = bench();
    let long = "x".repeat(SECRET_BYTES_MAX);
    for (wrong, why) in [
        (put_secret("", 0), Reason::Invalid),
        (put_secret(&format!("{long}x"), 0), Reason::TooLarge),
        (put_secret("x", KEEP_MS_MAX + 1), Reason::Invalid),
        (Op::DropSecret { secret: place("t"), force: true }, Reason::NoSecret),
    ] {
        assert_eq!(bench.refused(wrong), why);
    }
    assert_eq!(bench.run(put_secret(&long, KEEP_MS_MAX)), Outcome::Done);
    let count = |bench: &Bench| view::get::<Secrets>(&bench.records, &keys::secrets()).unwrap();
    assert_eq!(count(&bench), Some(Secrets { count: 1 }));
    bench.set_record(keys::secrets(), Stored::encode(&Secrets { count: SECRETS_MAX }));
    let another = Op::PutSecret { secret: place("t"), value: Sealed::new(text("v")), keep_ms: 0 };
    assert_eq!(bench.refused(another), Reason::SecretsFull);
    assert_eq!(bench.run(put_secret("anew", 0)), Outcome::Done, "it is there");
}

#[test]
fn who_uses_a_secret_keeps_it() {
    let mut bench = bench();
    assert_eq!(bench.refused(put_webhook("w", "t")), Reason::NoSecret);
    for webhook in ["w", "v"] {
        assert_eq!(bench.run(put_webhook(webhook, "s")), Outcome::Done);
    }
    assert_eq!(users(&bench.records, &place("s")).unwrap(), [name("v"), name("w")]);
    let Outcome::Refused(refusal) = bench.run(drop_secret(false)) else { panic!() };
    assert_eq!(
        refusal.to_string(),
        "secret 'shop/s' is used by webhooks: v, w; --force deletes it all the same"
    );
    bench.run(Op::PutSecret { secret: place("t"), value: Sealed::new(text("v")), keep_ms: 0 });
    bench.run(put_webhook("v", "t"));
    assert_eq!(users(&bench.records, &place("s")).unwrap(), [name("w")], "the other one has changed over");
    assert_eq!(users(&bench.records, &place("t")).unwrap(), [name("v")]);
    bench.run(Op::DropWebhook { webhook: place("w") });
    assert_eq!(bench.run(drop_secret(false)), Outcome::Done);
    assert_eq!(
        bench.run(Op::DropSecret { secret: place("t"), force: true }),
        Outcome::Done,
        "by force it goes"
    );
    assert_eq!(secrets(&bench.records, &place("s").namespace, None, 9).unwrap(), []);
    for index in 0..12 {
        bench.run(put_secret("x", 0));
        bench.run(put_webhook(&format!("many-{index:02}"), "s"));
    }
    let Outcome::Refused(refusal) = bench.run(drop_secret(false)) else { panic!() };
    assert!(refusal.subject.ends_with("many-08, many-09, others"), "{refusal}");
}

#[test]
fn a_webhook_has_a_queue_that_goes_with_its_last_message() {
    let mut bench = bench();
    bench.run(put_webhook("w", "s"));
    let told = queue(&bench.records, &own_queue()).unwrap().unwrap();
    assert_eq!((told.target, named_count(&bench.records).unwrap()), (Some(name("f")), 1));
    let outcome = bench.run(sent("a"));
    assert!(matches!(effected(&outcome), [Effected::Published { repeated: false, .. }]));
    let again = bench.run(sent("a"));
    let [Effected::Published { repeated: true, invocation, .. }] = effected(&again) else {
        panic!("{again:?}")
    };
    assert_eq!(*invocation, invocation_of("a"), "its sender's id is taken once");
    bench.run(Op::DropWebhook { webhook: place("w") });
    assert_eq!(webhook(&bench.records, &place("w")).unwrap(), None);
    assert!(queue(&bench.records, &own_queue()).unwrap().unwrap().ends_when_empty);
    bench.run(put_webhook("w", "s"));
    assert!(!queue(&bench.records, &own_queue()).unwrap().unwrap().ends_when_empty, "it is filled again");
    let force = Op::DropQueue { queue: own_queue(), deletion: Deletion::Forced, steps: 99 };
    assert!(matches!(bench.run(force), Outcome::Moved { more: false, .. }));
    assert_eq!(webhook(&bench.records, &place("w")).unwrap(), None, "without its queue it is none");
    assert_eq!(users(&bench.records, &place("s")).unwrap(), []);
    assert_eq!(named_count(&bench.records).unwrap(), 0);
    assert_eq!(bench.refused(Op::DropWebhook { webhook: place("w") }), Reason::NoWebhook);
}

#[test]
fn webhooks_are_told_within_bounds_and_listed() {
    let mut bench = bench();
    let with = |change: &dyn Fn(&mut Terms, &mut Settings)| {
        let Op::PutWebhook { webhook, mut terms, mut settings } = put_webhook("w", "s") else { panic!() };
        change(&mut terms, &mut settings);
        Op::PutWebhook { webhook, terms, settings }
    };
    for wrong in [
        with(&|terms, _| terms.form = Form::Standard),
        with(&|terms, _| terms.tolerance_ms = TOLERANCE_MS_MIN - 1),
        with(&|terms, _| terms.tolerance_ms = TOLERANCE_MS_MAX + 1),
        with(&|_, settings| settings.attempts_max = 0),
        with(&|_, settings| settings.manner = Manner { batch_max: 1, ..Manner::USUAL }),
    ] {
        assert_eq!(bench.refused(wrong), Reason::Invalid);
    }
    let long = put_webhook(&"w".repeat(250), "s");
    assert!(matches!(reason(&bench.run(long)), Reason::Invalid | Reason::TooLarge));
    for webhook in ["b", "a", "c"] {
        bench.run(put_webhook(webhook, "s"));
    }
    let listed = |after: Option<&Name>, most| {
        let found = webhooks(&bench.records, &place("w").namespace, after, most).unwrap();
        found.into_iter().map(|(place, _)| place.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 2), ["a", "b"]);
    assert_eq!(listed(Some(&name("b")), 2), ["c"]);
}

#[test]
fn a_secret_stays_a_key_of_the_form_of_who_uses_it() {
    const KEY: &str = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0";
    let mut bench = bench();
    bench.run(put_secret(KEY, 0));
    let Op::PutWebhook { webhook, terms, settings } = put_webhook("w", "s") else { panic!() };
    let terms = Terms { form: Form::Standard, ..terms };
    assert_eq!(bench.run(Op::PutWebhook { webhook, terms, settings }), Outcome::Done);
    let Outcome::Refused(refusal) = bench.run(put_secret("whsec_", 0)) else { panic!() };
    assert!(refusal.to_string().contains("secret 'shop/s' is no key of the form 'standard'"), "{refusal}");
    assert_eq!(good(&bench), [KEY]);
}

#[test]
fn what_is_told_by_more_than_its_id_is_taken_once_by_each_of_both() {
    let mut bench = bench();
    bench.run(put_webhook("w", "s"));
    let mut put = |id: &str, also: &str, number: &str| {
        let publish = Publish {
            queue: own_queue(),
            also: also.into(),
            invocation: invocation_of(number),
            ..published(id)
        };
        let outcome = bench.run(perform(vec![Effect::Publish(Box::new(publish))]));
        let [Effected::Published { repeated, invocation, .. }] = effected(&outcome) else {
            panic!("{outcome:?}")
        };
        (*repeated, *invocation)
    };
    let (one, four) = ((true, invocation_of("1")), (true, invocation_of("4")));
    assert_eq!(put("a", "x", "1"), (false, one.1));
    assert_eq!((put("a", "y", "2"), put("b", "x", "3")), (one, one));
    assert_eq!(put("b", "y", "4"), (false, four.1), "what was refused is not remembered");
    assert_eq!((put("x", "", "5").0, put("", "y", "6")), (false, four), "an id is no other's");
}
