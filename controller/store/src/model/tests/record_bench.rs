//! Ways to ask for what is done to one invocation, and to look at it.

use super::bench::{Bench, perform, text};
use super::queue_bench::{dead, invocation_of, report, ticket};
use crate::model::{Answer, Claimed, Effect, Listing, Op, Phase, Publish, Verdict};

/// A trace's id.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(crate) fn publish(publish: Publish) -> Op {
    perform(vec![Effect::Publish(Box::new(publish))])
}

/// A settle that tells of the attempt.
pub(crate) fn told(claimed: &Claimed, verdict: Verdict, answer: Option<Answer>) -> Op {
    Op::Settle { ticket: ticket(claimed), verdict, report: Some(report("200")), answer }
}

pub(crate) fn answered(body: &str) -> Answer {
    Answer { status: 200, body: text(body), body_bytes: 9, ..Answer::default() }
}

pub(crate) fn cancel(id: &str) -> Op {
    Op::Cancel { invocation: invocation_of(id) }
}

pub(crate) fn revive(id: &str) -> Op {
    Op::Revive { invocation: invocation_of(id) }
}

/// The first ready message becomes a dead letter.
pub(crate) fn bury(bench: &mut Bench) {
    let claimed = bench.claim_one();
    bench.settle_op(told(&claimed, dead(), Some(answered("no"))));
}

pub(crate) fn phase(bench: &Bench, id: &str) -> Option<Phase> {
    bench.seen(id).map(|seen| seen.phase)
}

pub(crate) fn names(listing: &Listing) -> Vec<u128> {
    listing.seen.iter().map(|seen| seen.invocation.get()).collect()
}
