//! What becomes due at a time: done in bounded steps, each kind by itself, when the leader asks for it.

use coracle_raft::Reader;
use coracle_raft::Stop;

use super::edit::Edit;
use super::fault::{Fault, unreadable};
use super::keys::{self, Due};
use super::outcome::Outcome;
use super::{blob, bucket, kv, queue, secret, view};

/// When the next of a kind is due, if that is between these two times, Unix milliseconds, both among them: a leader waits
/// until then. Whoever looks no farther than it must goes through no timers that were taken away before their time.
///
/// # Errors
/// When it cannot be read.
pub fn due(reader: &dyn Reader, due: Due, from_ms: u64, until_ms: u64) -> Result<Option<u64>, Stop> {
    let first = view::keys(reader, &keys::timers(due, from_ms, until_ms), 1)?.pop();
    first.map(|key| at(&key).map(|(at_ms, _)| at_ms)).transpose()
}

/// Does what is due by the entry's time and not before `from_ms`, the oldest first.
pub(super) fn sweep(edit: &mut Edit<'_>, due: Due, steps: u32, from_ms: u64) -> Result<Outcome, Fault> {
    let most = usize::try_from(steps).unwrap_or(usize::MAX);
    let (found, more) = edit.steps(&keys::timers(due, from_ms, edit.moment.now_ms), most)?;
    let (mut moved, mut full) = (0, kv::Full::new());
    for key in &found {
        let (_, subject) = at(key)?;
        match due {
            Due::Values if !kv::expire(edit, subject, &mut full)? => {
                return Ok(Outcome::Moved { moved, more: true, next: 0 });
            }
            Due::Values => {}
            Due::Delays => queue::wake(edit, subject)?,
            Due::Claims => queue::lapse(edit, subject)?,
            Due::Ages => queue::age(edit, subject)?,
            Due::Dead => queue::expire(edit, subject)?,
            Due::Records => queue::forget_records(edit, subject)?,
            Due::Ids => queue::forget_ids(edit, subject)?,
            Due::Drops => queue::go_on(edit, subject)?,
            Due::Buckets => bucket::go_on(edit, subject)?,
            Due::Uploads if !blob::expire(edit, subject)? => {
                return Ok(Outcome::Moved { moved, more: true, next: 0 });
            }
            Due::Uploads => {}
            Due::Secrets => secret::forget(edit, subject)?,
        }
        edit.remove(key);
        moved += 1;
    }
    Ok(Outcome::Moved { moved, more, next: 0 })
}

fn at(key: &[u8]) -> Result<(u64, &[u8]), Stop> {
    keys::timer_parts(key).ok_or_else(|| unreadable("a timer"))
}
