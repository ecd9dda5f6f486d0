//! How many queues and topics the group has, other than the queues of functions, and how many buckets: so many and no more.

use super::edit::Edit;
use super::fault::Fault;
use super::keys;
use super::limits::{BUCKETS_MAX, QUEUES_MAX};
use super::name::{Owner, Place};
use super::record::{Buckets, Queues};
use super::refusal::{Reason, Refusal};

/// A queue is made, or is gone. Those of functions are as many as there are functions.
pub(super) fn count_queue(edit: &mut Edit<'_>, place: &Place, more: bool) -> Result<(), Fault> {
    match place.owner() {
        Owner::Function => Ok(()),
        Owner::People | Owner::Topic(_) | Owner::Bucket(_) | Owner::Webhook(_) => count(edit, more),
    }
}

/// One more, or one less.
pub(super) fn count(edit: &mut Edit<'_>, more: bool) -> Result<(), Fault> {
    let Queues { count } = edit.get(&keys::queues())?.unwrap_or_default();
    let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    if more && count > QUEUES_MAX {
        return Err(Refusal::over(Reason::QueuesFull, "queues and topics", count, QUEUES_MAX).into());
    }
    edit.put(keys::queues(), &Queues { count });
    Ok(())
}

/// The same of buckets. Some may have been made before they were counted.
pub(super) fn count_bucket(edit: &mut Edit<'_>, more: bool) -> Result<(), Fault> {
    let Buckets { count } = edit.get(&keys::bucket_count())?.unwrap_or_default();
    let count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    if more && count > BUCKETS_MAX {
        return Err(Refusal::over(Reason::BucketsFull, "buckets", count, BUCKETS_MAX).into());
    }
    if count == 0 {
        edit.remove(&keys::bucket_count());
    } else {
        edit.put(keys::bucket_count(), &Buckets { count });
    }
    Ok(())
}
