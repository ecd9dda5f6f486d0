//! Messages and records to and from their wire form.

pub(super) mod blob;
mod effect;
mod event;
mod manner;
mod publish;
mod record;
mod value;
mod webhook;

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{ClusterId, FunctionId, GroupId, InvocationId, Namespace, NodeId};
use coracle_proto::pb::{self, settle_reply, settle_request};
use prost::Message as _;

pub(crate) use self::effect::{effect_from_wire, effect_to_wire};
use self::event::{event, event_body};
pub(super) use self::publish::{publish_request, published};
pub(super) use self::record::seen;
use self::record::{answer, report};
pub(super) use self::value::{holds, list_request, page, value, write_request, written};
pub(super) use self::webhook::{deliver_request, heard};
use super::message::{
    Acknowledged, Delivery, Fate, Fence, Offered, Other, Settlement, Submission, Submitted, Taken, Taking,
    Ticket, Verdict,
};
use crate::clock::millis;

/// Bytes of what a call did with what it answered: a store has it in one entry of its log, of 512 KiB.
const DONE_BYTES_MAX: usize = 480 << 10;
/// A text for people is cut at so many bytes.
const ERROR_BYTES_MAX: usize = 1 << 10;

pub(super) fn submit_request(
    it: Submission,
    place: pb::EventsPlace,
    request: pb::KvRequest,
) -> pb::SubmitRequest {
    pb::SubmitRequest {
        place: Some(place),
        request: Some(request),
        function: it.function.name.to_string(),
        invocation: it.invocation.to_wire(),
        body: Some(event_body(it.event)),
        idempotency_key: it.idempotency_key,
        delay_ms: 0,
        fingerprint: it.fingerprint,
    }
}

pub(super) fn submitted(wire: &pb::SubmitReply) -> Result<Submitted, DecodeError> {
    let invocation = InvocationId::try_from(&wire.invocation[..]).in_field("invocation")?;
    Ok(Submitted { invocation, repeated: wire.repeated })
}

pub(super) fn take_request(it: &Taking, cluster: ClusterId, group: GroupId, node: NodeId) -> pb::TakeRequest {
    let full = it
        .full
        .iter()
        .map(|(namespace, queue)| pb::QueueName { namespace: namespace.to_string(), queue: queue.clone() });
    pb::TakeRequest {
        cluster_id: cluster.to_wire(),
        group: group.get(),
        node: node.get(),
        session: it.session,
        heard: it.heard,
        running: it.running.iter().map(ticket_to_wire).collect(),
        places: it.places,
        full: full.collect(),
        wait_ms: u32::try_from(millis(it.waits)).unwrap_or(u32::MAX),
    }
}

/// Tickets that cannot be read name nothing that this node could have, and are left out.
pub(super) fn taken(wire: pb::TakeReply) -> Taken {
    let lost = wire.lost.into_iter().filter_map(|it| ticket(it).ok()).collect();
    let offered = wire.deliveries.into_iter().filter_map(|it| {
        let ticket = it.ticket.clone().and_then(|it| ticket(it).ok());
        if ticket.is_none() {
            tracing::warn!(queue = ?it.ticket, "a message's ticket was not understood");
        }
        let ticket = ticket?;
        Some(match delivery(ticket.clone(), it) {
            Ok(delivery) => Offered::Delivery(Box::new(delivery)),
            Err(error) => Offered::Foreign(ticket, error.to_string()),
        })
    });
    Taken { number: wire.number, offered: offered.collect(), lost }
}

fn ticket_to_wire(it: &Ticket) -> pb::Ticket {
    pb::Ticket {
        namespace: it.namespace.to_string(),
        queue: it.queue.clone(),
        message: it.message,
        fence_term: it.fence.term,
        fence_sequence: it.fence.sequence,
    }
}

fn ticket(wire: pb::Ticket) -> Result<Ticket, DecodeError> {
    Ok(Ticket {
        namespace: wire.namespace.parse::<Namespace>().in_field("ticket.namespace")?,
        queue: wire.queue,
        message: wire.message,
        fence: Fence { term: wire.fence_term, sequence: wire.fence_sequence },
    })
}

fn delivery(ticket: Ticket, wire: pb::Delivery) -> Result<Delivery, DecodeError> {
    let namespace = ticket.namespace.to_string();
    Ok(Delivery {
        ticket,
        attempt: wire.attempt,
        function: FunctionId::parse(&namespace, &wire.function).in_field("function")?,
        invocation: InvocationId::try_from(&wire.invocation[..]).in_field("invocation")?,
        event: event(wire.body.ok_or_else(|| DecodeError::missing("body"))?)?,
        how: manner::manner(wire.how)?,
    })
}

