//! Messages are published: all of one request in one operation, and streams of requests with a bounded number under way.

use std::future::ready;
use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::publish_acknowledged::End;
use coracle_proto::pb::{
    PublishAcknowledged, PublishMessage, PublishNumbered, PublishRefused, PublishReply, PublishRequest,
    Published,
};
use coracle_proto::status::{Code, Refusal};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::Status;

use super::super::{effects, spec};
use crate::app::Context;
use crate::model::{Effected, Op, Outcome, PUBLISHED_MAX, Place};

/// Bytes of the messages of one request, as they come: with what names their queue they have room in an entry.
const PUBLISH_BYTES_MAX: usize = 448 * 1024;
/// Requests of a stream that are under way at once: the next one is read when one of them is answered.
const UNDER_WAY_MAX: usize = 64;

/// All of the messages or none.
pub(super) async fn publish(context: &Context, asked: PublishRequest) -> Result<PublishReply, Refusal> {
    let PublishRequest { place, request, to, messages } = asked;
    check(&messages)?;
    let (leading, to) = spec::named(context, place, &to, "to")?;
    let outcome = leading.done(request, Op::Perform { effects: all(&to, messages)?, hops: 0 }).await?;
    let published = match outcome {
        Outcome::Performed(effects) => effects.iter().map(published).collect(),
        Outcome::Done
        | Outcome::Moved { .. }
        | Outcome::Claimed(_)
        | Outcome::UploadBegun(_)
        | Outcome::Settled { .. }
        | Outcome::Refused(_) => Vec::new(),
    };
    Ok(PublishReply { published, sequence: leading.sequence()? })
}

/// Answers each by its number, in whatever order they are committed. What cannot be read ends it, when all that came before is answered, and
/// so does the end of this store.
pub(super) fn publish_all(
    context: Arc<Context>,
    frames: impl Stream<Item = Result<PublishNumbered, Status>> + Send + 'static,
) -> BoxStream<'static, Result<PublishAcknowledged, Status>> {
    let (end, ended) = oneshot::channel();
    let closing = context.closing.clone().cancelled_owned();
    let (mut end, mut last) = (Some(end), None);
    let good = frames.take_until(closing).scan((), move |(), frame| {
        let read = frame.and_then(|frame| read(frame, &mut last));
        let read = read.map_err(|status| end.take().map(|end| end.send(status)));
        ready(read.ok())
    });
    let answered = good.map(move |(number, asked)| {
        let context = Arc::clone(&context);
        async move {
            let end = match publish(&context, asked).await {
                Ok(reply) => End::Reply(reply),
                Err(Refusal { code, message }) => {
                    End::Refused(PublishRefused { code: code.name().to_owned(), message })
                }
            };
            Ok(PublishAcknowledged { number, end: Some(end) })
        }
    });
    let why = stream::once(ended).filter_map(|why| ready(why.ok().map(Err)));
    answered.buffer_unordered(UNDER_WAY_MAX).chain(why).boxed()
}

/// A request with its number, which is greater than all before.
fn read(frame: PublishNumbered, last: &mut Option<u64>) -> Result<(u64, PublishRequest), Status> {
    let PublishNumbered { number, request } = frame;
    if last.is_some_and(|last| number <= last) {
        let sentence = format!("field 'number': {number} is not greater than the one before");
        return Err(Refusal::new(Code::InvalidArgument, sentence).into());
    }
    *last = Some(number);
    Ok((number, request.in_field("request")?))
}

fn check(messages: &[PublishMessage]) -> Result<(), Refusal> {
    let over = |count: usize, what: &str, most: usize| {
        let sentence =
            format!("{count} {what} in one request, and at most {most} are allowed: publish fewer at once");
        Err(Refusal::new(Code::RequestTooLarge, sentence))
    };
    let bytes: usize = messages.iter().map(PublishMessage::encoded_len).sum();
    match messages.len() {
        0 => Err(Refusal::new(Code::InvalidArgument, "field 'messages': there is none")),
        count if count > PUBLISHED_MAX => over(count, "messages", PUBLISHED_MAX),
        _ if bytes > PUBLISH_BYTES_MAX => over(bytes, "bytes of messages", PUBLISH_BYTES_MAX),
        _ => Ok(()),
    }
}

/// A malformed one is named by its place.
fn all(to: &Place, messages: Vec<PublishMessage>) -> Result<Vec<crate::model::Effect>, Refusal> {
    let one = |(index, message): (usize, PublishMessage)| {
        effects::publish(to.clone(), message).map_err(|Refusal { code, message }| {
            Refusal::new(code, format!("message {} of 'messages': {message}", index + 1))
        })
    };
    messages.into_iter().enumerate().map(one).collect()
}

fn published(effected: &Effected) -> Published {
    match effected {
        Effected::Published { message, repeated, invocation } => {
            Published { invocation: invocation.to_wire(), repeated: *repeated, message: *message, copies: 1 }
        }
        Effected::Spread { copies, repeated } => {
            Published { invocation: bytes::Bytes::new(), repeated: *repeated, message: 0, copies: *copies }
        }
        // Nothing else was asked for.
        Effected::Written { .. }
        | Effected::Deleted { .. }
        | Effected::Checked
        | Effected::Committed { .. } => Published::default(),
    }
}

#[cfg(test)]
mod tests;
