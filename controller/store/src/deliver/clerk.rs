//! The clerk of a group: while this replica leads, it claims what is ready for the nodes that wait, one round after the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::status::Refusal;
use coracle_raft::{Role, Stop};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::plan::{Ready, Share, Taker, plan};
use super::sessions::Sessions;
use super::{LEASE_MS, lock};
use crate::clock::GroupClock;
use crate::model::{self, Asked, Claimed, Op, Outcome, Place, Ticket};
use crate::news::News;
use crate::propose::{Proposer, not_leader};
use crate::replicas::Replica;

/// While nodes wait it is looked this often whether this replica still leads.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Queues that one round deals with; the next one goes on behind them.
const QUEUES_MAX: usize = 64;

/// A message that was claimed.
pub(super) type Given = (Ticket, Claimed);

/// What a node is given at once.
#[derive(Debug)]
pub(super) struct Haul {
    /// Of the reply that it goes with.
    pub(super) number: u64,
    pub(super) given: Vec<Given>,
}

/// A node that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) node: NodeId,
    /// The number of its request.
    pub(super) request: u64,
    pub(super) taker: Taker,
    pub(super) answer: oneshot::Sender<Result<Haul, Refusal>>,
}

pub(super) struct Clerk {
    pub(super) group: GroupId,
    pub(super) replica: Replica,
    pub(super) clock: GroupClock,
    pub(super) proposer: Proposer,
    pub(super) news: Arc<News>,
    pub(super) sessions: Arc<Mutex<Sessions>>,
    /// The last queue that had its turn: something of it was given.
    pub(super) turn: Option<Place>,
}

impl Clerk {
    /// Runs until nobody can come any more.
    pub(super) async fn run(mut self, mut coming: mpsc::Receiver<Waiting>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut ready = self.news.ready();
        loop {
            tokio::select! {
                next = coming.recv() => match next {
                    Some(next) => line_up(&mut waiting, next),
                    None => return,
                },
                // Its sender lives as long as this.
                _ = ready.changed(), if !waiting.is_empty() => {}
                () = tokio::time::sleep(LOOK_EVERY), if !waiting.is_empty() => {}
            }
            while let Ok(next) = coming.try_recv() {
                line_up(&mut waiting, next);
            }
            // What becomes ready from now on wakes the wait above.
            drop(ready.borrow_and_update());
            while self.round(&mut waiting).await {}
        }
    }

    /// Serves those who wait as far as it can; whether another round may find more.
    async fn round(&mut self, waiting: &mut Vec<Waiting>) -> bool {
        waiting.retain(|it| !it.answer.is_closed());
        if waiting.is_empty() {
            return false;
        }
        let status = self.replica.status();
        if status.role != Role::Leader {
            for it in waiting.drain(..) {
                // Who asked may have left.
                let _ = it.answer.send(Err(not_leader(self.group, status.leader.as_ref())));
            }
            return false;
        }
        let ready = match self.ready() {
            Ok(ready) => ready,
            Err(stop) => {
                warn!(group = %self.group, %stop, "what is ready cannot be read");
                return false;
            }
        };
        let takers: Vec<Taker> = waiting.iter().map(|it| it.taker.clone()).collect();
        let shares = plan(&ready, &takers);
        self.turn = turn(&ready, &shares).or_else(|| self.turn.take());
        if shares.is_empty() {
            return false;
        }
        let given = self.claim(&ready, waiting, &shares).await;
        self.hand_out(waiting, given)
    }

    /// Queues with messages, from behind the one that had the last turn on, and then from the first one.
    fn ready(&self) -> Result<Vec<Ready>, Stop> {
        let view = self.replica.state();
        let queues = |after, most| {
            let found = model::active(&view, after, most)?;
            Ok::<_, Stop>(found.into_iter().map(|(queue, _)| queue).collect::<Vec<_>>())
        };
        let mut found = queues(self.turn.as_ref(), QUEUES_MAX)?;
        if found.len() < QUEUES_MAX && self.turn.is_some() {
            let first = queues(None, QUEUES_MAX - found.len())?;
            let again = first.into_iter().filter(|queue| !found.contains(queue));
            let again: Vec<_> = again.collect();
            found.extend(again);
        }
        let ready = |queue: Place| {
            let messages = model::counts(&view, &queue)?.ready;
            Ok(Ready { queue, messages: usize::try_from(messages).unwrap_or(usize::MAX) })
        };
        found.into_iter().map(ready).collect()
    }

