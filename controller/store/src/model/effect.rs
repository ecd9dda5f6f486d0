//! Effects: what calls and clients do to values and queues, all of it or nothing.

use super::edit::Edit;
use super::fault::Fault;
use super::limits::EFFECTS_MAX;
use super::op::Effect;
use super::outcome::Effected;
use super::refusal::{Reason, Refusal};
use super::{kv, queue};

/// All of them, in order. When one is refused the operation is, and whoever runs it drops its edit.
pub(super) fn perform(edit: &mut Edit<'_>, effects: &[Effect]) -> Result<Vec<Effected>, Fault> {
    if effects.len() > EFFECTS_MAX {
        let refusal =
            Refusal::over_size(Reason::TooMany, "effects of one operation", effects.len(), EFFECTS_MAX);
        return Err(refusal.into());
    }
    let one = |effect: &Effect| match effect {
        Effect::Write(write) => kv::write(edit, write),
        Effect::Publish(publish) => queue::publish(edit, publish),
        Effect::Check(check) => kv::check(edit, check),
    };
    effects.iter().map(one).collect::<Result<_, _>>().map_err(|fault| match fault {
        Fault::Full(full, refusal) => match queue::never_fits(&full, effects, &refusal) {
            Some(never) => never.into(),
            None => Fault::Full(full, refusal),
        },
        other @ (Fault::Refused(_) | Fault::Stop(_)) => other,
    })
}
