//! The messages of one data group: asked for, given out to tasks, and let go when nobody wants them any more.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_proto::status::Refusal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::batch::{Added, Batches, Member};
use super::narrow::Queue;
use super::running::{Held, Room, Running};
use super::{Inner, attempt, together};
use crate::clock;
use crate::stores::{Delivery, Offered, Taken, Taking, Ticket};

/// A store waits so long for something to tell. Each request renews the leases of what runs, of fifteen seconds.
const WAITS: Duration = Duration::from_secs(5);
/// A request beyond what the store waits: who leads may have to be found.
const ASK_MAX: Duration = Duration::from_secs(3);
const _: () = assert!(WAITS.as_secs() + ASK_MAX.as_secs() < 15);
/// After a request that nobody answered, or that told nothing though it need not have waited.
const PAUSE: Duration = Duration::from_millis(100);
/// Where places were short the next request waits for so long after one is free: several come free together.
const GATHER: Duration = Duration::from_millis(20);
/// Messages that a store gives in one reply at most.
const REPLY_MAX: usize = 32;
/// At the end: to tell that nothing is wanted any more, and for the last settlements.
const FAREWELL: Duration = Duration::from_secs(1);

/// The task of one group.
pub(super) struct Taker {
    inner: Arc<Inner>,
    group: GroupId,
    running: Arc<Running>,
    /// The number of the last reply.
    heard: u64,
    /// What waits for others.
    batches: Arc<Batches>,
    /// Tasks of batches.
    together: JoinSet<()>,
    /// Ends what still runs after the drain time.
    cut: CancellationToken,
}

impl Taker {
    pub(super) fn new(inner: Arc<Inner>, group: GroupId) -> Self {
        let (running, batches, cut) = (Arc::default(), Arc::default(), CancellationToken::new());
        Self { inner, group, running, heard: 0, batches, together: JoinSet::new(), cut }
    }

