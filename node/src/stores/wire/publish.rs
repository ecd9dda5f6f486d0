//! What is published, and what became of it.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::InvocationId;
use coracle_proto::pb;

use super::event::event_body;
use crate::clock::millis;
use crate::stores::message::{Message, Published};

pub(in crate::stores) fn publish_request(
    messages: Vec<Message>,
    to: &str,
    place: pb::EventsPlace,
    request: pb::KvRequest,
) -> pb::PublishRequest {
    pb::PublishRequest {
        place: Some(place),
        request: Some(request),
        to: to.to_owned(),
        messages: messages.into_iter().map(message).collect(),
    }
}

pub(super) fn message(it: Message) -> pb::PublishMessage {
    pb::PublishMessage {
        invocation: it.invocation.to_wire(),
        body: Some(event_body(it.event)),
        group: it.group,
        delay_ms: millis(it.delay),
        fingerprint: bytes::Bytes::new(),
    }
}

/// What became of `count` messages.
pub(in crate::stores) fn published(
    wire: &pb::PublishReply,
    count: usize,
) -> Result<Vec<Published>, DecodeError> {
    let told = wire.published.len();
    if told != count {
        return Err(DecodeError::new("published", format!("{count} messages, and words of {told}")));
    }
    wire.published.iter().map(one).collect()
}

fn one(wire: &pb::Published) -> Result<Published, DecodeError> {
    let invocation = Some(&wire.invocation[..]).filter(|bytes| !bytes.is_empty());
    Ok(Published {
        invocation: invocation.map(InvocationId::try_from).transpose().in_field("published.invocation")?,
        repeated: wire.repeated,
        message: (wire.message > 0).then_some(wire.message),
        copies: wire.copies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_a_word_of_it() {
        let told = |count: usize, invocation: &'static [u8]| {
            let invocation = bytes::Bytes::from_static(invocation);
            let one = pb::Published { invocation, repeated: true, message: 0, copies: 3 };
            published(&pb::PublishReply { published: vec![one; count], sequence: 1 }, 1)
                .map_err(|error| error.field)
        };
        let word = |invocation| Published { invocation, repeated: true, message: None, copies: 3 };
        let one = Some(InvocationId::new(1));
        assert_eq!(told(1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), Ok(vec![word(one)]));
        assert_eq!(told(1, &[]), Ok(vec![word(None)]));
        assert_eq!(told(1, &[1]), Err("published.invocation"));
        assert_eq!(told(0, &[]), Err("published"));
        assert_eq!(told(2, &[]), Err("published"));
    }
}
