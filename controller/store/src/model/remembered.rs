//! Outcomes that are kept for requests that come again, a bounded number of them.

use coracle_proto::id::RequestId;
use coracle_raft::Draft;
use coracle_raft::Stop;

use super::codec::Stored as _;
use super::fault::unreadable;
use super::limits::REMEMBERED_MAX;
use super::op::Request;
use super::outcome::Outcome;
use super::record::{Group, Remembered};
use super::refusal::{Reason, Refusal};
use super::{keys, view};

/// What the request was answered when it was done.
pub(super) fn find(draft: &Draft<'_>, id: RequestId) -> Result<Option<Outcome>, Stop> {
    Ok(view::get::<Remembered>(draft, &keys::request(id))?.map(|remembered| remembered.outcome))
}

/// Refuses a request of which nobody can tell any more whether it was done.
pub(super) fn check(group: &Group, request: Request) -> Result<(), Refusal> {
    if request.since < group.remembered_from {
        let (since, from) = (request.since, group.remembered_from);
        return Err(Refusal::over(Reason::OutcomeUnknown, "the request", since, from));
    }
    Ok(())
}

/// Keeps an outcome under a number of its own, and forgets the oldest one where there are too many: one in, one out.
pub(super) fn keep(
    draft: &mut Draft<'_>,
    group: &mut Group,
    id: RequestId,
    outcome: &Outcome,
) -> Result<(), Stop> {
    group.sequence = group.sequence.saturating_add(1);
    let remembered = Remembered { sequence: group.sequence, outcome: outcome.clone() };
    draft.put(keys::request(id), remembered.encode());
    draft.put(keys::done(group.sequence, id), bytes::Bytes::new());
    group.remembered += 1;
    if group.remembered <= REMEMBERED_MAX {
        return Ok(());
    }
    // What was forgotten is not gone through again.
    let range = keys::done_range(group.remembered_from);
    let Some(oldest) = view::keys(draft, &range, 1)?.pop() else { return Ok(()) };
    let (sequence, id) = keys::done_parts(&oldest).ok_or_else(|| unreadable("a remembered request"))?;
    draft.remove(&oldest);
    draft.remove(keys::request(id));
    group.remembered -= 1;
    group.remembered_from = sequence.saturating_add(1);
    Ok(())
}
