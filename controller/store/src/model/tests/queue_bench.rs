//! A group with a queue, and ways to ask it.

use coracle_proto::id::NodeId;

use super::bench::{Bench, effected, perform, place, text};
use crate::model::{
    Claimed, Counts, Due, Effect, Effected, Fate, Op, Outcome, Publish, Settings, State, Ticket, Verdict,
    counts, message,
};

pub(crate) const NODE: NodeId = NodeId::new(4);
/// How long a claim of a test lasts.
pub(crate) const CLAIM_MS: u64 = 1000;

impl Bench {
    /// With a queue, `shop/q`, and a bucket, `shop/a`.
    pub(crate) fn with_queue(settings: Settings) -> Self {
        let mut bench = Self::with_bucket(100, 10_000);
        assert_eq!(bench.run(Op::PutQueue { queue: place("q"), settings }), Outcome::Done);
        bench
    }

    /// The number of a message that is new.
    pub(crate) fn publish(&mut self, publish: Publish) -> u64 {
        let outcome = self.run(perform(vec![Effect::Publish(publish)]));
        let [Effected::Published { message, repeated: false }] = effected(&outcome) else {
            panic!("{outcome:?}")
        };
        *message
    }

    pub(crate) fn claim(&mut self, most: u32) -> Vec<Claimed> {
        let until_ms = self.now_ms + CLAIM_MS;
        match self.run(Op::Claim { queue: place("q"), node: NODE, most, until_ms }) {
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
        match self.run(Op::Settle { ticket: ticket(claimed), verdict }) {
            Outcome::Settled { fate, .. } => fate,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn sweep(&mut self, due: Due) -> u32 {
        match self.run(Op::Sweep { due, steps: 100 }) {
            Outcome::Moved { moved, .. } => moved,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn state(&self, number: u64) -> Option<State> {
        Some(message(&self.records, &place("q"), number).unwrap()?.delivery.state)
    }

    pub(crate) fn counts(&self) -> Counts {
        counts(&self.records, &place("q")).unwrap()
    }
}

pub(crate) fn ticket(claimed: &Claimed) -> Ticket {
    Ticket { queue: place("q"), message: claimed.message, fence: claimed.fence }
}

pub(crate) fn done() -> Verdict {
    Verdict::Done { effects: Vec::new() }
}

pub(crate) fn retry() -> Verdict {
    Verdict::Retry { after_ms: Some(0), error: "again".into() }
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
    }
}

pub(crate) fn grouped(id: &str, group: &str) -> Publish {
    Publish { group: group.into(), ..published(id) }
}
