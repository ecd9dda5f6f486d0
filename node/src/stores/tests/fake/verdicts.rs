//! What a node says of an attempt.

use coracle_proto::pb::{self, settle_request};

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
