//! What somebody sent to a webhook: checked by what the leader knows, and kept before it is answered.

use bytes::Bytes;
use coracle_proto::pb::{DeliverWebhookReply, DeliverWebhookRequest};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;

use super::super::leading::{Leading, sequence, unreadable};
use super::super::{spec, wire};
use super::exists;
use crate::app::Context;
use crate::model::{
    self, Arrived, Effect, Effected, MESSAGE_BYTES_MAX, Op, Outcome, Place, Sent, Signed, Terms, Wrong,
};

/// Checks it and puts it into the webhook's queue, once for each id of its sender's.
pub(super) async fn deliver(
    context: &Context,
    asked: DeliverWebhookRequest,
) -> Result<DeliverWebhookReply, Refusal> {
    let DeliverWebhookRequest { place, request, webhook, invocation, headers, body, trace, hops } = asked;
    let (leading, webhook) = spec::named(context, place, &webhook, "webhook")?;
    let invocation = wire::invocation(&invocation)?;
    check_size(&body)?;
    let view = leading.view().await?;
    let terms = exists(&view, &webhook)?.terms;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect::<Vec<_>>();
    let arrived = Arrived { headers: &headers, body: &body };
    let now_ms = leading.known_ms().await;
    let signed = verified(&view, (&webhook, &terms), arrived, now_ms)?.map_err(|wrong| {
        leading.served.refused.count(&webhook, leading.served.replica.status().term, wrong.cause());
        Refusal::new(Code::WebhookRefused, format!("what came to webhook '{webhook}' is refused: {wrong}"))
    })?;
    if let Some(answer) = model::challenge(terms.form, &body) {
        return Ok(DeliverWebhookReply { answer, sequence: sequence(&view)?, ..Default::default() });
    }
    let sent = Sent { webhook: &webhook, form: terms.form, signed: &signed, arrived, now_ms };
    let publish = sent.publish(invocation, trace, body.clone());
    let publish = publish.map_err(|error| Refusal::new(Code::InvalidArgument, error.to_string()))?;
    let effects = vec![Effect::Publish(Box::new(publish))];
    let outcome = leading.done(request, Op::Perform { effects, hops: hops.into() }).await?;
    reply(&leading, &outcome)
}

fn check_size(body: &Bytes) -> Result<(), Refusal> {
    if body.len() <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let sentence = format!("the body has {} bytes, and at most {MESSAGE_BYTES_MAX} are taken", body.len());
    Err(Refusal::new(Code::RequestTooLarge, sentence))
}

/// By both values of a secret that was changed.
fn verified(
    view: &View,
    (webhook, terms): (&Place, &Terms),
    arrived: Arrived<'_>,
    now_ms: u64,
) -> Result<Result<Signed, Wrong>, Refusal> {
    let secret = Place { namespace: webhook.namespace.clone(), name: terms.secret.clone() };
    let secret = model::secret(view, &secret).map_err(|stop| unreadable(&stop))?;
    let good = secret.as_ref().map(|secret| secret.good(now_ms)).unwrap_or_default();
    Ok(model::verify(terms.form, arrived, &good, (terms.tolerance_ms, now_ms)))
}

fn reply(leading: &Leading, outcome: &Outcome) -> Result<DeliverWebhookReply, Refusal> {
    let Outcome::Performed(effects) = outcome else {
        return Err(Refusal::new(Code::Internal, "a message was published, and it is not told which"));
    };
    let [Effected::Published { repeated, invocation, .. }] = effects[..] else {
        return Err(Refusal::new(Code::Internal, "a message was published, and it is not told which"));
    };
    let (invocation, sequence) = (invocation.to_wire(), leading.sequence()?);
    Ok(DeliverWebhookReply { invocation, repeated, answer: Bytes::new(), sequence })
}