    /// Claims the shares, all of them at once: they come into one entry or two.
    async fn claim(
        &self,
        ready: &[Ready],
        waiting: &[Waiting],
        shares: &[Share],
    ) -> Vec<(usize, Vec<Given>)> {
        let until_ms = self.clock.now_ms().saturating_add(LEASE_MS);
        let mut claims = JoinSet::new();
        for share in shares {
            let (Some(from), Some(to)) = (ready.get(share.queue), waiting.get(share.taker)) else { continue };
            let (proposer, queue, taker) = (self.proposer.clone(), from.queue.clone(), share.taker);
            let most = u32::try_from(share.most).unwrap_or(u32::MAX);
            let op = Op::Claim { queue: queue.clone(), node: to.node, most, until_ms };
            claims.spawn(async move { (taker, queue, proposer.propose(Asked { request: None, op }).await) });
        }
        let mut given = Vec::new();
        while let Some(claim) = claims.join_next().await {
            match claim {
                Ok((taker, queue, Ok(Outcome::Claimed(claimed)))) => {
                    given.push((taker, claimed.into_iter().map(|it| (ticket(&queue, &it), it)).collect()));
                }
                // Paused or deleted a moment ago, or nobody leads: the next round sees it.
                Ok((_, queue, outcome)) => {
                    debug!(group = %self.group, %queue, ?outcome, "nothing is claimed")
                }
                Err(error) => warn!(group = %self.group, %error, "a claim ended"),
            }
        }
        given
    }

    fn hand_out(&self, waiting: &mut Vec<Waiting>, given: Vec<(usize, Vec<Given>)>) -> bool {
        let mut hauls: Vec<Vec<Given>> = waiting.iter().map(|_| Vec::new()).collect();
        for (taker, some) in given {
            if let Some(haul) = hauls.get_mut(taker) {
                haul.extend(some);
            }
        }
        let mut any = false;
        let mut left = Vec::new();
        for (it, haul) in waiting.drain(..).zip(hauls) {
            if haul.is_empty() {
                left.push(it);
                continue;
            }
            any = true;
            // Noted before it is sent: what becomes of the reply is told by the node's next request.
            let tickets = haul.iter().map(|(ticket, _)| ticket.clone()).collect();
            let Some(number) = lock(&self.sessions).given(it.node, it.request, tickets) else {
                self.give_back(it.node, haul);
                continue;
            };
            if let Err(Ok(haul)) = it.answer.send(Ok(Haul { number, given: haul })) {
                let _ = lock(&self.sessions).given(it.node, it.request, Vec::new());
                self.give_back(it.node, haul.given);
            }
        }
        *waiting = left;
        any
    }

    /// Whoever asked left meanwhile: nothing of it was run.
    fn give_back(&self, node: NodeId, haul: Vec<Given>) {
        debug!(group = %self.group, %node, messages = haul.len(), "a node left before it got its messages");
        let (proposer, group) = (self.proposer.clone(), self.group);
        let tickets = haul.into_iter().map(|(ticket, _)| ticket).collect();
        tokio::spawn(async move { super::offer_back(group, &proposer, tickets).await });
    }
}

/// A node that asks again has given up what it asked before.
fn line_up(waiting: &mut Vec<Waiting>, next: Waiting) {
    waiting.retain(|it| it.node != next.node);
    waiting.push(next);
}

fn ticket(queue: &Place, claimed: &Claimed) -> Ticket {
    Ticket { queue: queue.clone(), message: claimed.message, fence: claimed.fence }
}

/// Who had the last turn: the last of those that got something. Where nobody wants anything of so many queues others are looked at.
fn turn(ready: &[Ready], shares: &[Share]) -> Option<Place> {
    let last = match shares.last() {
        Some(share) => ready.get(share.queue),
        None if ready.len() >= QUEUES_MAX => ready.last(),
        None => None,
    };
    last.map(|it| it.queue.clone())
}

#[cfg(test)]
mod tests;
