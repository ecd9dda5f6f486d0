//! Goal: a schedule's tick is published once, whoever says it and how often, and is not lost to a full queue.

use super::bench::{Bench, effected, place, reason};
use super::queue_bench::{done, invocation_of, published};
use crate::model::{Effected, Op, Outcome, Publish, Reason, Settings, message};

fn tick(at_ms: u64) -> Op {
    let invocation = invocation_of(&at_ms.to_string());
    Op::Tick { schedule: place("nightly"), at_ms, publish: Publish { invocation, ..published("") } }
}

#[test]
fn a_tick_is_published_once_and_never_out_of_order() {
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let outcome = bench.run(tick(100));
    let [Effected::Published { message: number, repeated: false, .. }] = effected(&outcome) else {
        panic!("{outcome:?}")
    };
    let body = message(&bench.records, &place("q"), *number).unwrap().unwrap().body;
    assert_eq!(body.id, "nightly@100");
    bench.term += 1;
    for again in [100, 99] {
        assert_eq!(bench.refused(tick(again)), Reason::Late);
    }
    assert!(matches!(bench.run(tick(101)), Outcome::Performed(_)));
    assert_eq!(bench.counts().published, 2);
}

#[test]
fn a_full_queue_does_not_lose_a_tick() {
    let mut bench = Bench::with_queue(Settings { messages_max: 1, ..Settings::DEFAULT });
    bench.publish(published("a"));
    assert_eq!(reason(&bench.run(tick(100))), Reason::QueueFullMessages);
    let claimed = bench.claim_one();
    bench.settle(&claimed, done());
    assert!(matches!(bench.run(tick(100)), Outcome::Performed(_)));
}
