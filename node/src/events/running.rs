//! What runs of one group's messages: from the moment they came until they are settled.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::again::Why;
use super::crowd::Crowd;
use super::narrow::{Narrow, Queue};
use super::settle::Settled;
use crate::clock;
use crate::stores::Ticket;

/// Messages that are here to be run with others, or are: each may have 64 KiB.
const BATCHED_MAX: usize = 1024;

/// As many as the taker asks for.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: Mutex<BTreeMap<Ticket, Task>>,
    narrow: Mutex<Narrow>,
    crowd: Mutex<Crowd>,
    freed: Notify,
    narrowed: Notify,
    lost: Notify,
}

#[derive(Debug)]
struct Task {
    /// None until it is known, and of one that others are run with: its end is not theirs.
    abort: Option<AbortHandle>,
    /// So many messages of its queue are run by one call, and take one place.
    of: usize,
    /// Those of the same number are run by one call; none: it is run alone.
    batch: Option<u64>,
    /// Its call is over.
    settles: bool,
    /// Its claim is not held any more, though it may be what it said that ended it: whoever settles it finds out.
    lost: bool,
}

/// What there is of one queue.
#[derive(Debug, Clone, Copy)]
struct Count {
    /// Calls that its messages are, under way or to come.
    places: usize,
    /// So many messages are run by one of them.
    of: usize,
}

impl Default for Count {
    fn default() -> Self {
        Self { places: 0, of: 1 }
    }
}

impl Count {
    /// Messages that there is room for in so many calls, of which one that is there already takes so many more.
    const fn left(self, places: usize, open: usize) -> usize {
        places.saturating_sub(self.places).saturating_mul(self.of).saturating_add(open)
    }
}

/// Calls that these are.
fn places<'a>(tasks: impl Iterator<Item = &'a Task>) -> usize {
    let (mut alone, mut batches) = (0_usize, BTreeSet::new());
    for task in tasks {
        match task.batch {
            Some(number) => _ = batches.insert(number),
            None => alone += 1,
        }
    }
    alone + batches.len()
}

/// What may be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Messages.
    pub(super) places: usize,
    /// Queues that have all that they may have.
    pub(super) full: Vec<Queue>,
    /// There may be more then.
    pub(super) until: Option<Instant>,
}

/// What becomes of a message that is to be run with others.
#[derive(Debug)]
pub(super) enum Held {
    /// It waits here.
    Here(Place),
    /// It is here already.
    Known,
    /// As many as may be are here: nobody keeps it.
    Full(Ticket),
}

/// That of one message. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    running: Arc<Running>,
    ticket: Ticket,
}

