//! A client's change, with what it needs to be repeated safely.

use coracle_proto::codec::InField as _;
use coracle_proto::id::{RequestId, Revision};
use coracle_proto::pb::ChangeContext;
use coracle_proto::status::Refusal;

use crate::context::Context;
use crate::model::Command;
use crate::propose::Ask;

/// A change that a client asks for; without a context of its own it is asked for once, here and now.
///
/// # Errors
/// When the context has no request id.
pub(super) fn ask(context: &Context, asked: Option<ChangeContext>, command: Command) -> Result<Ask, Refusal> {
    let Some(asked) = asked else { return Ok(Ask::own(context, command)) };
    let request = RequestId::try_from(&asked.request_id[..]).in_field("context.request_id")?;
    let (since, expected) = (Revision::new(asked.since), Revision::new(asked.expected));
    Ok(Ask { request, since, expected, command })
}
