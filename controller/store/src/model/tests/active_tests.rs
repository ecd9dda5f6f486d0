//! Goal: who gives messages out finds the queues that have some, and who watches changed keys is told what they are about.

use std::collections::BTreeSet;

use super::bench::{Bench, place};
use super::queue_bench::{
    NODE, done, function, invocation_of, offer, published, put, settle, submit, ticket,
};
use super::record_bench::publish;
use crate::model::{Op, Place, Reason, Settings, Touched, active, touched};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
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
    assert_eq!(
        touched_by(&mut bench, publish(published("a"))),
        [Touched::Ready, record.clone(), Touched::Ready]
    );
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
