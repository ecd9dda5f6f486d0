//! What is sent to a webhook, to its wire form, and what became of it.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::InvocationId;
use coracle_proto::pb;

use super::event::headers_to_wire;
use crate::stores::webhook::{Heard, Hooked};

pub(in crate::stores) fn deliver_request(
    it: Hooked,
    webhook: &str,
    place: pb::EventsPlace,
    request: pb::KvRequest,
) -> pb::DeliverWebhookRequest {
    pb::DeliverWebhookRequest {
        place: Some(place),
        request: Some(request),
        webhook: webhook.to_owned(),
        invocation: it.invocation.to_wire(),
        headers: headers_to_wire(&it.headers),
        body: it.body,
        trace: it.trace,
        hops: it.hops,
    }
}

pub(in crate::stores) fn heard(wire: pb::DeliverWebhookReply) -> Result<Heard, DecodeError> {
    // What the sender wants to hear may be nothing.
    if wire.invocation.is_empty() {
        return Ok(Heard::Asked(wire.answer));
    }
    let invocation = InvocationId::try_from(&wire.invocation[..]).in_field("invocation")?;
    Ok(Heard::Kept { invocation, repeated: wire.repeated })
}
