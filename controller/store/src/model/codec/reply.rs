//! Answers to and from their wire form.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::store::{self as pb, effected, outcome, settled};

use super::super::{Claimed, Effected, Fate, Outcome, Refusal, Reply};
use super::names::{
    cause_from_wire, cause_to_wire, fence_from_wire, fence_to_wire, invocation_from_wire, reason_from_wire,
    reason_to_wire,
};
use super::record::{upload_from_wire, upload_to_wire};

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
        Outcome::Performed(effects) => outcome::Kind::Performed(pb::Performed { effects: effected(effects) }),
        Outcome::Moved { moved, more, next } => {
            outcome::Kind::Moved(pb::Moved { moved: *moved, more: *more, next: *next })
        }
        Outcome::Claimed(claims) => {
            outcome::Kind::Claimed(pb::Claimed { claims: claims.iter().map(claim_to_wire).collect() })
        }
        Outcome::Settled { fate, effects, lost } => outcome::Kind::Settled(settled(*fate, effects, lost)),
        Outcome::UploadBegun(id) => {
            outcome::Kind::UploadBegun(pb::UploadBegun { upload: upload_to_wire(*id) })
        }
        Outcome::Refused(refusal) => outcome::Kind::Refused(refused(refusal)),
    };
    pb::Outcome { kind: Some(kind) }
}

pub(super) fn outcome_from_wire(wire: pb::Outcome) -> Result<Outcome, DecodeError> {
    Ok(match wire.kind.in_field("outcome")? {
        outcome::Kind::Done(pb::Done {}) => Outcome::Done,
        outcome::Kind::Performed(wire) => Outcome::Performed(effects(wire.effects)?),
        outcome::Kind::Moved(wire) => Outcome::Moved { moved: wire.moved, more: wire.more, next: wire.next },
        outcome::Kind::Claimed(wire) => {
            Outcome::Claimed(wire.claims.into_iter().map(claim_from_wire).collect::<Result<_, _>>()?)
        }
        outcome::Kind::Settled(wire) => {
            Outcome::Settled { fate: fate(wire.fate)?, effects: effects(wire.effects)?, lost: wire.lost }
        }
        outcome::Kind::UploadBegun(wire) => Outcome::UploadBegun(upload_from_wire(&wire.upload)?),
        outcome::Kind::Refused(wire) => Outcome::Refused(refusal(wire)?),
    })
}

fn effected(effects: &[Effected]) -> Vec<pb::Effected> {
    let one = |effected: &Effected| match effected {
        Effected::Written { version, number } => {
            effected::Kind::Written(pb::Written { version: *version, number: *number })
        }
        Effected::Deleted { existed } => effected::Kind::Deleted(pb::Deleted { existed: *existed }),
        Effected::Published { message, repeated, invocation } => {
            let invocation = invocation.to_wire();
            effected::Kind::Published(pb::Published { message: *message, repeated: *repeated, invocation })
        }
        Effected::Spread { copies, repeated } => {
            effected::Kind::Spread(pb::Spread { copies: *copies, repeated: *repeated })
        }
        Effected::Checked => effected::Kind::Checked(pb::Done {}),
        Effected::Committed { version, bytes, etag, modified_ms, existed } => {
            effected::Kind::Committed(pb::Committed {
                version: *version,
                bytes: *bytes,
                etag: etag.clone(),
                modified_ms: *modified_ms,
                existed: *existed,
            })
        }
    };
    effects.iter().map(|effected| pb::Effected { kind: Some(one(effected)) }).collect()
}

fn effects(wire: Vec<pb::Effected>) -> Result<Vec<Effected>, DecodeError> {
    let one = |wire: pb::Effected| match wire.kind.in_field("effected")? {
        effected::Kind::Written(wire) => Ok(Effected::Written { version: wire.version, number: wire.number }),
        effected::Kind::Deleted(wire) => Ok(Effected::Deleted { existed: wire.existed }),
        effected::Kind::Published(wire) => {
            let invocation = invocation_from_wire(&wire.invocation)?;
            Ok(Effected::Published { message: wire.message, repeated: wire.repeated, invocation })
        }
        effected::Kind::Spread(pb::Spread { copies, repeated }) => Ok(Effected::Spread { copies, repeated }),
        effected::Kind::Checked(pb::Done {}) => Ok(Effected::Checked),
        effected::Kind::Committed(pb::Committed { version, bytes, etag, modified_ms, existed }) => {
            Ok(Effected::Committed { version, bytes, etag, modified_ms, existed })
        }
    };
    wire.into_iter().map(one).collect()
}

fn claim_to_wire(claimed: &Claimed) -> pb::Claiming {
    let Claimed { message, attempt, fence, until_ms } = *claimed;
    pb::Claiming { message, attempt, fence: Some(fence_to_wire(fence)), until_ms }
}

fn claim_from_wire(wire: pb::Claiming) -> Result<Claimed, DecodeError> {
    let pb::Claiming { message, attempt, fence, until_ms } = wire;
    Ok(Claimed { message, attempt, fence: fence_from_wire(fence)?, until_ms })
}

fn settled(fate: Fate, effects: &[Effected], lost: &[u64]) -> pb::Settled {
    let fate = match fate {
        Fate::Done => settled::Fate::Done(pb::Done {}),
        Fate::Retried { at_ms } => settled::Fate::RetriedAtMs(at_ms),
        Fate::Dead(cause) => settled::Fate::Dead(cause_to_wire(cause).into()),
    };
    pb::Settled { fate: Some(fate), effects: effected(effects), lost: lost.to_vec() }
}

fn fate(wire: Option<settled::Fate>) -> Result<Fate, DecodeError> {
    Ok(match wire.in_field("fate")? {
        settled::Fate::Done(pb::Done {}) => Fate::Done,
        settled::Fate::RetriedAtMs(at_ms) => Fate::Retried { at_ms },
        settled::Fate::Dead(cause) => {
            Fate::Dead(cause_from_wire(pb::Cause::try_from(cause).in_field("cause")?)?)
        }
    })
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
