//! A group with a queue, and ways to ask it.

use coracle_proto::id::{FunctionId, InvocationId, NodeId, VersionNumber};

use super::bench::{Bench, effected, perform, place, text};
use crate::model::{
    Claimed, Counts, Due, Effect, Effected, Fate, Name, Op, Outcome, Place, Publish, Report, Seen, Settings,
    State, Ticket, Verdict, counts, invocation, message,
};

pub(crate) const NODE: NodeId = NodeId::new(4);
/// How long a claim of a test lasts.
pub(crate) const CLAIM_MS: u64 = 1000;

impl Bench {
    /// With a queue, `shop/q`, for function `f`, and a bucket, `shop/a`.
    pub(crate) fn with_queue(settings: Settings) -> Self {
        let mut bench = Self::with_bucket(100, 10_000);
        assert_eq!(bench.run(put(place("q"), settings)), Outcome::Done);
        bench
    }

    /// The number of a message that is new.
    pub(crate) fn publish(&mut self, publish: Publish) -> u64 {
        let outcome = self.run(perform(vec![Effect::Publish(Box::new(publish))]));
        let [Effected::Published { message, repeated: false, .. }] = effected(&outcome) else {
            panic!("{outcome:?}")
        };
        *message
    }

    pub(crate) fn claim(&mut self, most: u32) -> Vec<Claimed> {
        self.claim_of(place("q"), most)
    }

    pub(crate) fn claim_of(&mut self, queue: Place, most: u32) -> Vec<Claimed> {
        let until_ms = self.now_ms + CLAIM_MS;
        match self.run(Op::Claim { queue, node: NODE, most, until_ms }) {
            Outcome::Claimed(claimed) => claimed,
            other => panic!("{other:?}"),
        }
    }

    /// The one message that is ready.
    pub(crate) fn claim_one(&mut self) -> Claimed {
        let mut claimed = self.claim(1);
        assert_eq!(claimed.len(), 1, "none was ready");
        claimed.remove(0)
    }

    pub(crate) fn settle(&mut self, claimed: &Claimed, verdict: Verdict) -> Fate {
        self.settle_op(settle(claimed, verdict))
    }

    pub(crate) fn settle_op(&mut self, op: Op) -> Fate {
        match self.run(op) {
            Outcome::Settled { fate, .. } => fate,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn sweep(&mut self, due: Due) -> u32 {
        match self.run(Op::Sweep { due, steps: 100, from_ms: 0 }) {
            Outcome::Moved { moved, .. } => moved,
            other => panic!("{other:?}"),
        }
    }

    /// As much time as it takes, in entries that the clock follows.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = until_ms.min(self.now_ms + crate::model::TIME_STEP_MAX_MS);
            self.sweep(Due::Values);
        }
    }

    pub(crate) fn state(&self, number: u64) -> Option<State> {
        Some(message(&self.records, &place("q"), number).unwrap()?.delivery.state)
    }

    pub(crate) fn counts(&self) -> Counts {
        counts(&self.records, &place("q")).unwrap()
    }

    /// The invocation of the message with this id.
    pub(crate) fn seen(&self, id: &str) -> Option<Seen> {
        invocation(&self.records, invocation_of(id)).unwrap()
    }
}

/// Function `f` of namespace `shop`.
pub(crate) fn function() -> FunctionId {
    FunctionId::parse("shop", "f").unwrap()
}

pub(crate) fn put(queue: Place, settings: Settings) -> Op {
    Op::PutQueue { queue, settings, target: Some(Name::parse("f").unwrap()) }
}

pub(crate) fn ticket(claimed: &Claimed) -> Ticket {
    ticket_of(place("q"), claimed)
}

pub(crate) fn ticket_of(queue: Place, claimed: &Claimed) -> Ticket {
    Ticket { queue, message: claimed.message, fence: claimed.fence }
}

/// A settle that tells nothing of the attempt.
pub(crate) fn settle(claimed: &Claimed, verdict: Verdict) -> Op {
    Op::Settle { ticket: ticket(claimed), verdict, report: None, answer: None }
}

pub(crate) fn offer(claimed: &Claimed) -> Op {
    Op::Offer { ticket: ticket(claimed), after_ms: 0, error: String::new() }
}

pub(crate) fn done() -> Verdict {
    Verdict::Done { effects: Vec::new(), others: Vec::new() }
}

pub(crate) fn retry() -> Verdict {
    Verdict::Retry { after_ms: Some(0), error: "again".into() }
}

pub(crate) fn dead() -> Verdict {
    Verdict::Dead { error: "no".into() }
}

pub(crate) fn report(outcome: &str) -> Report {
    Report {
        attempt: 0,
        node: NODE,
        version: VersionNumber::new(2),
        started_ms: 3,
        ended_ms: 4,
        cold: true,
        outcome: outcome.into(),
        error: "e".into(),
        cpu_us: 5,
        memory_byte_ms: 6,
        bytes_in: 7,
        bytes_out: 8,
    }
}

/// Another one for each text.
pub(crate) fn invocation_of(id: &str) -> InvocationId {
    let number = id.bytes().fold(7_u128, |number, byte| number.wrapping_mul(257) + u128::from(byte));
    InvocationId::new(number)
}

/// A message of eleven bytes.
pub(crate) fn published(id: &str) -> Publish {
    Publish {
        queue: place("q"),
        source: "s".into(),
        id: id.into(),
        group: String::new(),
        attributes: [("type".to_owned(), "t".to_owned())].into(),
        delay_ms: 0,
        data: text("data"),
        invocation: invocation_of(id),
        kind: "async".into(),
        http: None,
        fingerprint: text(""),
        also: String::new(),
    }
}

pub(crate) fn grouped(id: &str, group: &str) -> Publish {
    Publish { group: group.into(), ..published(id) }
}

pub(crate) fn submit(publish: Publish) -> Op {
    Op::Submit { function: function(), publish }
}