impl Running {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<Ticket, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.tasks().len()
    }

    /// Those of which nobody has said yet that they are lost.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        self.tasks().iter().filter(|(_, task)| !task.lost).map(|(ticket, _)| ticket.clone()).collect()
    }

    /// What there is room for now, where at most `bound` run at once, and so many more may join those of each queue that wait (`open`).
    pub(super) fn room(&self, bound: usize, open: &BTreeMap<Queue, usize>, now: Instant) -> Room {
        let (counts, share) = (self.counts(), share(bound));
        let mut narrow = self.narrow.lock().unwrap_or_else(PoisonError::into_inner);
        narrow.widen(share, now);
        let mut widths: BTreeMap<Queue, usize> = counts.keys().map(|queue| (queue.clone(), share)).collect();
        widths.extend(narrow.widths().map(|(queue, width)| (queue.clone(), width.min(share))));
        let mut crowd = self.crowd();
        crowd.widen(now);
        for (queue, width) in crowd.widths() {
            let before = widths.get(queue).copied().unwrap_or(share);
            widths.insert(queue.clone(), before.min(width));
        }
        let until = narrow.next().into_iter().chain(crowd.next()).min();
        drop(crowd);
        // What comes together may be of one queue: of the one that has the least room, or of one that has nothing yet.
        let (mut most, mut full) = (share, self.crowded());
        widths.retain(|queue, _| !full.contains(queue));
        for (queue, width) in widths {
            let open = open.get(&queue).copied().unwrap_or(0);
            match counts.get(&queue).copied().unwrap_or_default().left(width, open) {
                0 => full.push(queue),
                left => most = most.min(left),
            }
        }
        let taken = counts.values().map(|count| count.places).sum();
        Room { places: bound.saturating_sub(taken).min(most), full, until }
    }

    /// The function of a message can take no more: nor is more of its queue asked for, as long as as many run as now.
    fn refused(&self, ticket: &Ticket, now: Instant) {
        let queue = (ticket.namespace.clone(), ticket.queue.clone());
        let mut tasks = self.tasks();
        if let Some(task) = tasks.get_mut(ticket) {
            task.settles = true;
        }
        let runs = |(other, task): &(&Ticket, &Task)| {
            !task.settles && other.namespace == queue.0 && other.queue == queue.1
        };
        let others = places(tasks.iter().filter(runs).map(|(_, task)| task));
        drop(tasks);
        self.narrow.lock().unwrap_or_else(PoisonError::into_inner).refused(queue, others, now);
        self.narrowed.notify_one();
    }

    /// What the call of a message had read was changed by another one's: fewer of its queue run at once.
    fn overtaken(&self, ticket: &Ticket, now: Instant) {
        let queue = (ticket.namespace.clone(), ticket.queue.clone());
        let running = self.counts().get(&queue).map_or(0, |count| count.places);
        self.crowd().overtaken(queue, running, now);
        self.narrowed.notify_one();
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> BTreeMap<Queue, Count> {
        let tasks = self.tasks();
        let mut queues: BTreeMap<Queue, Vec<&Task>> = BTreeMap::new();
        for (ticket, task) in &*tasks {
            queues.entry((ticket.namespace.clone(), ticket.queue.clone())).or_default().push(task);
        }
        let count = |tasks: Vec<&Task>| {
            let of = tasks.iter().map(|task| task.of).max().unwrap_or(1);
            Count { places: places(tasks.into_iter()), of }
        };
        queues.into_iter().map(|(queue, tasks)| (queue, count(tasks))).collect()
    }

    /// Queues of whose messages several are run by one call, where such messages are as many as there may be.
    fn crowded(&self) -> Vec<Queue> {
        let tasks = self.tasks();
        let batched = || tasks.iter().filter(|(_, task)| task.of > 1);
        if batched().count() < BATCHED_MAX {
            return Vec::new();
        }
        let queues: BTreeSet<Queue> =
            batched().map(|(ticket, _)| (ticket.namespace.clone(), ticket.queue.clone())).collect();
        queues.into_iter().collect()
    }

    /// Ends when less of a queue is to be asked for.
    pub(super) async fn narrowed(&self) {
        self.narrowed.notified().await;
    }

    /// Ends when a place comes free.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Runs a message in a task of its own, on those threads; false where it runs already.
    pub(super) fn begin<F>(
        self: &Arc<Self>,
        threads: &Handle,
        ticket: Ticket,
        run: impl FnOnce(Place) -> F,
    ) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.tasks();
        if tasks.contains_key(&ticket) {
            return false;
        }
        // It is there before its task is, which may have ended before that is known here.
        tasks.insert(ticket.clone(), Task::new(1));
        drop(tasks);
        let place = Place { running: Arc::clone(self), ticket: ticket.clone() };
        let abort = threads.spawn(run(place)).abort_handle();
        if let Some(task) = self.tasks().get_mut(&ticket) {
            task.abort = Some(abort);
        }
        true
    }

    /// Keeps a message that is to be run with others, `of` of them at most.
    pub(super) fn hold(self: &Arc<Self>, ticket: Ticket, of: usize) -> Held {
        let mut tasks = self.tasks();
        if tasks.contains_key(&ticket) {
            return Held::Known;
        }
        if tasks.values().filter(|task| task.of > 1).count() >= BATCHED_MAX {
            return Held::Full(ticket);
        }
        tasks.insert(ticket.clone(), Task::new(of.max(1)));
        drop(tasks);
        Held::Here(Place { running: Arc::clone(self), ticket })
    }

    /// Ends when nobody wants any of these any more.
    pub(super) async fn all_lost(&self, tickets: &[Ticket]) {
        loop {
            let mut lost = std::pin::pin!(self.lost.notified());
            lost.as_mut().enable();
            if !tickets.iter().any(|ticket| self.tasks().contains_key(ticket)) {
                return;
            }
            lost.await;
        }
    }

    /// Nobody wants it any more: it is stopped, if its call is under way. Whether it was.
    pub(super) fn lose(&self, ticket: &Ticket) -> bool {
        let mut tasks = self.tasks();
        let Some(task) = tasks.get_mut(ticket) else { return false };
        if task.settles {
            task.lost = true;
            return false;
        }
        task.stop();
        tasks.remove(ticket);
        drop(tasks);
        self.freed.notify_one();
        self.lost.notify_waiters();
        true
    }

    /// Stops all of them.
    pub(super) fn end(&self) {
        let all = std::mem::take(&mut *self.tasks());
        all.values().for_each(Task::stop);
    }
}

