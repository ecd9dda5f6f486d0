//! The way to the leader: this node's side and the leader's.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::codec::Door;
use coracle_proto::pb::{ProposeReply, ProposeRequest, control_client::ControlClient};
use coracle_proto::status::{Again, CODE_METADATA, Code, Refusal};
use coracle_proto::trace;
use coracle_raft::Leader;
use prost::Message as _;

use super::{Decided, Failed, codec, not_made_yet, propose_here};
use crate::clock;
use crate::context::Context;
use crate::model;

/// A leader that does not answer by then may be stopped: the next attempt asks whoever leads by then.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(3);

/// Passes an envelope on to the leader.
pub(super) async fn forward(
    context: &Context,
    leader: &Leader,
    envelope: Bytes,
    deadline: Instant,
) -> Result<Decided, Failed> {
    let address = context.grpc_of(leader.node).unwrap_or_else(|| leader.address.clone());
    let channel = context.peers.channel(&address).map_err(Failed::NotStarted)?;
    context.metrics.forwarded();
    let mut request = trace::request(ProposeRequest { envelope });
    request.set_timeout(deadline.saturating_duration_since(clock::now()).min(FORWARD_TIMEOUT));
    match ControlClient::new(channel).propose(request).await {
        Ok(reply) => codec::from_wire(reply.into_inner()),
        Err(status) => Err(failed(&status)),
    }
}

/// Only a code that the leader wrote, or a connection that never was, tells that nothing was done; a lost
/// connection tells nothing.
fn failed(status: &tonic::Status) -> Failed {
    let refusal = Refusal::from_status(status);
    if refused_to_connect(status) {
        return Failed::NotStarted(refusal);
    }
    if !status.metadata().contains_key(CODE_METADATA) {
        return Failed::Unknown(refusal);
    }
    match refusal.code.retry() {
        Again::NotStarted => Failed::NotStarted(refusal),
        Again::Never => Failed::Final(refusal),
        Again::Unknown => Failed::Unknown(refusal),
    }
}

/// Whether nobody listened at the address.
fn refused_to_connect(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let system = error.downcast_ref::<io::Error>();
        if system.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Takes an envelope that another controller passed on: proposed here or not at all.
///
/// # Errors
/// `invalid-argument` for what is no envelope, `upgrade-required` for a command of a newer program: in the log it
/// would stop every voter. `no-quorum` when this node does not lead, so that the sender looks for the leader again.
pub(crate) async fn propose_forwarded(
    context: &Context,
    envelope: Bytes,
    deadline: Instant,
) -> Result<ProposeReply, Refusal> {
    if context.hub.state().cluster().is_none() {
        return Err(not_made_yet());
    }
    model::codec::decode(&envelope, Door::Api).map_err(|error| unreadable(&error))?;
    let reply = propose_here(context, envelope, deadline).await.map_err(|failed| match failed {
        Failed::NotStarted(refusal) | Failed::Final(refusal) => refusal,
        Failed::Unknown(refusal) => Refusal::new(Code::OutcomeUnknown, refusal.message),
    })?;
    ProposeReply::decode(reply).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

fn unreadable(error: &model::codec::DecodeError) -> Refusal {
    let code = match error {
        model::codec::DecodeError::UnknownCommand => Code::UpgradeRequired,
        model::codec::DecodeError::Wire(_) | model::codec::DecodeError::Field(_) => Code::InvalidArgument,
    };
    Refusal::new(code, format!("field 'envelope': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leaders_own_word_says_that_nothing_was_done() {
        let lost = tonic::Status::unavailable("connection reset");
        assert!(matches!(failed(&lost), Failed::Unknown(_)));
        let nobody = tonic::Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(matches!(failed(&nobody), Failed::NotStarted(_)));
        let told = |code| tonic::Status::from(Refusal::new(code, "x"));
        assert!(matches!(failed(&told(Code::NoQuorum)), Failed::NotStarted(_)));
        assert!(matches!(failed(&told(Code::OutcomeUnknown)), Failed::Unknown(_)));
        assert!(matches!(failed(&told(Code::RouteConflict)), Failed::Final(_)));
    }
}
