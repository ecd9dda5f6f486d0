//! The cluster as a client sees it: several addresses, of which one is asked at a time.
//!
//! Everything that is sent may be sent again: reads change nothing, an upload is named by its digest, and a
//! change carries a request id that is kept on each retry, so it is made once (design, decision 4).

mod connection;
pub(crate) mod context;
mod deadline;
#[cfg(test)]
pub(crate) mod fake;
mod keeper;
mod once;
mod race;
mod target;
mod trace;
mod trouble;

use std::time::Duration;

use coracle_proto::id::{ClusterId, RequestId};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

pub(crate) use connection::{Admin, Info};
pub(crate) use deadline::{Deadline, Stopwatch, now_ms};
pub(crate) use keeper::{
    Blobs, Invocations, Keeper, Queues, STORE_WAIT_MAX, Schedules, Secrets, Seen, Service, Topics, Webhooks,
    Whose, keeps,
};
pub(crate) use once::Once;
pub(crate) use race::first;
pub(crate) use target::Targets;
pub(crate) use trace::Trace;
pub(crate) use trouble::{final_failure, is_decided};

use self::connection::Connection;
use self::trouble::{Trouble, Verdict};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::output::Talk;

/// One attempt: a node that was stopped accepts requests and answers none, so another one is asked. Longer
/// than the 5 s for which a node waits for a leader, so that its refusal is heard.
const ATTEMPT_MAX: Duration = Duration::from_secs(6);
/// How long addresses that refuse every connection are tried: a controller that crashed is back within a second.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Waits between rounds over all addresses.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Attempts that may end in a fault of the platform: it is seldom another node's too.
const FAULTS_MAX: u32 = 3;
/// Addresses that are kept: those given, and as many controllers as a cluster has voters and standing learners.
const ADDRESSES_MAX: usize = 32;

/// A connection to whichever node answers.
#[derive(Debug)]
pub(crate) struct Client {
    targets: Targets,
    /// The next of the targets to try, counted on over the rounds: their number grows.
    next: usize,
    current: Option<Connection>,
    /// Of the first node that answered: a request is never sent to another cluster.
    seen: Option<Info>,
    deadline: Deadline,
    trace: Trace,
    talk: Talk,
}

/// Whether a request that was not answered may have done something.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// It did nothing, or what is harmless to do again.
    Read,
    /// It may have.
    Change,
}

impl Client {
    /// Reaches the first node that answers.
    pub(crate) async fn connect(targets: Targets, deadline: Deadline, talk: Talk) -> Result<Self, Failure> {
        let trace = Trace::current();
        let mut client = Self { targets, next: 0, current: None, seen: None, deadline, trace, talk };
        client.reach(false).await?;
        Ok(client)
    }

    /// When everything must be done.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Begins to wait anew: for what lasts longer than any deadline.
    pub(crate) fn renew(&mut self) {
        self.deadline = Deadline::after(self.deadline.total());
    }

    /// The trace that all requests belong to.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What the first node that answered said.
    pub(crate) fn info(&self) -> Result<&Info, Failure> {
        self.seen.as_ref().ok_or_else(|| Failure::new(Exit::Connect, "no node has answered"))
    }

    /// Leaves a node whose stream broke; the next request goes to the next address.
    pub(crate) fn leave(&mut self) {
        self.current = None;
    }

    /// Makes a change, once, however often it has to be sent. `what` names it in errors.
    pub(crate) async fn change<T>(
        &mut self,
        what: &str,
        attempt: impl AsyncFn(Admin, pb::ChangeContext) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        self.change_slow(what, ATTEMPT_MAX, attempt).await
    }

    /// The same for what takes longer.
    pub(crate) async fn change_slow<T>(
        &mut self,
        what: &str,
        attempt_max: Duration,
        attempt: impl AsyncFn(Admin, pb::ChangeContext) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let context = pb::ChangeContext {
            request_id: RequestId::new(rand::random()).to_wire(),
            since: self.info()?.revision,
            expected: 0,
        };
        let attempt = async |admin| attempt(admin, context.clone()).await;
        self.ask(what, attempt_max, Purpose::Change, attempt).await
    }

    /// Asks one node after another until one answers. `what` names the request in errors.
    pub(crate) async fn call<T>(
        &mut self,
        what: &str,
        attempt: impl AsyncFn(Admin) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        self.call_slow(what, ATTEMPT_MAX, attempt).await
    }

    /// The same for what takes longer; a node that went silent meanwhile is noticed by pings.
    pub(crate) async fn call_slow<T>(
        &mut self,
        what: &str,
        attempt_max: Duration,
        attempt: impl AsyncFn(Admin) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        self.ask(what, attempt_max, Purpose::Read, attempt).await
    }

