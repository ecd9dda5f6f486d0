//! Gives the group's messages to the nodes that ask for them, while this replica leads (docs/adr/0014).
//!
//! A request of a node says what it runs and how much more it would. Its leases are renewed, what it does not hold any more is
//! told, and then it waits for the clerk (`clerk`), which claims for all who wait (`plan`). What a node was given in
//! a reply that it never got is offered again (`sessions`).

mod clerk;
mod plan;
mod sessions;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::Role;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::info;

use self::clerk::{Clerk, Haul};
use self::plan::Taker;
use self::sessions::{Arrived, Sessions};
use crate::clock::GroupClock;
use crate::model::{self, Asked, Claimed, Op, Outcome, Place, Ticket};
use crate::news::News;
use crate::propose::{Proposer, not_leader, refusal};
use crate::replicas::Replica;

/// How long a claim is held without a word of its node: longer than an election and a few lost requests.
pub(crate) const LEASE_MS: u64 = 15_000;
/// A claim is renewed when it has less than this left.
const RENEW_MS: u64 = LEASE_MS / 2;
/// A node that runs something asks again after this at the latest, so that its claims live.
const WAIT_RUNNING_MAX: Duration = Duration::from_secs(2);
/// One that runs nothing may wait for so long.
const WAIT_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(WAIT_RUNNING_MAX.as_millis() * 3 <= RENEW_MS as u128);
/// Nodes that wait for the clerk at once.
const WAITING_MAX: usize = 4096;

/// What a node asks.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) node: NodeId,
    /// Which start of its process.
    pub(crate) session: u64,
    /// The number of the last reply that it got; zero: none.
    pub(crate) heard: u64,
    /// What it has and has not settled.
    pub(crate) running: BTreeSet<Ticket>,
    /// How much more it would run.
    pub(crate) places: usize,
    /// Of these queues it wants no more.
    pub(crate) full: BTreeSet<Place>,
    /// How long it would wait.
    pub(crate) wait: Duration,
}

/// What it is answered.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) number: u64,
    pub(crate) given: Vec<(Ticket, Claimed)>,
    /// Of what it runs: it does not hold the claim any more.
    pub(crate) lost: Vec<Ticket>,
}

/// The deliveries of one group. Clones share them.
#[derive(Clone)]
pub(crate) struct Deliveries {
    group: GroupId,
    replica: Replica,
    clock: GroupClock,
    proposer: Proposer,
    sessions: Arc<Mutex<Sessions>>,
    clerk: mpsc::Sender<clerk::Waiting>,
    /// Told when a message that somebody runs was taken away.
    taken_away: Arc<Notify>,
}

impl Deliveries {
    /// Begins them; the clerk ends with the last clone.
    pub(crate) fn start(
        group: GroupId,
        (replica, clock): (Replica, GroupClock),
        proposer: Proposer,
        news: Arc<News>,
    ) -> Self {
        let (clerk, coming) = mpsc::channel(WAITING_MAX);
        let sessions = Arc::new(Mutex::new(Sessions::of_term(0)));
        let works = Clerk {
            group,
            replica: replica.clone(),
            clock: clock.clone(),
            proposer: proposer.clone(),
            news,
            sessions: Arc::clone(&sessions),
            turn: None,
        };
        tokio::spawn(works.run(coming));
        Self { group, replica, clock, proposer, sessions, clerk, taken_away: Arc::default() }
    }

    /// Somebody's message was taken away: whoever runs it is to hear of it now.
    pub(crate) fn take_away(&self) {
        self.taken_away.notify_waiters();
    }

    /// Messages of which nothing was run are offered again.
    pub(crate) async fn give_back(&self, tickets: Vec<Ticket>) {
        if !tickets.is_empty() {
            offer_back(self.group, &self.proposer, tickets).await;
        }
    }

    /// Waits until there is something to tell the node, or its time is over.
    ///
    /// # Errors
    /// `not-leader`, `conflict` where the node has asked again since, and what the log refuses.
    pub(crate) async fn take(&self, asked: Taking) -> Result<Taken, Refusal> {
        let status = self.replica.status();
        if status.role != Role::Leader {
            return Err(not_leader(self.group, status.leader.as_ref()));
        }
        let request = self.greet(status.term, &asked).await?;
        // What is taken away after this wakes the wait below.
        let taken_away = self.taken_away.notified();
        tokio::pin!(taken_away);
        taken_away.as_mut().enable();
        let lost = self.renew(&asked).await?;
        if !lost.is_empty() {
            return Ok(self.reply(None, lost));
        }
        let most = if asked.running.is_empty() { WAIT_MAX } else { WAIT_RUNNING_MAX };
        let until = tokio::time::sleep(asked.wait.min(most));
        tokio::pin!(until);
        let mut given = self.ask_clerk(&asked, request)?;
        tokio::select! {
            // The clerk lets go of a request after which the node has asked again.
            answer = &mut given => return Ok(self.reply(answer.ok().transpose()?, Vec::new())),
            () = &mut taken_away => {}
            () = &mut until => {}
        }
        given.close();
        // It may have come in this very moment.
        let given = given.try_recv().ok().transpose()?;
        let lost = self.lost(&asked.running)?.0;
        Ok(self.reply(given, lost))
    }

