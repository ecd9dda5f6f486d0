//! A client's change, with what it needs to be repeated safely.

use coracle_proto::codec::InField as _;
use coracle_proto::id::{RequestId, Revision};
use coracle_proto::pb::ChangeContext;
use coracle_proto::record::Outcome;
use coracle_proto::status::Refusal;

use crate::context::Context;
use crate::model::Command;
use crate::propose::{Ask, Decided};

/// A change that a client asks for; without a context of its own it is asked for once, here and now.
///
/// # Errors
/// When the context has no request id.
pub(super) fn ask(context: &Context, asked: Option<ChangeContext>, command: Command) -> Result<Ask, Refusal> {
    let Some(asked) = asked else { return Ok(Ask::own(context, command)) };
    let request = RequestId::try_from(&asked.request_id[..]).in_field("context.request_id")?;
    let (since, expected) = (Revision::new(asked.since), Revision::new(asked.expected));
    Ok(Ask { request, since, expected, term: None, command })
}

/// What an earlier try of the same request came to, as far as this node has applied the log. What is looked at
/// before a change is proposed may have changed by that very try: then this answers, not the look.
pub(super) fn answered(context: &Context, asked: Option<&ChangeContext>) -> Option<Decided> {
    let request = RequestId::try_from(&asked?.request_id[..]).ok()?;
    let state = context.hub.state();
    let first = state.remembered(request)?;
    match &first.outcome {
        Outcome::Rejected(_) => None,
        outcome @ (Outcome::Done
        | Outcome::NodeRegistered(_)
        | Outcome::Deployed { .. }
        | Outcome::Assigned { .. }) => Some(Decided { outcome: outcome.clone(), revision: first.revision }),
    }
}
