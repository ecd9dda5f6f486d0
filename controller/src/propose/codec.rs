//! The answer to a proposal, as the state machine wrote it.

use coracle_proto::codec::outcome_from_wire;
use coracle_proto::id::Revision;
use coracle_proto::pb;
use coracle_proto::record::Outcome;
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;

use super::{Decided, Failed};

/// Reads the state machine's answer.
pub(super) fn decided(reply: &[u8]) -> Result<Decided, Failed> {
    from_wire(pb::ProposeReply::decode(reply).map_err(unreadable)?)
}

/// Reads the answer that the leader passed back.
pub(super) fn from_wire(reply: pb::ProposeReply) -> Result<Decided, Failed> {
    let wire = pb::Outcome::decode(reply.outcome).map_err(unreadable)?;
    match outcome_from_wire(wire).map_err(unreadable)? {
        Outcome::Rejected(refusal) => Err(Failed::Final(refusal)),
        outcome @ (Outcome::Done
        | Outcome::NodeRegistered(_)
        | Outcome::Deployed { .. }
        | Outcome::Assigned { .. }) => Ok(Decided { outcome, revision: Revision::new(reply.revision) }),
    }
}

fn unreadable(error: impl std::error::Error) -> Failed {
    Failed::Final(Refusal::new(Code::Internal, format!("the answer to a proposal cannot be read: {error}")))
}
