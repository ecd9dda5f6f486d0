//! Asynchronous calls as they are accepted, and what became of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb::invocations_server::Invocations;
use coracle_proto::pb::{
    ChangeInvocationRequest, EventsPlace, GetInvocationReply, GetInvocationRequest, ListInvocationsReply,
    ListInvocationsRequest, SubmitReply, SubmitRequest,
};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Role, View};
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use super::wire;
use crate::app::Context;
use crate::model::{self, Effected, Mark, Op, Outcome, Place, Wanted};
use crate::propose::not_leader;

/// Nobody waits longer in one request.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Records of a page, unless it is told otherwise.
const PAGE_RECORDS: usize = 100;

/// Serves gateways and the command line.
pub(crate) struct InvocationsService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Invocations for InvocationsService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let asked = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = asked.place.clone().in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let function = FunctionId::parse(&namespace, &asked.function).in_field("function")?;
        let request = asked.request.clone();
        let publish = wire::publish(asked, Place::of_function(&function))?;
        let first = publish.invocation;
        let (invocation, repeated) = match leading.done(request, Op::Submit { function, publish }).await? {
            Outcome::Performed(effects) => published(&effects).unwrap_or((first, false)),
            Outcome::Done
            | Outcome::Moved { .. }
            | Outcome::Claimed(_)
            | Outcome::UploadBegun(_)
            | Outcome::Settled { .. }
            | Outcome::Refused(_) => (first, false),
        };
        let sequence = leading.sequence()?;
        Ok(Response::new(SubmitReply { invocation: invocation.to_wire(), repeated, sequence }))
    }

    async fn get(
        &self,
        request: Request<GetInvocationRequest>,
    ) -> Result<Response<GetInvocationReply>, Status> {
        let GetInvocationRequest { cluster_id, group, invocation, wait_ms, answer } = request.into_inner();
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let id = wire::invocation(&invocation)?;
        let mut view = leading.view().await?;
        if wait_ms > 0 {
            let wait = Duration::from_millis(wait_ms.into()).min(WAIT_MAX);
            view = ended(&leading, id, wait).await?;
        }
        Ok(Response::new(shown(&view, id, answer)?))
    }

    async fn list(
        &self,
        request: Request<ListInvocationsRequest>,
    ) -> Result<Response<ListInvocationsReply>, Status> {
        let asked = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = asked.place.clone().in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("place.namespace")?;
        let wanted = wanted(&asked)?;
        let most =
            if asked.limit == 0 { PAGE_RECORDS } else { usize::try_from(asked.limit).unwrap_or(usize::MAX) };
        let after = match &asked.after[..] {
            [] => None,
            bytes => Some(Mark::from_wire(bytes).in_field("after")?),
        };
        let view = leading.view().await?;
        let listing = model::invocations(&view, &namespace, &wanted, after, most);
        let listing = listing.map_err(|stop| unreadable(&stop))?;
        let after = listing.after.map_or_else(Bytes::new, Mark::to_wire);
        let records = listing.seen.into_iter().map(wire::record).collect();
        Ok(Response::new(ListInvocationsReply { records, after }))
    }

    async fn cancel(
        &self,
        request: Request<ChangeInvocationRequest>,
    ) -> Result<Response<GetInvocationReply>, Status> {
        let (leading, reply) =
            self.change(request.into_inner(), |invocation| Op::Cancel { invocation }).await?;
        leading.served.deliveries.take_away();
        Ok(Response::new(reply))
    }

    async fn retry(
        &self,
        request: Request<ChangeInvocationRequest>,
    ) -> Result<Response<GetInvocationReply>, Status> {
        let change = self.change(request.into_inner(), |invocation| Op::Revive { invocation });
        Ok(Response::new(change.await?.1))
    }
}

impl InvocationsService {
    async fn change(
        &self,
        asked: ChangeInvocationRequest,
        op: impl FnOnce(InvocationId) -> Op,
    ) -> Result<(Leading, GetInvocationReply), Refusal> {
        let leading = Leading::of(&self.context, &asked.cluster_id, asked.group)?;
        let id = wire::invocation(&asked.invocation)?;
        leading.done(asked.request, op(id)).await?;
        let reply = shown(&leading.served.replica.state(), id, false)?;
        Ok((leading, reply))
    }
}

fn published(effects: &[Effected]) -> Option<(InvocationId, bool)> {
    effects.iter().find_map(|effect| match effect {
        Effected::Published { repeated, invocation, .. } => Some((*invocation, *repeated)),
        Effected::Written { .. }
        | Effected::Deleted { .. }
        | Effected::Spread { .. }
        | Effected::Checked
        | Effected::Committed { .. } => None,
    })
}

/// A view in which it has ended, or one of so much later. What this state does not have ends the wait.
async fn ended(leading: &Leading, id: InvocationId, wait: Duration) -> Result<View, Refusal> {
    let (until, mut status) = (tokio::time::sleep(wait), leading.served.replica.watch());
    let deposed = status.until(|now| now.role != Role::Leader);
    tokio::pin!(until, deposed);
    // Not followed yet: what has ended is told however many are.
    let view = leading.served.replica.state();
    if has_ended(&view, id)? {
        return Ok(view);
    }
    let news = &leading.served.news;
    let followed = news
        .follow(id)
        .ok_or_else(|| Refusal::new(Code::Overloaded, "too many invocations are waited for at this store"))?;
    loop {
        let changed = followed.changed();
        tokio::pin!(changed);
        // What this state does not have ends the wait below.
        changed.as_mut().enable();
        let view = leading.served.replica.state();
        if has_ended(&view, id)? {
            return Ok(view);
        }
        tokio::select! {
            () = &mut changed => {}
            // Who leads now has news that this replica may never have.
            now = &mut deposed => {
                let leader = now.and_then(|now| now.leader);
                return Err(not_leader(leading.group, leader.as_ref()));
            }
            () = &mut until => return Ok(leading.served.replica.state()),
        }
    }
}

/// Nor is there anything to wait for of one that is not there.
fn has_ended(view: &View, id: InvocationId) -> Result<bool, Refusal> {
    let found = model::invocation(view, id).map_err(|stop| unreadable(&stop))?;
    Ok(found.is_none_or(|seen| seen.phase.has_ended()))
}

fn shown(view: &View, id: InvocationId, answer: bool) -> Result<GetInvocationReply, Refusal> {
    let sequence = sequence(view)?;
    let seen = model::invocation(view, id).map_err(|stop| unreadable(&stop))?;
    let seen = seen.ok_or_else(|| {
        let sentence = format!("there is no invocation {id}, or its record was forgotten");
        Refusal::new(Code::InvocationNotFound, sentence)
    })?;
    let answer = if answer { model::answer(view, id).map_err(|stop| unreadable(&stop))? } else { None };
    let answer = answer.map(wire::answer_to_wire);
    Ok(GetInvocationReply { record: Some(wire::record(seen)), answer, sequence })
}

fn wanted(asked: &ListInvocationsRequest) -> Result<Wanted, Refusal> {
    let function = (!asked.function.is_empty()).then(|| model::Name::parse(&asked.function));
    Ok(Wanted {
        function: function.transpose().in_field("function")?,
        phases: asked.states().filter_map(wire::phase).collect(),
        since_ms: asked.since_ms,
        until_ms: if asked.until_ms == 0 { u64::MAX } else { asked.until_ms },
        trace_id: asked.trace_id.clone(),
    })
}

#[cfg(test)]
mod tests;
