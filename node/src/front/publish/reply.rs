//! The event that is a function's answer: in the same modes as what is published, one and no batch.

use bytes::Bytes;
use coracle_proto::status::Code;
use http::HeaderMap;
use tracing::Span;

use super::message;
use super::mode::Mode;
use super::wishes::Wishes;
use crate::call::CallError;
use crate::stores::Message;

/// The message that an answer is; none: it is no event. It goes on with the chain and the trace of the call that had those headers.
///
/// # Errors
/// [`Code::BadRequest`]: it says that it is an event, and is none; [`Code::RequestTooLarge`].
pub(crate) fn reply(
    answer: &HeaderMap,
    body: &Bytes,
    call: &HeaderMap,
    span: &Span,
) -> Result<Option<Message>, CallError> {
    let mode = Mode::of(answer)?;
    match mode {
        Mode::Own => return Ok(None),
        Mode::Batch => {
            return Err(CallError::new(Code::BadRequest, "an answer is one event, and no batch of them"));
        }
        Mode::Binary | Mode::Structured => {}
    }
    let never = || Err(CallError::new(Code::BadRequest, "it is no event"));
    let events = mode.events(answer, body, never)?;
    let wishes = Wishes::new(&HeaderMap::new())?;
    Ok(message::messages(events, &wishes, call, span)?.pop())
}
