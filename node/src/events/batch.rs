//! Messages of one queue that wait for others, to be run by one call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;

use super::json;
use super::narrow::Queue;
use super::running::Place;
use crate::stores::{Batch, Delivery};

/// Bytes of the events of one call, as they are sent.
const BYTES_MAX: usize = 384 << 10;

/// A message, and its place here.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) delivery: Box<Delivery>,
    pub(super) place: Place,
}

/// What waits, of each queue.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    of: BTreeMap<Queue, Open>,
    number: u64,
}

/// One that others may still join.
#[derive(Debug)]
struct Open {
    number: u64,
    members: Vec<Member>,
    bytes: usize,
    most: usize,
    /// The task that runs it when it has waited for long enough.
    sleeper: Option<AbortHandle>,
}

impl Open {
    /// Whether one more fits, and is to be called like the others: the queue may have been told anew meanwhile.
    fn takes(&self, delivery: &Delivery, weight: usize) -> bool {
        let alike =
            |it: &Member| it.delivery.function == delivery.function && it.delivery.how == delivery.how;
        self.bytes.saturating_add(weight) <= BYTES_MAX && self.members.first().is_none_or(alike)
    }

    /// It is run before its time.
    fn close(self) -> Vec<Member> {
        if let Some(sleeper) = self.sleeper {
            sleeper.abort();
        }
        self.members
    }
}

/// What comes of one more.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// These are to be run now, each list in one call.
    pub(super) full: Vec<Vec<Member>>,
    /// This one is the first of its batch, which has this number: it is not to wait for ever.
    pub(super) begun: Option<u64>,
}

