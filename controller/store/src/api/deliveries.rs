//! Messages for the nodes that run them, and what came of each attempt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::codec::InField as _;
use coracle_proto::id::NodeId;
use coracle_proto::pb::deliveries_server::Deliveries;
use coracle_proto::pb::settle_reply::Fate as WireFate;
use coracle_proto::pb::settle_request::Verdict as WireVerdict;
use coracle_proto::pb::{
    Delivery, QueueName, SettleOther, SettleReply, SettleRequest, SettledDead, SettledDone, SettledOffered,
    SettledRetried, TakeReply, TakeRequest,
};
use coracle_proto::status::Refusal;
use coracle_raft::View;
use tonic::{Request, Response, Status};

use super::leading::{Leading, unreadable};
use super::{effects, manner, wire};
use crate::app::Context;
use crate::deliver::{Taken, Taking};
use crate::model::{
    self, Answer, Claimed, Fate, Fence, Op, Other, Outcome, Place, Ticket, Verdict, kept_error,
};

/// Serves data planes.
pub(crate) struct DeliveriesService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Deliveries for DeliveriesService {
    async fn take(&self, request: Request<TakeRequest>) -> Result<Response<TakeReply>, Status> {
        let asked = request.into_inner();
        let leading = Leading::of(&self.context, &asked.cluster_id, asked.group)?;
        let taken = leading.served.deliveries.take(taking(asked)?).await?;
        let (reply, homeless) = reply(&leading.served.replica.state(), taken)?;
        // Nobody runs them: they are not to wait until their lease is over.
        leading.served.deliveries.give_back(homeless).await;
        Ok(Response::new(reply))
    }

    async fn settle(&self, request: Request<SettleRequest>) -> Result<Response<SettleReply>, Status> {
        let asked = request.into_inner();
        let leading = Leading::of(&self.context, &asked.cluster_id, asked.group)?;
        let request = asked.request.clone();
        let fate = match leading.done(request, settlement(asked)?).await? {
            Outcome::Settled { fate, effects, lost } => settled(fate, effects.len(), lost),
            // What was offered.
            Outcome::Done
            | Outcome::Performed(_)
            | Outcome::Moved { .. }
            | Outcome::Claimed(_)
            | Outcome::UploadBegun(_)
            | Outcome::Refused(_) => WireFate::Offered(SettledOffered {}),
        };
        Ok(Response::new(SettleReply { fate: Some(fate) }))
    }
}

fn taking(asked: TakeRequest) -> Result<Taking, Refusal> {
    let running = asked.running.iter().map(wire::ticket).collect::<Result<BTreeSet<_>, _>>()?;
    let full = |it: &QueueName| wire::place(&it.namespace, &it.queue, "full");
    let full = asked.full.iter().map(full).collect::<Result<BTreeSet<Place>, _>>()?;
    Ok(Taking {
        node: NodeId::new(asked.node),
        session: asked.session,
        heard: asked.heard,
        running,
        places: usize::try_from(asked.places).unwrap_or(usize::MAX),
        full,
        wait: Duration::from_millis(asked.wait_ms.into()),
    })
}

/// With the messages' bodies; attempts that nobody can make, because their queue has lost its function in this moment or the message was
/// taken away.
fn reply(view: &View, taken: Taken) -> Result<(TakeReply, Vec<Ticket>), Refusal> {
    let (mut deliveries, mut homeless) = (Vec::with_capacity(taken.given.len()), Vec::new());
    for (ticket, claimed) in taken.given {
        match delivery(view, &ticket, claimed)? {
            Some(delivery) => deliveries.push(delivery),
            None => homeless.push(ticket),
        }
    }
    let lost = taken.lost.iter().map(wire::ticket_to_wire).collect();
    Ok((TakeReply { number: taken.number, deliveries, lost }, homeless))
}

fn delivery(view: &View, ticket: &Ticket, claimed: Claimed) -> Result<Option<Delivery>, Refusal> {
    let found = model::message(view, &ticket.queue, ticket.message).map_err(|stop| unreadable(&stop))?;
    let queue = model::queue(view, &ticket.queue).map_err(|stop| unreadable(&stop))?;
    let (Some(found), Some(queue)) = (found, queue) else { return Ok(None) };
    let (how, Some(function)) = (manner::to_wire(&queue.settings.manner), queue.target) else {
        return Ok(None);
    };
    Ok(Some(Delivery {
        ticket: Some(wire::ticket_to_wire(ticket)),
        attempt: claimed.attempt,
        function: function.to_string(),
        invocation: found.delivery.invocation.to_wire(),
        accepted_ms: found.body.published_ms,
        body: Some(wire::body_to_wire(found.body)),
        how,
    }))
}

fn settlement(asked: SettleRequest) -> Result<Op, Refusal> {
    let ticket = wire::ticket(&asked.ticket.in_field("ticket")?)?;
    // What is not kept anyway has no place in an entry, which has a bound of its own.
    let report = asked.report.map(|report| wire::report(report).kept());
    let (verdict, answer) = match asked.verdict.in_field("verdict")? {
        WireVerdict::Offer(it) => {
            return Ok(Op::Offer { ticket, after_ms: it.after_ms, error: kept_error(&it.error) });
        }
        WireVerdict::Done(it) => {
            let effects = effects::of_call(ticket.queue.namespace.as_str(), it.effects)?;
            let others = it.others.into_iter().map(other).collect();
            (Verdict::Done { effects, others }, it.answer)
        }
        WireVerdict::Retry(it) => {
            (Verdict::Retry { after_ms: it.after_ms, error: kept_error(&it.error) }, it.answer)
        }
        WireVerdict::Dead(it) => (Verdict::Dead { error: kept_error(&it.error) }, it.answer),
    };
    let answer = answer.map(wire::answer).transpose()?.map(Answer::kept);
    Ok(Op::Settle { ticket, verdict, report, answer })
}

fn other(wire: SettleOther) -> Other {
    let fence = Fence { term: wire.fence_term, sequence: wire.fence_sequence };
    Other { message: wire.message, fence, report: wire.report.map(|report| wire::report(report).kept()) }
}

fn settled(fate: Fate, effects: usize, lost: Vec<u64>) -> WireFate {
    let effects = u32::try_from(effects).unwrap_or(u32::MAX);
    match fate {
        Fate::Done => WireFate::Done(SettledDone { effects, lost }),
        Fate::Retried { at_ms } => WireFate::Retried(SettledRetried { at_ms }),
        Fate::Dead(cause) => WireFate::Dead(SettledDead { cause: wire::cause(cause).to_owned() }),
    }
}

#[cfg(test)]
mod tests;
