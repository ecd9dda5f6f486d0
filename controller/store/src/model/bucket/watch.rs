//! Who watches a bucket: each has a queue of its own, into which the changes go that concern it.

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::kv::event_source;
use super::super::limits::{CHANGE_BYTES_MAX, HEARERS_MAX, KEY_BYTES_MAX, TEXT_BYTES_MAX};
use super::super::name::{Heard, Name, Place};
use super::super::outcome::Outcome;
use super::super::record::{Bucket, Settings, Watcher, Watchers};
use super::super::refusal::{Reason, Refusal};
use super::super::{keys, queue};
use super::{need, need_kept};

/// From now on the function gets the changes that concern it, by a queue that is made so or told anew.
pub(in super::super) fn watch(
    edit: &mut Edit<'_>,
    place: &Place,
    watcher: Watcher,
    settings: Settings,
) -> Result<Outcome, Fault> {
    let bucket = need_kept(edit, place)?;
    check(&watcher)?;
    check_told(place, &settings)?;
    let queue = Place::of_watcher(place, &watcher.function);
    let queue = queue.map_err(|error| Refusal::of(Reason::Invalid, error))?;
    queue::put(edit, &queue, settings, Some(watcher.function.clone()))?;
    let mut watchers = watchers(edit, place)?;
    let at = watchers.watchers.partition_point(|it| it.function < watcher.function);
    watchers.watchers.retain(|it| it.function != watcher.function);
    watchers.watchers.insert(at, watcher);
    let count = watchers.watchers.len();
    if count > HEARERS_MAX {
        let subject = format!("bucket '{place}' would have {count} watchers");
        return Err(Refusal::over_size(Reason::ListFull, subject, count, HEARERS_MAX).into());
    }
    keep(edit, place, bucket, &watchers);
    Ok(Outcome::Done)
}

/// It gets nothing new; what waits in its queue is still delivered, and the queue goes with the last of it.
pub(in super::super) fn unwatch(
    edit: &mut Edit<'_>,
    place: &Place,
    function: &Name,
) -> Result<Outcome, Fault> {
    need(edit, place)?;
    forget(edit, &Heard { place: place.clone(), function: function.clone() })?;
    queue::release(edit, Place::of_watcher(place, function))?;
    Ok(Outcome::Done)
}

/// The function watches it no more, if it did.
pub(in super::super) fn forget(edit: &mut Edit<'_>, heard: &Heard) -> Result<(), Fault> {
    let Some(bucket) = edit.get::<Bucket>(&keys::bucket(&heard.place))? else { return Ok(()) };
    let mut watchers = watchers(edit, &heard.place)?;
    watchers.watchers.retain(|it| it.function != heard.function);
    keep(edit, &heard.place, bucket, &watchers);
    Ok(())
}

/// Nobody watches it any more. Their queues go when they are empty.
pub(super) fn forget_all(edit: &mut Edit<'_>, place: &Place, bucket: Bucket) -> Result<(), Fault> {
    let Watchers { watchers } = watchers(edit, place)?;
    keep(edit, place, bucket, &Watchers::default());
    watchers.iter().try_for_each(|it| queue::release(edit, Place::of_watcher(place, &it.function)))
}

/// Sorted by function.
pub(in super::super) fn watchers(edit: &Edit<'_>, place: &Place) -> Result<Watchers, Fault> {
    Ok(edit.get(&keys::watchers(place))?.unwrap_or_default())
}

fn keep(edit: &mut Edit<'_>, place: &Place, bucket: Bucket, watchers: &Watchers) {
    let watched = !watchers.watchers.is_empty();
    if watched {
        edit.put(keys::watchers(place), watchers);
    } else {
        edit.remove(&keys::watchers(place));
    }
    edit.put(keys::bucket(place), &Bucket { watched, ..bucket });
}

/// A watcher that could never be told would refuse each change.
fn check_told(place: &Place, settings: &Settings) -> Result<(), Refusal> {
    if settings.bytes_max < CHANGE_BYTES_MAX {
        let sentence = format!(
            "bytes_max of a watcher's queue is {}: at least {CHANGE_BYTES_MAX} are needed, for a change of any key",
            settings.bytes_max
        );
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    let source = event_source(place).len();
    if source > TEXT_BYTES_MAX {
        return Err(Refusal::over_size(
            Reason::TooLarge,
            "what names the bucket in an event",
            source,
            TEXT_BYTES_MAX,
        ));
    }
    Ok(())
}

fn check(watcher: &Watcher) -> Result<(), Refusal> {
    if !watcher.sets && !watcher.deletes {
        let sentence = "a watcher gets what is set, what is deleted, or both: neither was asked for";
        return Err(Refusal::of(Reason::Invalid, sentence));
    }
    for (what, text) in [("prefix", &watcher.prefix), ("suffix", &watcher.suffix)] {
        if text.len() > KEY_BYTES_MAX {
            let what = format!("a watcher's {what}");
            return Err(Refusal::over_size(Reason::TooLarge, what, text.len(), KEY_BYTES_MAX));
        }
    }
    Ok(())
}
