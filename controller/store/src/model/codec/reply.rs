//! Answers to and from their wire form.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::store::{self as pb, effected, outcome};

use super::super::{Effected, Outcome, Refusal, Reply};
use super::names::{reason_from_wire, reason_to_wire};

pub(super) fn to_wire(reply: &Reply) -> pb::Reply {
    match reply {
        Reply::Refused(refusal) => pb::Reply { refused: Some(refused(refusal)), outcomes: Vec::new() },
        Reply::Outcomes(outcomes) => {
            pb::Reply { refused: None, outcomes: outcomes.iter().map(outcome_to_wire).collect() }
        }
    }
}

pub(super) fn from_wire(wire: pb::Reply) -> Result<Reply, DecodeError> {
    match wire.refused {
        Some(refused) => Ok(Reply::Refused(refusal(refused)?)),
        None => {
            wire.outcomes.into_iter().map(outcome_from_wire).collect::<Result<_, _>>().map(Reply::Outcomes)
        }
    }
}

pub(super) fn outcome_to_wire(outcome: &Outcome) -> pb::Outcome {
    let kind = match outcome {
        Outcome::Done => outcome::Kind::Done(pb::Done {}),
        Outcome::Performed(effects) => outcome::Kind::Performed(performed(effects)),
        Outcome::Moved { moved, more } => outcome::Kind::Moved(pb::Moved { moved: *moved, more: *more }),
        Outcome::Refused(refusal) => outcome::Kind::Refused(refused(refusal)),
    };
    pb::Outcome { kind: Some(kind) }
}

pub(super) fn outcome_from_wire(wire: pb::Outcome) -> Result<Outcome, DecodeError> {
    Ok(match wire.kind.in_field("outcome")? {
        outcome::Kind::Done(pb::Done {}) => Outcome::Done,
        outcome::Kind::Performed(wire) => Outcome::Performed(effects(wire)?),
        outcome::Kind::Moved(wire) => Outcome::Moved { moved: wire.moved, more: wire.more },
        outcome::Kind::Refused(wire) => Outcome::Refused(refusal(wire)?),
    })
}

fn performed(effects: &[Effected]) -> pb::Performed {
    let one = |effected: &Effected| match effected {
        Effected::Written { version, number } => {
            effected::Kind::Written(pb::Written { version: *version, number: *number })
        }
        Effected::Deleted { existed } => effected::Kind::Deleted(pb::Deleted { existed: *existed }),
    };
    pb::Performed {
        effects: effects.iter().map(|effected| pb::Effected { kind: Some(one(effected)) }).collect(),
    }
}

fn effects(wire: pb::Performed) -> Result<Vec<Effected>, DecodeError> {
    let one = |wire: pb::Effected| match wire.kind.in_field("effected")? {
        effected::Kind::Written(wire) => Ok(Effected::Written { version: wire.version, number: wire.number }),
        effected::Kind::Deleted(wire) => Ok(Effected::Deleted { existed: wire.existed }),
    };
    wire.effects.into_iter().map(one).collect()
}

fn refused(refusal: &Refusal) -> pb::Refused {
    pb::Refused {
        reason: reason_to_wire(refusal.reason).into(),
        subject: refusal.subject.clone(),
        found: refusal.found,
        bound: refusal.bound,
    }
}

fn refusal(wire: pb::Refused) -> Result<Refusal, DecodeError> {
    let reason = reason_from_wire(wire.reason())?;
    Ok(Refusal { reason, subject: wire.subject, found: wire.found, bound: wire.bound })
}
