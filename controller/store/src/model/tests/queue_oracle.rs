//! What is known of queues from their answers alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::InvocationId;

use super::bench::Bench;
use super::rows::Found;
use crate::model::{Claimed, Effected, Fence, Op, Outcome, Phase, Place, Publish, Reason, invocation};

/// What was taken in under an id, within the day, which is all of a test.
#[derive(Debug, Clone)]
struct Known {
    message: u64,
    invocation: InvocationId,
    fingerprint: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Attempts of each message that was taken in and has not ended.
    attempts: BTreeMap<u64, u32>,
    /// By queue and id.
    ids: BTreeMap<(Place, String), Known>,
    /// Every claim that there ever was, the newest last.
    pub(crate) claims: Vec<(Place, Claimed)>,
    last_fence: Option<Fence>,
    /// Settles that were accepted, each of which has counted one up.
    pub(crate) settled: i64,
    /// Every invocation that was accepted, the newest last.
    pub(crate) accepted: Vec<InvocationId>,
    /// Those that ended and cannot be revived.
    over: BTreeMap<InvocationId, Phase>,
}

impl Oracle {
    pub(crate) fn published(&mut self, publish: &Publish, effected: &Effected) {
        let Effected::Published { message, repeated, invocation } = effected else { panic!("{effected:?}") };
        let key = (publish.queue.clone(), publish.id.clone());
        if let Some(known) = self.ids.get(&key) {
            assert!(repeated, "{key:?} was taken in twice");
            assert_eq!((known.message, known.invocation), (*message, *invocation));
            assert!(!differ(&known.fingerprint, &publish.fingerprint), "another request of {key:?}");
            return;
        }
        assert!(!repeated, "{key:?} is new");
        assert_eq!(*invocation, publish.invocation);
        assert!(!self.accepted.contains(invocation), "two of {invocation}");
        let (message, fingerprint) = (*message, publish.fingerprint.clone());
        self.ids.insert(key, Known { message, invocation: *invocation, fingerprint });
        self.attempts.insert(message, 0);
        self.accepted.push(*invocation);
    }

    /// Whether one of these is known as another request.
    fn is_other(&self, publishes: &[Publish]) -> bool {
        publishes.iter().any(|publish| {
            let known = self.ids.get(&(publish.queue.clone(), publish.id.clone()));
            known.is_some_and(|known| differ(&known.fingerprint, &publish.fingerprint))
        })
    }

    pub(crate) fn claimed(&mut self, queue: &Place, claimed: &Claimed) {
        let attempts = self.attempts.get_mut(&claimed.message).expect("a message that was taken in");
        *attempts += 1;
        assert_eq!(claimed.attempt, *attempts, "attempts have a gap");
        assert!(self.last_fence < Some(claimed.fence), "a fence went back");
        self.last_fence = Some(claimed.fence);
        self.claims.push((queue.clone(), *claimed));
    }

    pub(crate) fn offered(&mut self, message: u64) {
        *self.attempts.get_mut(&message).unwrap() -= 1;
    }

    /// Takes over what ended, or began anew, without a word of its own.
    pub(crate) fn follow(&mut self, found: &BTreeMap<u64, Found>) {
        let known = found.keys().all(|number| self.attempts.contains_key(number));
        assert!(known, "a message that nobody published");
        self.attempts.retain(|number, _| found.contains_key(number));
        for (number, attempts) in &mut self.attempts {
            let delivery = &found[number].delivery;
            if delivery.attempts == 0 && !delivery.state.is_dead() && *attempts > 0 {
                *attempts = 0;
            }
            assert_eq!(*attempts, delivery.attempts, "of message {number}");
        }
    }

    /// What was refused had to be, by what was there before.
    pub(crate) fn refused(&self, op: &Op, reason: Reason, before: Option<Phase>) {
        match (op, reason) {
            (Op::Cancel { .. }, Reason::Ended) => assert!(before.unwrap().has_ended()),
            (Op::Cancel { invocation } | Op::Revive { invocation }, Reason::NoInvocation) => {
                assert!(!self.accepted.contains(invocation));
            }
            (Op::Revive { .. }, Reason::NotDead) => assert_ne!(before, Some(Phase::Dead)),
            (op, Reason::OtherRequest) => assert!(self.is_other(&publishes(op)), "{op:?}"),
            (Op::Cancel { .. } | Op::Revive { .. }, other) => panic!("{op:?} was refused: {other:?}"),
            _ => {}
        }
    }

    /// What was done to one invocation, by what was there before and is there now.
    pub(crate) fn changed(op: &Op, before: Option<Phase>, now: Option<Phase>) {
        match op {
            Op::Cancel { .. } => {
                assert!(!before.unwrap().has_ended());
                assert_eq!(now, Some(Phase::Cancelled));
            }
            Op::Revive { .. } => assert_eq!((before, now), (Some(Phase::Dead), Some(Phase::Waiting))),
            _ => {}
        }
    }

    /// All of them are there, and what is over stays as it is.
    pub(crate) fn check_accepted(&mut self, bench: &Bench) {
        for id in &self.accepted {
            let phase = invocation(&bench.records, *id).unwrap().expect("it was accepted").phase;
            if let Some(over) = self.over.get(id) {
                assert_eq!(phase, *over, "it was over");
            } else if phase.has_ended() && phase != Phase::Dead {
                self.over.insert(*id, phase);
            }
        }
    }
}

fn differ(one: &Bytes, other: &Bytes) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

/// Messages that an operation would publish, each with the queue in which it is.
pub(crate) fn publishes(op: &Op) -> Vec<Publish> {
    use crate::model::{Effect, Verdict};
    let effects = match op {
        Op::Perform { effects, .. } | Op::Settle { verdict: Verdict::Done { effects, .. }, .. } => {
            &effects[..]
        }
        Op::Submit { function, publish } => {
            return vec![Publish { queue: Place::of_function(function), ..publish.clone() }];
        }
        _ => &[],
    };
    let one = |effect: &Effect| match effect {
        Effect::Publish(publish) => Some((**publish).clone()),
        Effect::Write(_) | Effect::Check(_) | Effect::Blob(_) => None,
    };
    effects.iter().filter_map(one).collect()
}

/// What was told of messages that were published.
pub(crate) fn told(outcome: &Outcome) -> impl Iterator<Item = &Effected> {
    let effects = match outcome {
        Outcome::Performed(effects) | Outcome::Settled { effects, .. } => &effects[..],
        _ => &[],
    };
    effects.iter().filter(|it| matches!(it, Effected::Published { .. }))
}
