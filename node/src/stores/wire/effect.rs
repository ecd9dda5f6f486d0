//! What calls did in the platform, to and from its wire form.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::InvocationId;
use coracle_proto::pb::{self, event_effect, kv_write};

use super::publish::message;
use super::value::write;
use crate::blobs::{Commit, Content, Part, UploadId};
use crate::call::Effect;
use crate::stores::message::{Message, Reply};
use crate::values::{Change, Said, Write};

/// An effect as it crosses the wire.
pub(crate) fn effect_to_wire(it: Effect) -> pb::EventEffect {
    let kind = match it {
        Effect::Check { bucket, key, version } => {
            event_effect::Kind::Check(pb::EventCheck { bucket, key, version })
        }
        Effect::Write { bucket, write: change } => {
            event_effect::Kind::Write(pb::EventWrite { bucket, write: Some(write(change)) })
        }
        Effect::Blob { bucket, key, commit } => {
            event_effect::Kind::Blob(pb::EventBlob { bucket, key, content: commit.map(commit_to_wire) })
        }
        Effect::Publish(said) => {
            let to = said.to.clone();
            let message = Some(message(Message::from(said)));
            event_effect::Kind::Publish(pb::EventPublish { to, message })
        }
    };
    pb::EventEffect { kind: Some(kind) }
}

/// An event that is an answer, as it is published with the end of its attempt.
pub(super) fn reply_to_wire(it: Reply) -> pb::EventEffect {
    let Reply { to, message: event } = it;
    let kind = event_effect::Kind::Publish(pb::EventPublish { to, message: Some(message(event)) });
    pb::EventEffect { kind: Some(kind) }
}

/// An effect as a node told it.
///
/// # Errors
/// What is missing of it, or cannot be read.
pub(crate) fn effect_from_wire(wire: pb::EventEffect) -> Result<Effect, DecodeError> {
    Ok(match wire.kind.in_field("effects.kind")? {
        event_effect::Kind::Check(pb::EventCheck { bucket, key, version }) => {
            Effect::Check { bucket, key, version }
        }
        event_effect::Kind::Blob(pb::EventBlob { bucket, key, content }) => {
            Effect::Blob { bucket, key, commit: content.map(commit_from_wire).transpose()? }
        }
        event_effect::Kind::Write(pb::EventWrite { bucket, write }) => {
            let pb::KvWrite { key, change } = write.in_field("effects.write")?;
            let change = change_from_wire(change.in_field("effects.write.change")?);
            Effect::Write { bucket, write: Write { key, change } }
        }
        event_effect::Kind::Publish(pb::EventPublish { to, message }) => {
            let pb::PublishMessage { invocation, body, group, delay_ms, .. } =
                message.in_field("effects.publish.message")?;
            let pb::EventBody { source, id, attributes, data, .. } = body.in_field("effects.publish.body")?;
            let invocation =
                InvocationId::try_from(&invocation[..]).in_field("effects.publish.invocation")?;
            let delay = Duration::from_millis(delay_ms);
            Effect::Publish(Said { to, invocation, source, id, group, delay, attributes, data })
        }
    })
}

fn commit_to_wire(it: Commit) -> pb::BlobContent {
    let Commit { content, etag, content_type, metadata } = it;
    let (data, upload, parts) = match content {
        Content::Inline(data) => (data, Bytes::new(), Vec::new()),
        Content::Parts { upload, parts } => (Bytes::new(), Bytes::copy_from_slice(&upload), parts),
    };
    let part = |Part { number, run, bytes, digest }| pb::BlobPart { number, run, bytes, digest };
    let (parts, metadata) = (parts.into_iter().map(part).collect(), metadata.into_iter().collect());
    pb::BlobContent { data, upload, parts, etag, content_type, metadata }
}

fn commit_from_wire(wire: pb::BlobContent) -> Result<Commit, DecodeError> {
    let pb::BlobContent { data, upload, parts, etag, content_type, metadata } = wire;
    let part = |pb::BlobPart { number, run, bytes, digest }| Part { number, run, bytes, digest };
    let content = match upload.is_empty() {
        true => Content::Inline(data),
        false => {
            let upload = UploadId::try_from(&upload[..]).in_field("effects.blob.content.upload")?;
            Content::Parts { upload, parts: parts.into_iter().map(part).collect() }
        }
    };
    Ok(Commit { content, etag, content_type, metadata: metadata.into_iter().collect() })
}

