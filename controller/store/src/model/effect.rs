//! Effects: what calls and clients do to values, blobs and queues, all of it or nothing.

use super::edit::Edit;
use super::fault::Fault;
use super::limits::EFFECTS_MAX;
use super::op::{Check, Effect};
use super::outcome::Effected;
use super::record::{Bucket, Holds};
use super::refusal::{Reason, Refusal};
use super::{blob, bucket, keys, kv, queue};

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
        Effect::Check(it) => check(edit, it),
        Effect::Blob(change) => blob::change(edit, change),
    };
    effects.iter().map(one).collect::<Result<_, _>>().map_err(|fault| match fault {
        Fault::Full(full, refusal) => match queue::never_fits(&full, effects, &refusal) {
            Some(never) => never.into(),
            None => Fault::Full(full, refusal),
        },
        Fault::Refused(refusal) => bucket::never_fits(effects, &refusal).unwrap_or(refusal).into(),
        stop @ Fault::Stop(_) => stop,
    })
}

/// Of a value or of a blob, whatever the bucket holds.
fn check(edit: &Edit<'_>, check: &Check) -> Result<Effected, Fault> {
    match edit.get::<Bucket>(&keys::bucket(&check.bucket))?.map(|bucket| bucket.holds) {
        Some(Holds::Blobs { .. }) => blob::check(edit, check),
        Some(Holds::Values) | None => kv::check(edit, check),
    }
}