    /// What the node was given in a reply that it never got is offered again. The number of this request.
    async fn greet(&self, term: u64, asked: &Taking) -> Result<u64, Refusal> {
        let arrived = {
            let mut sessions = lock(&self.sessions);
            sessions.lead(term);
            sessions.arrived(asked.node, asked.session, asked.heard, &asked.running)
        };
        let late = || Refusal::new(Code::Conflict, format!("node {} has asked again since", asked.node));
        let Arrived { request, unheard } = arrived.ok_or_else(late)?;
        if !unheard.is_empty() {
            info!(group = %self.group, node = %asked.node, messages = unheard.len(), "a reply was lost: they are offered again");
            offer_back(self.group, &self.proposer, unheard).await;
        }
        Ok(request)
    }

    /// Lets the claims live on that the node holds; the others of those that it names.
    async fn renew(&self, asked: &Taking) -> Result<Vec<Ticket>, Refusal> {
        let (lost, late) = self.lost(&asked.running)?;
        let until_ms = self.clock.now_ms().saturating_add(LEASE_MS);
        let renewals = late.into_iter().map(|ticket| Op::Extend { ticket, until_ms }).collect();
        // One that is refused was lost a moment ago, which the next request is told.
        together(self.group, &self.proposer, renewals).await;
        if lost.is_empty() {
            return Ok(lost);
        }
        // This state may be older than the claim.
        self.replica.read_barrier().await.map_err(|error| refusal(self.group, error))?;
        Ok(self.lost(&asked.running)?.0)
    }

    /// Of these attempts: those that are not held any more, and those whose lease has little time left.
    fn lost(&self, running: &BTreeSet<Ticket>) -> Result<(Vec<Ticket>, Vec<Ticket>), Refusal> {
        let view = self.replica.state();
        let now_ms = self.clock.now_ms();
        let (mut lost, mut late) = (Vec::new(), Vec::new());
        for ticket in running {
            let claim = model::held(&view, ticket);
            match claim.map_err(|stop| Refusal::new(Code::Internal, stop.to_string()))? {
                None => lost.push(ticket.clone()),
                Some(claim) if claim.until_ms.saturating_sub(now_ms) < RENEW_MS => late.push(ticket.clone()),
                Some(_) => {}
            }
        }
        Ok((lost, late))
    }

    fn ask_clerk(
        &self,
        asked: &Taking,
        request: u64,
    ) -> Result<oneshot::Receiver<Result<Haul, Refusal>>, Refusal> {
        let (answer, given) = oneshot::channel();
        let taker = Taker { places: asked.places, full: asked.full.clone() };
        let waiting = clerk::Waiting { node: asked.node, request, taker, answer };
        self.clerk.try_send(waiting).map_err(|_| {
            Refusal::new(Code::Overloaded, format!("{WAITING_MAX} nodes wait for messages of this group"))
        })?;
        Ok(given)
    }

    fn reply(&self, haul: Option<Haul>, lost: Vec<Ticket>) -> Taken {
        match haul {
            Some(Haul { number, given }) => Taken { number, given, lost },
            None => Taken { number: lock(&self.sessions).next(), given: Vec::new(), lost },
        }
    }
}

fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives messages back of which nothing was run. What cannot be given back now lapses with its lease.
async fn offer_back(group: GroupId, proposer: &Proposer, tickets: Vec<Ticket>) {
    let offer = |ticket| Op::Offer { ticket, after_ms: 0, error: String::new() };
    together(group, proposer, tickets.into_iter().map(offer).collect()).await;
}

async fn together(group: GroupId, proposer: &Proposer, ops: Vec<Op>) {
    let mut all = tokio::task::JoinSet::new();
    for op in ops {
        let proposer = proposer.clone();
        all.spawn(async move { proposer.propose(Asked { request: None, op }).await });
    }
    while let Some(done) = all.join_next().await {
        match done {
            Ok(Ok(Outcome::Refused(why))) => info!(%group, %why, "a claim was not changed"),
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => info!(%group, %refusal, "a claim was not changed"),
            Err(error) => info!(%group, %error, "a claim was not changed"),
        }
    }
}

#[cfg(test)]
mod tests;
