//! What a node says of an attempt.

use std::sync::atomic::Ordering;

use coracle_proto::pb::{self, event_effect, settle_request};
use coracle_proto::status::Code;

use super::State;

pub(super) fn has_effects(request: &pb::SettleRequest) -> bool {
    matches!(&request.verdict, Some(settle_request::Verdict::Done(it)) if !it.effects.is_empty())
}

pub(super) fn has_answer(request: &pb::SettleRequest) -> bool {
    match request.verdict.as_ref().unwrap() {
        settle_request::Verdict::Done(it) => it.answer.is_some(),
        settle_request::Verdict::Retry(it) => it.answer.is_some(),
        settle_request::Verdict::Dead(it) => it.answer.is_some(),
        settle_request::Verdict::Offer(_) => false,
    }
}

/// Refuses what had read another version of the one value, and else makes the next one of it.
pub(super) fn overtaken(state: &State, request: &pb::SettleRequest) -> Option<Code> {
    let (Some(hot), Some(settle_request::Verdict::Done(done))) = (&state.hot, &request.verdict) else {
        return None;
    };
    let read = done.effects.iter().find_map(|effect| match effect.kind.as_ref()? {
        event_effect::Kind::Check(check) => Some(check.version),
        _ => None,
    })?;
    let next = hot.compare_exchange(read, read + 1, Ordering::SeqCst, Ordering::SeqCst);
    next.is_err().then_some(Code::Conflict)
}
