//! One question, until whoever leads the group has answered it.

use std::future::Future;
use std::time::{Duration, Instant};

use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::trouble::{Trouble, Verdict};
use super::{Stores, no_store};
use crate::clock;
use crate::view::View;

/// Before the members of a group are asked once more: an election takes longer.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// One member answers within this, beyond what it is asked to wait itself.
const ANSWER_MAX: Duration = Duration::from_millis(2500);

/// With less time than this nobody is asked once more: an answer that is not waited for is one that was lost.
const ATTEMPT_MIN: Duration = Duration::from_millis(50);

/// Of which group something is asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) group: GroupId,
    pub(super) deadline: Instant,
    /// How long the store itself may wait before it answers.
    pub(super) waits: Duration,
    /// Whether it changes something: then it makes a difference whether an answer was lost.
    pub(super) changes: bool,
}

impl Question {
    /// What is so.
    pub(super) const fn read(group: GroupId, deadline: Instant) -> Self {
        Self { group, deadline, waits: Duration::ZERO, changes: false }
    }

    /// What is to be done.
    pub(super) const fn change(group: GroupId, deadline: Instant) -> Self {
        Self { group, deadline, waits: Duration::ZERO, changes: true }
    }
}

impl Stores {
    /// Asks whoever answered last, and where that one does not lead any more the group's other members in turn, again
    /// and again until the deadline.
    ///
    /// # Errors
    /// What the leader refused; [`Code::NoStore`] where there is no such group; at the deadline why nobody answered, which is
    /// [`Code::OutcomeUnknown`] where an answer was lost before.
    pub(super) async fn ask<T, F>(
        &self,
        question: Question,
        ask: impl Fn(Channel) -> F + Send + Sync,
    ) -> Result<T, Refusal>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let Question { group, deadline, .. } = question;
        let (mut lost, mut last, mut changes) = (None, None, self.inner.view.subscribe());
        loop {
            for (node, address) in self.members(group)? {
                if last.is_some() && left(deadline) < ATTEMPT_MIN {
                    return Err(in_vain(last, lost));
                }
                let trouble = match self.attempt(question, &address, &ask).await {
                    Ok(answer) => {
                        self.known().leads(group, node);
                        return Ok(answer);
                    }
                    Err(trouble) => trouble,
                };
                tracing::debug!(%group, %node, ?trouble, "a store did not answer");
                if trouble.verdict() == Verdict::Final {
                    self.known().leads(group, node);
                    let lost = lost.filter(|_| !trouble.tells_of_all());
                    return Err(in_vain(Some(trouble), lost));
                }
                self.known().leads_not(group, node);
                if question.changes && trouble.may_be_done() {
                    lost = Some(trouble.clone());
                }
                last = Some(trouble);
            }
            let left = left(deadline);
            if left < ATTEMPT_MIN {
                return Err(in_vain(last, lost));
            }
            // A new member, or a new address, is asked soon. The view changes all the time, mostly by what is not looked
            // at here.
            tokio::time::sleep(PAUSE_MIN.min(left)).await;
            let _ = tokio::time::timeout(PAUSE.min(left), changes.changed()).await;
        }
    }

    async fn attempt<T, F>(
        &self,
        question: Question,
        address: &str,
        ask: &(impl Fn(Channel) -> F + Send + Sync),
    ) -> Result<T, Trouble>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let channel = self.inner.channels.to(address).map_err(|error| Trouble::Broken(error.to_string()))?;
        let limit = question.waits.saturating_add(ANSWER_MAX).min(left(question.deadline));
        match tokio::time::timeout(limit, ask(channel)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Trouble::Silent(limit)),
        }
    }

    /// How many members a group has, and those of them whose addresses are known.
    pub(super) fn seats(&self, group: GroupId) -> Result<(usize, Vec<(NodeId, String)>), Refusal> {
        let view = self.inner.view.load();
        let known = view.routing.content.groups().get(&group).ok_or_else(no_store)?;
        let with_address = known.members.iter().filter_map(|node| Some((*node, address(&view, *node)?)));
        Ok((known.members.len(), with_address.collect()))
    }

    /// The members of a group with their addresses, whoever led it last first.
    fn members(&self, group: GroupId) -> Result<Vec<(NodeId, String)>, Refusal> {
        let (_, mut members) = self.seats(group)?;
        let leader = self.known().leader(group);
        members.sort_by_key(|(node, _)| Some(*node) != leader);
        Ok(members)
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

fn address(view: &View, node: NodeId) -> Option<String> {
    let address = &view.node(node)?.addresses.store;
    (!address.is_empty()).then(|| address.clone())
}

/// What is told at the deadline. An answer that was lost may have been that it is done: what was refused after that says
/// nothing of it.
fn in_vain(last: Option<Trouble>, lost: Option<Trouble>) -> Refusal {
    let Some(last) = last else {
        return Refusal::new(Code::NoQuorum, "no store of the data group is known");
    };
    match lost {
        Some(lost) => {
            let (lost, last) = (lost.into_refusal(), last.into_refusal());
            let said = format!("an answer was lost ({lost}), and then nobody could tell: {last}");
            Refusal::new(Code::OutcomeUnknown, said)
        }
        None => last.into_refusal(),
    }
}

/// A request that carries the current span's context.
pub(super) fn traced<T>(message: T) -> tonic::Request<T> {
    trace::request(message)
}