/// What one queue may have.
fn share(bound: usize) -> usize {
    bound.div_ceil(2).max(1)
}

impl Task {
    const fn new(of: usize) -> Self {
        Self { abort: None, of, batch: None, settles: false, lost: false }
    }

    fn stop(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl Place {
    /// Its call is over: what is left is to say so.
    pub(super) fn settles(&self) {
        if let Some(task) = self.running.tasks().get_mut(&self.ticket) {
            task.settles = true;
        }
    }

    /// It is run by one call with the others of this number.
    pub(super) fn joins(&self, batch: u64) {
        if let Some(task) = self.running.tasks().get_mut(&self.ticket) {
            task.batch = Some(batch);
        }
    }

    /// Whether it is still wanted.
    pub(super) fn is_held(&self) -> bool {
        self.running.tasks().contains_key(&self.ticket)
    }

    /// Ends when nobody wants any of these messages any more.
    pub(super) async fn all_lost(&self, tickets: &[Ticket]) {
        self.running.all_lost(tickets).await;
    }

    /// What became of what its call did.
    pub(super) fn tell(&self, settled: &Settled) {
        match settled {
            Settled::Done => {
                let queue = (self.ticket.namespace.clone(), self.ticket.queue.clone());
                self.running.crowd().done(&queue);
            }
            Settled::Again(Why::Overtaken, _) => self.running.overtaken(&self.ticket, clock::now()),
            Settled::Again(Why::Full, _) | Settled::Never(_) | Settled::Otherwise => {}
        }
    }

    /// Its function could take no more.
    pub(super) fn refused(&self) {
        self.running.refused(&self.ticket, clock::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.tasks().remove(&self.ticket);
        self.running.freed.notify_one();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use coracle_proto::id::Namespace;

    use super::*;
    use crate::stores::Fence;
    use crate::worker::tests::until;

    fn ticket(queue: &str, message: u64) -> Ticket {
        let fence = Fence { term: 1, sequence: message };
        Ticket { namespace: Namespace::default(), queue: queue.to_owned(), message, fence }
    }

    #[tokio::test]
    async fn a_queue_has_half_of_the_places_and_a_lost_one_makes_room() {
        let (running, ended) = (Arc::<Running>::default(), Arc::new(Notify::new()));
        let begin = |ticket: Ticket| {
            let ended = Arc::clone(&ended);
            running.begin(&Handle::current(), ticket, |place| async move {
                ended.notified().await;
                drop(place);
            })
        };
        assert!(begin(ticket("a", 1)) && begin(ticket("a", 2)) && begin(ticket("b", 1)));
        assert!(!begin(ticket("a", 1)), "it runs");
        let room = |bound| running.room(bound, &BTreeMap::new(), clock::now());
        let full = |bound| room(bound).full.into_iter().map(|(_, queue)| queue).collect::<Vec<_>>();
        assert_eq!(
            (full(3), full(4), full(5), full(1)),
            (vec!["a".into()], vec!["a".into()], vec![], vec!["a".into(), "b".into()])
        );
        let places = [1, 3, 4, 5, 8, 100].map(|bound| room(bound).places);
        assert_eq!(places, [0, 0, 1, 1, 2, 48], "of one queue");
        assert!(running.lose(&ticket("a", 2)) && !running.lose(&ticket("a", 2)));
        running.freed().await;
        assert_eq!(running.tickets(), [ticket("a", 1), ticket("b", 1)]);
        ended.notify_one();
        until("one has ended", || running.count() == 1).await;
        running.end();
        assert_eq!(running.count(), 0);
    }

    pub(in crate::events) fn held(running: &Arc<Running>, ticket: Ticket, of: usize) -> Place {
        match running.hold(ticket, of) {
            Held::Here(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn messages_of_one_call_have_one_place() {
        let running = Arc::<Running>::default();
        let mut places: Vec<_> = (0..5).map(|message| held(&running, ticket("a", message), 3)).collect();
        places.iter().zip([0, 0, 0, 1, 1]).for_each(|(place, batch)| place.joins(batch));
        assert!(matches!(running.hold(ticket("a", 1), 3), Held::Known), "it is here");
        let open = [((Namespace::default(), "a".to_owned()), 1)].into();
        let room = |bound| running.room(bound, &open, clock::now());
        assert_eq!((room(8).places, room(8).full.len()), (4, 0), "two of eight are taken");
        assert_eq!((room(4).places, room(4).full.len()), (1, 0), "the second call has one more");
        let closed = running.room(4, &BTreeMap::new(), clock::now());
        assert_eq!(closed.full.len(), 1, "however few messages its calls have");
        let room = |bound| running.room(bound, &BTreeMap::new(), clock::now());
        assert_eq!(room(2).full.len(), 1);
        let tickets: Vec<_> = running.tickets();
        assert_eq!(tickets.len(), 5, "all are told of");
        for ticket in &tickets[..4] {
            assert!(running.lose(ticket));
        }
        assert!(!places[0].is_held() && places[4].is_held());
        let all_lost = running.all_lost(&tickets);
        let mut all_lost = std::pin::pin!(all_lost);
        assert!(futures::poll!(all_lost.as_mut()).is_pending());
        assert!(running.lose(&tickets[4]));
        all_lost.await;
        places.clear();
        for message in 0..BATCHED_MAX as u64 {
            places.push(held(&running, ticket("a", message), 256));
            places.last().unwrap().joins(7);
        }
        assert!(matches!(running.hold(ticket("b", 1), 256), Held::Full(_)), "of whichever queue");
        assert_eq!(room(100).full, [(Namespace::default(), "a".to_owned())], "however few calls they are");
        places.clear();
        assert_eq!(running.count(), 0);
    }

    #[tokio::test]
    async fn of_a_queue_that_was_refused_as_many_run_as_could() {
        let (running, now) = (Arc::<Running>::default(), clock::now());
        for message in 1..=3 {
            running.begin(&Handle::current(), ticket("a", message), |place| async move {
                std::future::pending::<()>().await;
                drop(place);
            });
        }
        let room = |now| {
            let room = running.room(100, &BTreeMap::new(), now);
            (room.places, room.full.into_iter().map(|(_, queue)| queue).collect::<Vec<_>>())
        };
        assert_eq!(room(now), (47, vec![]));
        running.refused(&ticket("a", 3), now);
        running.narrowed().await;
        assert!(running.lose(&ticket("a", 2)));
        running.tasks().remove(&ticket("a", 3));
        assert_eq!(room(now), (1, vec![]), "one has ended");
        running.refused(&ticket("a", 3), now);
        assert_eq!(room(now), (50, vec!["a".to_owned()]));
        let until = running.room(100, &BTreeMap::new(), now).until.unwrap();
        assert_eq!(room(until), (1, vec![]), "another one is tried");
        running.end();
    }
}
