//! The services of the store that keeps messages in memory.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use coracle_proto::pb::deliveries_server::Deliveries;
use coracle_proto::pb::groups_server::Groups;
use coracle_proto::pb::invocations_server::Invocations;
use coracle_proto::pb::{self, settle_reply};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::{GROUP, Inner, State};

#[derive(Debug, Clone)]
pub(super) struct Served(pub(super) Arc<Inner>);

impl Served {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Waits until there is something, at most so long.
    async fn wait<T>(&self, wait_ms: u32, look: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let until = crate::clock::now() + Duration::from_millis(wait_ms.into());
        loop {
            if let Some(found) = look(&mut self.state()) {
                return Some(found);
            }
            if crate::clock::now() >= until {
                return None;
            }
            let _ = tokio::time::timeout(Duration::from_millis(5), self.0.changed.notified()).await;
        }
    }
}

impl State {
    fn change(
        &mut self,
        request: &pb::ChangeInvocationRequest,
        to: impl Fn(pb::InvocationState) -> Option<pb::InvocationState>,
    ) -> Result<pb::GetInvocationReply, Refusal> {
        self.changes += 1;
        self.seen(&request.invocation)?;
        for message in self.messages.iter_mut().filter(|it| it.delivery.invocation == request.invocation) {
            let conflict = || Refusal::new(Code::Conflict, "it is something else");
            message.state = to(message.state).ok_or_else(conflict)?;
            message.delivery.attempt = 0;
        }
        self.seen(&request.invocation)
    }
}

#[tonic::async_trait]
impl Deliveries for Served {
    async fn take(&self, request: Request<pb::TakeRequest>) -> Result<Response<pb::TakeReply>, Status> {
        let request = request.into_inner();
        self.state().takes.push(request.clone());
        let told = self.wait(request.wait_ms, |state| {
            if state.follows {
                return Some(Err(Refusal::new(Code::NotLeader, "another one leads")));
            }
            let lost: Vec<_> =
                request.running.iter().filter(|it| state.claimed(it).is_none()).cloned().collect();
            let deliveries = state.give(&request);
            let something = !deliveries.is_empty() || !lost.is_empty();
            something.then(|| {
                state.number += 1;
                Ok(pb::TakeReply { number: state.number, deliveries, lost })
            })
        });
        let nothing = || Ok(pb::TakeReply { number: self.state().number, ..Default::default() });
        Ok(Response::new(told.await.unwrap_or_else(nothing)?))
    }

    async fn settle(&self, request: Request<pb::SettleRequest>) -> Result<Response<pb::SettleReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.settles.push(request.clone());
        let reply = if state.comes(request.request.as_ref())? {
            state.settle(request)?
        } else {
            pb::SettleReply { fate: Some(settle_reply::Fate::Done(pb::SettledDone::default())) }
        };
        self.0.changed.notify_waiters();
        state.answers(reply)
    }
}

#[tonic::async_trait]
impl Invocations for Served {
    async fn submit(&self, request: Request<pb::SubmitRequest>) -> Result<Response<pb::SubmitReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.submits.push(request.clone());
        let reply = if state.comes(request.request.as_ref())? {
            state.submit(request)?
        } else {
            let sequence = state.sequence;
            pb::SubmitReply { invocation: request.invocation, repeated: false, sequence }
        };
        self.0.changed.notify_waiters();
        state.answers(reply)
    }

    async fn get(
        &self,
        request: Request<pb::GetInvocationRequest>,
    ) -> Result<Response<pb::GetInvocationReply>, Status> {
        let request = request.into_inner();
        let ended = |state: &mut State| {
            if state.follows {
                return Some(Err(Refusal::new(Code::NotLeader, "another one leads")));
            }
            let seen = state.seen(&request.invocation);
            let over = |it: &pb::GetInvocationReply| {
                let state = it.record.as_ref().unwrap().state();
                !matches!(state, pb::InvocationState::Waiting | pb::InvocationState::Running)
            };
            seen.as_ref().map_or(true, over).then_some(seen)
        };
        let seen = self.wait(request.wait_ms, ended).await;
        let mut reply = seen.unwrap_or_else(|| self.state().seen(&request.invocation))?;
        if !request.answer {
            reply.answer = None;
        }
        Ok(Response::new(reply))
    }

    async fn list(
        &self,
        _: Request<pb::ListInvocationsRequest>,
    ) -> Result<Response<pb::ListInvocationsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cancel(
        &self,
        request: Request<pb::ChangeInvocationRequest>,
    ) -> Result<Response<pb::GetInvocationReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.comes(request.request.as_ref())?;
        let cancelled = |from| match from {
            pb::InvocationState::Waiting | pb::InvocationState::Running => {
                Some(pb::InvocationState::Cancelled)
            }
            _ => None,
        };
        let reply = state.change(&request, cancelled)?;
        self.0.changed.notify_waiters();
        state.answers(reply)
    }

    async fn retry(
        &self,
        request: Request<pb::ChangeInvocationRequest>,
    ) -> Result<Response<pb::GetInvocationReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.comes(request.request.as_ref())?;
        let revived = |from| (from == pb::InvocationState::Dead).then_some(pb::InvocationState::Waiting);
        let reply = state.change(&request, revived)?;
        self.0.changed.notify_waiters();
        state.answers(reply)
    }
}

#[tonic::async_trait]
impl Groups for Served {
    async fn status(
        &self,
        _: Request<pb::GroupsStatusRequest>,
    ) -> Result<Response<pb::GroupsStatusReply>, Status> {
        let mut state = self.state();
        state.asked += 1;
        let role = if state.follows { pb::GroupRole::Follower } else { pb::GroupRole::Leader };
        let group = pb::GroupStatus {
            group: GROUP,
            role: role.into(),
            sequence: state.sequence,
            ..Default::default()
        };
        Ok(Response::new(pb::GroupsStatusReply { groups: vec![group], ..Default::default() }))
    }

    async fn arrange(&self, _: Request<pb::ArrangeRequest>) -> Result<Response<pb::ArrangeReply>, Status> {
        Err(Status::unimplemented(""))
    }
}