    async fn ask<T>(
        &mut self,
        what: &str,
        attempt_max: Duration,
        purpose: Purpose,
        attempt: impl AsyncFn(Admin) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let mut faults = 0;
        let mut attempts = 0;
        let mut last: Option<Trouble> = None;
        loop {
            let admin = match self.reach(attempts > 0).await {
                Ok(admin) => admin,
                Err(failure) if failure.exit != Exit::Connect => return Err(failure),
                Err(failure) => {
                    return Err(last.map_or(failure, |last| self.give_up(what, attempts, purpose, &last)));
                }
            };
            attempts += 1;
            let limit = self.deadline.at_most(attempt_max);
            let left = self.deadline.left();
            let trouble = match tokio::time::timeout(limit, attempt(admin)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Trouble::from(status),
                Err(_) => Trouble::Silent(limit),
            };
            match trouble.verdict() {
                Verdict::Final => return Err(trouble.into_failure().during(what)),
                Verdict::Elsewhere => {}
                Verdict::Fault => faults += 1,
            }
            // A refusal that took longer than what is left will not be heard again: one more attempt would turn a
            // clear answer into an unknown outcome.
            let took = left.saturating_sub(self.deadline.left());
            let in_vain = trouble.is_refusal() && self.deadline.left() < took;
            if faults >= FAULTS_MAX || in_vain || self.deadline.is_over() {
                return Err(self.give_up(what, attempts, purpose, &trouble));
            }
            if last.is_none() {
                let left = self.deadline.left();
                self.talk.say(&format!("{what}: {trouble}; trying again for up to {} s", left.as_secs()));
            }
            last = Some(trouble);
            self.leave();
            if (attempts as usize).is_multiple_of(self.targets.addresses.len()) {
                self.deadline.pause(backoff(attempts)).await;
            }
        }
    }

    fn give_up(&self, what: &str, attempts: u32, purpose: Purpose, trouble: &Trouble) -> Failure {
        let tried = format!("{what}: tried {attempts} times within {} s", self.deadline.total().as_secs());
        match trouble {
            Trouble::Refused(status) => Failure::from(status.as_ref()).during(tried),
            Trouble::Broken(_) | Trouble::Silent(_) => {
                let sentence = format!("{tried}: {trouble}");
                match purpose {
                    Purpose::Read => Failure::new(Exit::TimedOut, sentence),
                    Purpose::Change => {
                        let sentence = format!("{sentence}. The change may or may not have been made");
                        Refusal::new(Code::OutcomeUnknown, sentence).into()
                    }
                }
            }
        }
    }

    /// The node that is asked next: the present one, or the first that can be reached. `patient` means that
    /// something was sent already: its outcome is worth waiting for until the deadline.
    async fn reach(&mut self, patient: bool) -> Result<Admin, Failure> {
        if let Some(connection) = &self.current {
            return Ok(connection.admin.clone());
        }
        let patience = if patient { self.deadline } else { self.deadline.sooner(CONNECT_PATIENCE) };
        let mut round = 0;
        loop {
            let reasons = match self.open_first().await {
                Ok(connection) => return self.adopt(connection),
                Err(reasons) => reasons,
            };
            round += 1;
            if patience.is_over() {
                let hint = self.targets.hint();
                return Err(Failure::new(
                    Exit::Connect,
                    format!("cannot connect to {}; {hint}", reasons.join("; ")),
                ));
            }
            patience.pause(backoff(round)).await;
        }
    }

    /// Connects to the first of all addresses that answers, beginning with the next one.
    async fn open_first(&mut self) -> Result<Connection, Vec<String>> {
        let (count, next) = (self.targets.addresses.len(), self.next);
        let in_turn = self.targets.addresses.iter().cycle().skip(next % count.max(1)).take(count);
        let (trace, deadline) = (&self.trace, self.deadline);
        let open = async |(place, address): (usize, &Address)| {
            let opened = Connection::open(address, trace.clone(), deadline).await;
            opened.map(|connection| (place, connection)).map_err(|reason| format!("{address}: {reason}"))
        };
        let in_turn: Vec<_> = in_turn.enumerate().collect();
        let (place, connection) = first(in_turn.into_iter().map(open)).await?;
        self.next = next.wrapping_add(place + 1);
        Ok(connection)
    }

    /// Takes a connection into use, unless it leads to another cluster, and learns of further controllers.
    fn adopt(&mut self, connection: Connection) -> Result<Admin, Failure> {
        let seen = self.seen.get_or_insert_with(|| connection.info.clone());
        if seen.cluster != connection.info.cluster {
            let [first, other] = [seen.cluster, connection.info.cluster].map(|id: ClusterId| id.to_string());
            return Err(Failure::usage(format!(
                "{} belongs to the cluster {other}, the address before it to {first}: give addresses of one cluster",
                connection.address
            )));
        }
        for address in &connection.info.controllers {
            if self.targets.addresses.len() < ADDRESSES_MAX && !self.targets.addresses.contains(address) {
                self.targets.addresses.push(address.clone());
            }
        }
        let admin = connection.admin.clone();
        self.current = Some(connection);
        Ok(admin)
    }
}

fn backoff(round: u32) -> Duration {
    let (first, last) = BACKOFF;
    first.saturating_mul(1 << round.min(10)).min(last)
}

#[cfg(test)]
mod tests;