    /// Takes until `stop`, then goes on telling what runs until that has ended.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let bound = self.inner.bound();
            stop.run_until_cancelled(self.round(bound)).await;
        }
        self.give_back();
        // What was on its way in that moment goes to others when this node says that it did not get it.
        let _ = tokio::time::timeout(FAREWELL, self.ask(self.room(0), Duration::ZERO)).await;
        if tokio::time::timeout(self.inner.options.drain_timeout, self.drained()).await.is_err() {
            let left = self.running.count();
            tracing::warn!(group = %self.group, left, "messages were cut off: their calls did not end in time");
            self.cut.cancel();
            let _ = tokio::time::timeout(FAREWELL, self.drained()).await;
        }
        self.running.end();
        self.together.shutdown().await;
    }

    /// Ends when nothing runs.
    async fn drained(&mut self) {
        while self.running.count() > 0 {
            self.round(0).await;
        }
    }

    /// One request, with what it brings. At most `bound` messages run at once.
    async fn round(&mut self, bound: usize) {
        while self.together.try_join_next().is_some() {}
        let room = self.room(bound);
        let (short, until) = (room.places == 0 || !room.full.is_empty(), room.until);
        let running = Arc::clone(&self.running);
        let freed = async {
            if !short {
                return std::future::pending().await;
            }
            running.freed().await;
            tokio::time::sleep(GATHER).await;
        };
        let widened = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = self.ask(room, WAITS) => match taken {
                Ok(taken) => self.accept(taken),
                Err(refusal) => {
                    tracing::debug!(group = %self.group, code = %refusal.code, %refusal, "no messages can be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = freed => {}
            () = widened => {}
            // What was asked for would be refused.
            () = self.running.narrowed() => {}
        }
    }

    fn room(&self, bound: usize) -> Room {
        self.running.room(bound, &self.batches.room(), clock::now())
    }

    async fn ask(&self, room: Room, waits: Duration) -> Result<Taken, Refusal> {
        let running = self.running.tickets();
        let places = u32::try_from(room.places).unwrap_or(u32::MAX);
        let (session, full) = (self.inner.session, room.full);
        let taking = Taking { session, heard: self.heard, running, places, full, waits };
        let deadline = clock::now() + waits + ASK_MAX;
        self.inner.stores.take(self.group, self.inner.options.node, &taking, deadline).await
    }

    fn accept(&mut self, taken: Taken) {
        self.heard = taken.number;
        for ticket in taken.lost {
            if self.running.lose(&ticket) {
                self.inner.metrics.events.lost.inc();
                tracing::info!(
                    group = %self.group, queue = ticket.queue, message = ticket.message, fence = %ticket.fence,
                    "a message is not wanted any more: its call is stopped"
                );
            }
        }
        let mut begun = Vec::new();
        // Where a reply has all that it may there is more behind it.
        let least = if taken.offered.len() >= REPLY_MAX { GATHER } else { Duration::ZERO };
        for offered in taken.offered {
            let (ticket, delivery) = match offered {
                Offered::Delivery(delivery) if delivery.how.batch.is_some() => {
                    begun.extend(self.join(delivery));
                    continue;
                }
                Offered::Delivery(delivery) => (delivery.ticket.clone(), Ok(delivery)),
                Offered::Foreign(ticket, why) => (ticket, Err(why)),
            };
            let (inner, group, cut) = (Arc::clone(&self.inner), self.group, self.cut.clone());
            let begun = self.running.begin(&self.inner.calls, ticket.clone(), |place| async move {
                match delivery {
                    Ok(delivery) => attempt::run(&inner, group, *delivery, &place, &cut).await,
                    Err(why) => attempt::give_back(&inner, group, ticket, why).await,
                }
            });
            if begun {
                self.inner.metrics.events.taken.inc();
            }
        }
        // Not before: all that came together may be together.
        for (queue, number, wait) in begun {
            self.wait(queue, number, wait.max(least));
        }
    }

    /// A message joins others of its queue; which batch is to wait for more and how long, where it is the first.
    fn join(&mut self, delivery: Box<Delivery>) -> Option<(Queue, u64, Duration)> {
        let batch = delivery.how.batch?;
        let place = match self.running.hold(delivery.ticket.clone(), batch.most) {
            Held::Here(place) => place,
            Held::Known => return None,
            Held::Full(ticket) => {
                self.refuse(ticket);
                return None;
            }
        };
        self.inner.metrics.events.taken.inc();
        let queue = (delivery.ticket.namespace.clone(), delivery.ticket.queue.clone());
        let Added { full, begun } = self.batches.add(&queue, Member { delivery, place }, batch);
        for members in full {
            let (inner, group, cut) = (Arc::clone(&self.inner), self.group, self.cut.clone());
            let run = async move { together::run(&inner, group, members, &cut).await };
            self.together.spawn_on(run, &self.inner.calls);
        }
        begun.map(|number| (queue, number, batch.wait))
    }

    /// Runs a batch when it has waited for so long, if it was not full before.
    fn wait(&mut self, queue: Queue, number: u64, wait: Duration) {
        // Only this task adds to it, so it is not full before somebody waits for it.
        if !self.batches.is_open(&queue, number) {
            return;
        }
        let (inner, group, cut) = (Arc::clone(&self.inner), self.group, self.cut.clone());
        let (batches, slept) = (Arc::clone(&self.batches), queue.clone());
        let run = async move {
            tokio::time::sleep(wait).await;
            if let Some(members) = batches.due(&queue, number) {
                together::run(&inner, group, members, &cut).await;
            }
        };
        let sleeper = self.together.spawn_on(run, &self.inner.calls);
        self.batches.sleeps(&slept, number, sleeper);
    }

    /// Gives a message back that would wait here beside too many others.
    fn refuse(&self, ticket: Ticket) {
        let (inner, group) = (Arc::clone(&self.inner), self.group);
        self.running.begin(&self.inner.calls, ticket.clone(), |place| async move {
            attempt::refuse(&inner, group, ticket).await;
            drop(place);
        });
    }

    /// Nothing waits for others any more.
    fn give_back(&mut self) {
        let (inner, group, waiting) = (Arc::clone(&self.inner), self.group, self.batches.take_all());
        let back = async move { together::give_back(&inner, group, waiting).await };
        self.together.spawn_on(back, &self.inner.calls);
    }
}
