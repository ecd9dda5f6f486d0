//! Goal: an entry counts in its own group and term only, its clock is bounded, a repeated request changes nothing,
//! and no bytes at all make the machine panic.

use coracle_proto::id::{ClusterId, GroupId};
use coracle_proto::pb::store as pb;
use prost::Message as _;
use rand::Rng as _;

use super::bench::{BEGIN_MS, Bench, luck, perform, place, reason, set, text, write};
use super::queue_bench::{NODE, done, invocation_of, published, report, submit, ticket_of};
use crate::model::codec::{self, DecodeError};
use crate::model::{
    Answer, Asked, BATCH_OPS_MAX, Batch, Due, Effect, FORMAT, Group, HttpHead, Op, Outcome, Publish,
    REMEMBERED_MAX, Reason, Reply, Settings, TIME_STEP_MAX_MS,
};

fn sweep() -> Op {
    Op::Sweep { due: Due::Values, steps: 1, from_ms: 0 }
}

fn refused(bench: &mut Bench, batch: &Batch) -> Reason {
    let before = bench.records.clone();
    let Reply::Refused(refusal) = bench.ask(batch) else { panic!("it was admitted") };
    assert_eq!(bench.records, before);
    refusal.reason
}

#[test]
fn an_entry_of_another_group_or_term_counts_for_nothing() {
    let mut bench = Bench::with_bucket(9, 999);
    let ours = bench.batch(vec![Asked { request: None, op: perform(vec![write("k", set("v"))]) }]);
    let stranger = Batch { cluster: ClusterId::new(1), ..ours.clone() };
    assert_eq!(refused(&mut bench, &stranger), Reason::WrongGroup);
    let other = Batch { group: GroupId::new(2), ..ours.clone() };
    assert_eq!(refused(&mut bench, &other), Reason::WrongGroup);
    for term in [bench.term - 1, bench.term + 1] {
        assert_eq!(refused(&mut bench, &Batch { term, ..ours.clone() }), Reason::WrongTerm);
    }
    assert!(bench.value("k").is_none());
}

#[test]
fn an_entry_has_a_bounded_number_of_operations() {
    let mut bench = Bench::with_bucket(9, 999);
    let of = |count| vec![Asked { request: None, op: sweep() }; count];
    let most = bench.batch(of(BATCH_OPS_MAX));
    assert!(matches!(bench.ask(&most), Reply::Outcomes(outcomes) if outcomes.len() == BATCH_OPS_MAX));
    let over = bench.batch(of(BATCH_OPS_MAX + 1));
    assert_eq!(refused(&mut bench, &over), Reason::TooMany);
}

#[test]
fn the_clock_never_goes_back_and_on_by_an_hour_at_most() {
    let mut bench = Bench::with_bucket(9, 999);
    assert_eq!(bench.group().time_ms, BEGIN_MS, "it begins with the first stamp");
    let mut at = |now_ms| {
        bench.now_ms = now_ms;
        bench.run(sweep());
        bench.group().time_ms
    };
    assert_eq!(at(BEGIN_MS + 5), BEGIN_MS + 5);
    assert_eq!(at(BEGIN_MS), BEGIN_MS + 5);
    assert_eq!(at(u64::MAX), BEGIN_MS + 5 + TIME_STEP_MAX_MS);
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_changes_nothing() {
    let mut bench = Bench::with_bucket(1, 999);
    let put = |data| perform(vec![write("k", set(data))]);
    let first = bench.requested(1, 0, put("one"));
    assert_eq!(bench.requested(1, 0, put("two")), first);
    assert_eq!(bench.data("k").as_deref(), Some("one"));
    let full = bench.requested(2, 0, perform(vec![write("l", set("x"))]));
    assert_eq!(reason(&full), Reason::BucketFullKeys);
    let before = bench.records.clone();
    assert_eq!(bench.requested(2, 0, put("three")), full, "a refusal is an answer too");
    assert_eq!(bench.records, before);
}

#[test]
fn the_memory_of_requests_is_bounded_and_says_what_it_forgot() {
    let mut bench = Bench::with_bucket(9, 999);
    let put = || perform(vec![write("k", set("v"))]);
    bench.requested(1, 0, put());
    let first = bench.group().sequence;
    let group = Group { remembered: REMEMBERED_MAX, ..bench.group() };
    bench.set_group(&group);
    bench.requested(2, first, put());
    let group = bench.group();
    assert_eq!((group.remembered, group.remembered_from), (REMEMBERED_MAX, first + 1));
    assert_eq!(reason(&bench.requested(1, 0, put())), Reason::OutcomeUnknown);
    assert!(matches!(bench.requested(3, group.sequence, put()), Outcome::Performed(_)));
}

#[test]
fn an_operation_of_a_newer_format_halts() {
    let bench = Bench::new();
    let bytes = codec::encode(&bench.batch(vec![Asked { request: None, op: sweep() }]));
    let wire = pb::Batch::decode(&bytes[..]).unwrap();
    let newer = pb::Batch { format: FORMAT + 1, ..wire.clone() };
    assert_eq!(codec::decode(&newer.encode_to_vec()), Err(DecodeError::UnknownOp));
    // A kind of operation that nobody has yet.
    let unknown = pb::Asked { op: Some(pb::Op { kind: None }), ..pb::Asked::default() };
    let understated = pb::Batch { ops: vec![unknown], ..wire };
    assert_eq!(codec::decode(&understated.encode_to_vec()), Err(DecodeError::UnknownOp));
}

#[test]
fn no_bytes_make_it_panic() {
    let mut luck = luck(rand::random());
    let mut bench = Bench::with_queue(Settings::DEFAULT);
    let publish = Effect::Publish(Box::new(published("a")));
    let op = perform(vec![write("k", set("value")), publish]);
    let until_ms = bench.now_ms + 9;
    let claim = Op::Claim { queue: place("q"), node: NODE, most: 1, until_ms };
    bench.publish(published("b"));
    let ticket = ticket_of(place("q"), &bench.claim_one());
    let answer = Some(Answer { status: 200, body: text("body"), ..Answer::default() });
    let settle = Op::Settle { ticket: ticket.clone(), verdict: done(), report: Some(report("200")), answer };
    let offer = Op::Offer { ticket, after_ms: 5, error: "no".into() };
    let http = Some(HttpHead { uri: "http://h/".into(), ..HttpHead::default() });
    let submit = submit(Publish { http, ..published("c") });
    let cancel = Op::Cancel { invocation: invocation_of("a") };
    let revive = Op::Revive { invocation: invocation_of("b") };
    let ops = [op, claim, offer, settle, submit, cancel, revive, sweep()];
    let ops = ops.map(|op| Asked { request: None, op });
    let good = codec::encode(&bench.batch(ops.into()));
    let mut answered = 0;
    for round in 0..5_000 {
        let mut bytes = good.to_vec();
        if round % 4 == 0 {
            bytes = (0..luck.random_range(0..200)).map(|_| luck.random()).collect();
        } else {
            for _ in 0..luck.random_range(1..4) {
                let at = luck.random_range(0..bytes.len());
                bytes[at] = luck.random();
            }
            bytes.truncate(luck.random_range(0..=bytes.len() * 2));
        }
        answered += u32::from(bench.apply(&bytes).is_ok());
    }
    assert!(answered > 50, "only {answered} were read: the test does not see what it should");
}