impl Batches {
    /// A message waits for others, or no more of them fit.
    pub(super) fn add(&self, queue: &Queue, member: Member, batch: Batch) -> Added {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut added, weight) = (Added::default(), json::weight(&member.delivery));
        if waiting.of.get(queue).is_some_and(|open| !open.takes(&member.delivery, weight)) {
            added.full.extend(waiting.of.remove(queue).map(Open::close));
        }
        let number = waiting.number;
        let open = waiting.of.entry(queue.clone()).or_insert_with(|| {
            added.begun = Some(number);
            Open { number, members: Vec::new(), bytes: 0, most: batch.most, sleeper: None }
        });
        member.place.joins(open.number);
        open.members.push(member);
        open.bytes = open.bytes.saturating_add(weight);
        if open.members.len() >= batch.most {
            added.begun = None;
            added.full.extend(waiting.of.remove(queue).map(Open::close));
        }
        waiting.number = waiting.number.saturating_add(1);
        added
    }

    /// How many more messages may join those of each queue that wait.
    pub(super) fn room(&self) -> BTreeMap<Queue, usize> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = |open: &Open| open.most.saturating_sub(open.members.len());
        waiting.of.iter().map(|(queue, open)| (queue.clone(), room(open))).collect()
    }

    /// Whether this one still waits for others.
    pub(super) fn is_open(&self, queue: &Queue, number: u64) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.of.get(queue).is_some_and(|open| open.number == number)
    }

    /// This one has it run in time, and is not needed if it is full before. One that has taken it by now runs it.
    pub(super) fn sleeps(&self, queue: &Queue, number: u64, sleeper: AbortHandle) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = waiting.of.get_mut(queue).filter(|open| open.number == number) {
            open.sleeper = Some(sleeper);
        }
    }

    /// Those of one that has waited for long enough; none: it has gone.
    pub(super) fn due(&self, queue: &Queue, number: u64) -> Option<Vec<Member>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.of.get(queue).filter(|open| open.number == number)?;
        waiting.of.remove(queue).map(|open| open.members)
    }

    /// Everything that waits.
    pub(super) fn take_all(&self) -> Vec<Member> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting.of).into_values().flat_map(|open| open.members).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::events::request::tests::delivery;
    use crate::events::running::Running;
    use crate::events::running::tests::held;

    const THREE: Batch = Batch { most: 3, wait: Duration::ZERO };

    fn member(running: &Arc<Running>, message: u64, bytes: usize) -> (Queue, Member) {
        let mut delivery = Box::new(delivery(None, &[]));
        (delivery.ticket.message, delivery.ticket.queue) = (message, "q".to_owned());
        delivery.event.data = vec![b'x'; bytes].into();
        let place = held(running, delivery.ticket.clone(), 3);
        ((delivery.ticket.namespace.clone(), "q".to_owned()), Member { delivery, place })
    }

    #[test]
    fn as_many_as_fit_are_one_call() {
        let (batches, running) = (Batches::default(), Arc::<Running>::default());
        let add = |message, bytes| {
            let (queue, member) = member(&running, message, bytes);
            let added = batches.add(&queue, member, THREE);
            let full: Vec<Vec<u64>> = added
                .full
                .iter()
                .map(|it| it.iter().map(|it| it.delivery.ticket.message).collect())
                .collect();
            (full, added.begun.is_some())
        };
        assert_eq!(add(1, 1), (vec![], true));
        assert_eq!(add(2, 1), (vec![], false));
        assert_eq!(add(3, 1), (vec![vec![1, 2, 3]], false));
        assert_eq!(add(4, 64 << 10), (vec![], true));
        assert_eq!(add(5, 280 << 10), (vec![vec![4]], true), "together they are too many bytes");
        assert_eq!(add(6, 1), (vec![], false));
        assert_eq!(batches.take_all().len(), 2);
        assert_eq!(batches.take_all().len(), 0);
    }

    #[tokio::test]
    async fn those_that_are_called_otherwise_are_no_batch() {
        let (batches, running) = (Batches::default(), Arc::<Running>::default());
        let add = |message, function: &str, path: &str| {
            let (queue, mut member) = member(&running, message, 1);
            member.delivery.function = function.parse().unwrap();
            member.delivery.how.uri = format!("http://localhost/{path}").parse().unwrap();
            let added = batches.add(&queue, member, THREE);
            (added.full.iter().map(Vec::len).sum::<usize>(), added.begun.is_some())
        };
        assert_eq!((add(1, "f", ""), add(2, "g", ""), add(3, "g", "x")), ((0, true), (1, true), (1, true)));
        let (queue, last) = member(&running, 4, 1);
        let number = batches.add(&queue, last, THREE).begun.unwrap();
        assert_eq!(batches.room(), [(queue.clone(), 2)].into());
        let sleeper = tokio::spawn(std::future::pending::<()>());
        batches.sleeps(&queue, number, sleeper.abort_handle());
        assert_eq!(batches.add(&queue, member(&running, 5, 400 << 10).1, THREE).full.len(), 1);
        assert!(sleeper.await.unwrap_err().is_cancelled(), "nobody waits for what has gone");
    }

    #[test]
    fn only_the_batch_that_was_begun_becomes_due() {
        let (batches, running) = (Batches::default(), Arc::<Running>::default());
        let (queue, first) = member(&running, 1, 1);
        let number = batches.add(&queue, first, THREE).begun.unwrap();
        for message in 2..=3 {
            batches.add(&queue, member(&running, message, 1).1, THREE);
        }
        let again = batches.add(&queue, member(&running, 4, 1).1, THREE).begun.unwrap();
        assert!(batches.due(&queue, number).is_none(), "it was full and has gone");
        assert!(batches.is_open(&queue, again) && !batches.is_open(&queue, number));
        assert_eq!(batches.due(&queue, again).map(|it| it.len()), Some(1));
        assert!(batches.due(&queue, again).is_none() && !batches.is_open(&queue, again));
    }

    #[tokio::test]
    async fn who_has_taken_its_batch_before_it_is_known_is_let_be() {
        let (batches, running) = (Batches::default(), Arc::<Running>::default());
        let (queue, first) = member(&running, 1, 1);
        let number = batches.add(&queue, first, THREE).begun.unwrap();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let sleeper = tokio::spawn(wait);
        assert_eq!(batches.due(&queue, number).map(|it| it.len()), Some(1));
        batches.sleeps(&queue, number, sleeper.abort_handle());
        go.send(()).unwrap();
        sleeper.await.expect("it runs its batch to the end").unwrap();
    }
}