pub(super) fn settle_request(
    it: &Settlement,
    cluster: ClusterId,
    group: GroupId,
    request: pb::KvRequest,
) -> pb::SettleRequest {
    let kept = || it.answer.as_ref().map(answer);
    let verdict = match &it.verdict {
        Verdict::Done => {
            let reply = it.reply.as_deref().cloned().map(effect::reply_to_wire);
            let effects = it.effects.iter().cloned().map(effect_to_wire).chain(reply).collect();
            let others = it.others.iter().map(other).collect();
            settle_request::Verdict::Done(fitting(pb::SettleDone { answer: kept(), effects, others }))
        }
        Verdict::Retry { after, error } => settle_request::Verdict::Retry(pb::SettleRetry {
            after_ms: after.map(millis),
            error: cut(error),
            answer: kept(),
        }),
        Verdict::Dead { error } => {
            settle_request::Verdict::Dead(pb::SettleDead { error: cut(error), answer: kept() })
        }
        Verdict::Offer { after, error } => {
            settle_request::Verdict::Offer(pb::SettleOffer { after_ms: millis(*after), error: cut(error) })
        }
    };
    pb::SettleRequest {
        cluster_id: cluster.to_wire(),
        group: group.get(),
        request: Some(request),
        ticket: Some(ticket_to_wire(&it.ticket)),
        report: it.report.as_ref().map(report),
        verdict: Some(verdict),
    }
}

fn other(it: &Other) -> pb::SettleOther {
    pb::SettleOther {
        message: it.ticket.message,
        fence_term: it.ticket.fence.term,
        fence_sequence: it.ticket.fence.sequence,
        report: it.report.as_ref().map(report),
    }
}

/// What a call did goes before what it answered: that is kept without its body where both do not fit.
fn fitting(mut done: pb::SettleDone) -> pb::SettleDone {
    if done.encoded_len() > DONE_BYTES_MAX
        && let Some(answer) = &mut done.answer
    {
        answer.body.clear();
    }
    done
}

pub(super) fn acknowledged(wire: &pb::SettleReply) -> Result<Acknowledged, DecodeError> {
    let mut lost = Vec::new();
    let (fate, effects) = match &wire.fate {
        Some(settle_reply::Fate::Done(done)) => {
            lost.clone_from(&done.lost);
            (Fate::Done, done.effects)
        }
        Some(settle_reply::Fate::Retried(_)) => (Fate::Retried, 0),
        Some(settle_reply::Fate::Dead(_)) => (Fate::Dead, 0),
        Some(settle_reply::Fate::Offered(_)) => (Fate::Offered, 0),
        None => return Err(DecodeError::missing("fate")),
    };
    Ok(Acknowledged { fate, effects: usize::try_from(effects).unwrap_or(usize::MAX), lost })
}

/// A text for people, within its bound.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(ERROR_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_program_gave_out_is_told_from_what_nobody_could_mean() {
        let ticket = pb::Ticket {
            namespace: "shop".to_owned(),
            queue: "q".to_owned(),
            message: 3,
            ..Default::default()
        };
        let delivery = |function: &str, ticket| pb::Delivery {
            ticket,
            attempt: 1,
            function: function.to_owned(),
            invocation: InvocationId::new(7).to_wire(),
            body: Some(pb::EventBody::default()),
            ..Default::default()
        };
        let nowhere = pb::Ticket { namespace: "no such name".to_owned(), ..ticket.clone() };
        let taken = taken(pb::TakeReply {
            number: 5,
            deliveries: vec![
                delivery("f", Some(ticket.clone())),
                delivery("no such name", Some(ticket.clone())),
                delivery("f", None),
                delivery("f", Some(nowhere.clone())),
            ],
            lost: vec![ticket, nowhere],
        });
        assert_eq!((taken.number, taken.offered.len(), taken.lost.len()), (5, 2, 1));
        assert!(matches!(&taken.offered[0], Offered::Delivery(it) if it.invocation == InvocationId::new(7)));
        assert!(
            matches!(&taken.offered[1], Offered::Foreign(it, why) if it.message == 3 && why.contains("function"))
        );
    }

    #[test]
    fn what_a_call_did_goes_before_what_it_answered() {
        let kept = |bytes: usize| {
            let (body, body_bytes) = (vec![b'x'; 64 << 10].into(), 64 << 10);
            let answer = Some(pb::EventAnswer { body, body_bytes, ..Default::default() });
            let check = pb::EventCheck { key: vec![b'k'; bytes].into(), ..Default::default() };
            let effects = vec![pb::EventEffect { kind: Some(pb::event_effect::Kind::Check(check)) }];
            let done = fitting(pb::SettleDone { answer, effects, others: vec![] });
            assert!(done.encoded_len() <= DONE_BYTES_MAX);
            let answer = done.answer.unwrap();
            (answer.body.len(), answer.body_bytes)
        };
        assert_eq!(kept(384 << 10), (64 << 10, 64 << 10));
        assert_eq!(kept((384 + 64) << 10), (0, 64 << 10), "with the event that it answered");
    }

    #[test]
    fn texts_for_people_are_cut_between_characters() {
        assert_eq!(cut(&format!("a{}", "é".repeat(1000))).len(), ERROR_BYTES_MAX - 1);
    }
}