fn change_from_wire(wire: kv_write::Change) -> Change {
    match wire {
        kv_write::Change::Set(pb::KvSet { value, ttl_ms, if_version }) => {
            let ttl = (ttl_ms > 0).then(|| Duration::from_millis(ttl_ms));
            Change::Set { data: value, ttl, if_version }
        }
        kv_write::Change::Delete(pb::KvDelete {}) => Change::Delete,
        kv_write::Change::Increment(pb::KvIncrement { by }) => Change::Increment { by },
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::call::{EFFECTS_BYTES_MAX, EFFECTS_MAX, Gathered};

    #[test]
    fn effects_come_back_as_they_were() {
        let write =
            |change| Effect::Write { bucket: "b".to_owned(), write: Write { key: "k".into(), change } };
        let ttl = Some(Duration::from_secs(1));
        let said = Said {
            to: "q".to_owned(),
            invocation: InvocationId::new(3),
            source: "//shop/function/f".to_owned(),
            id: "i".to_owned(),
            group: "g".to_owned(),
            delay: Duration::from_secs(3),
            attributes: [("type".to_owned(), "t".to_owned())].into(),
            data: "d".into(),
        };
        let blob = |content: Option<Content>| {
            let metadata = [("a".to_owned(), "b".to_owned())].into();
            let commit = |content| Commit {
                content,
                etag: "e".to_owned(),
                content_type: "text/plain".to_owned(),
                metadata,
            };
            Effect::Blob { bucket: "b".to_owned(), key: "k".to_owned(), commit: content.map(commit) }
        };
        let part = Part { number: 1, run: u64::MAX, bytes: 9, digest: vec![1; 32].into() };
        for effect in [
            Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 7 },
            write(Change::Set { data: "v".into(), ttl, if_version: Some(0) }),
            write(Change::Set { data: "v".into(), ttl: None, if_version: None }),
            write(Change::Delete),
            write(Change::Increment { by: -1 }),
            blob(Some(Content::Inline("v".into()))),
            blob(Some(Content::Parts { upload: [7; 16], parts: vec![part] })),
            blob(None),
            Effect::Publish(said),
        ] {
            assert_eq!(effect_from_wire(effect_to_wire(effect.clone())), Ok(effect));
        }
        assert!(effect_from_wire(pb::EventEffect::default()).is_err());
        let content = Some(pb::BlobContent { upload: "short".into(), ..pb::BlobContent::default() });
        let short = event_effect::Kind::Blob(pb::EventBlob { content, ..pb::EventBlob::default() });
        assert!(effect_from_wire(pb::EventEffect { kind: Some(short) }).is_err());
        let nothing = event_effect::Kind::Publish(pb::EventPublish::default());
        assert!(effect_from_wire(pb::EventEffect { kind: Some(nothing) }).is_err());
    }

    /// Stores refuse what is more than that on the wire, when it is too late to tell the guest.
    #[test]
    fn as_much_as_a_call_may_gather_has_room_on_the_wire() {
        let bytes = |count: usize| bytes::Bytes::from(vec![0; count]);
        let said = |count: usize| Said {
            to: "q".repeat(63),
            invocation: InvocationId::new(u128::MAX),
            source: "s".repeat(140),
            id: "i".repeat(256),
            group: "g".repeat(256),
            delay: Duration::from_secs(1_000_000),
            attributes: (0..32).map(|number| (format!("a{number}"), "v".to_owned())).collect(),
            data: bytes(count),
        };
        for size in [0, 100, 1 << 10, 60 << 10] {
            let (mut gathered, bucket) = (Gathered::default(), "b".repeat(63));
            for number in 0..EFFECTS_MAX {
                let key = number.to_be_bytes();
                let more = match number % 3 {
                    0 => gathered.check(&bucket, &key, u64::MAX),
                    1 => gathered.write(&bucket, &key, Some(bytes(size))).map(drop),
                    _ => gathered.say(said(size)),
                };
                if more.is_err() {
                    break;
                }
            }
            let effects = gathered.into_effects();
            let encoded: usize = effects.into_iter().map(|it| effect_to_wire(it).encoded_len()).sum();
            assert!(encoded > 1000 && encoded <= EFFECTS_BYTES_MAX, "{size}: {encoded}");
        }
    }
}
