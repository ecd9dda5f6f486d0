//! Schedules read off a view.

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::record::{Schedule, Schedules};
use super::super::{keys, view};

/// One schedule; none: there is none.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn schedule(reader: &dyn Reader, place: &Place) -> Result<Option<Schedule>, Stop> {
    view::get(reader, &keys::schedule(place))
}

/// How many schedules the group has.
///
/// # Errors
/// When the number cannot be read.
pub fn schedules_count(reader: &dyn Reader) -> Result<u64, Stop> {
    Ok(view::get::<Schedules>(reader, &keys::schedules())?.unwrap_or_default().count)
}

/// The schedules of a namespace in the order of their names, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn schedules(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<(Place, Schedule)>, Stop> {
    found(reader, &keys::schedules_of(namespace, after), most)
}

/// The same of all namespaces.
///
/// # Errors
/// When they cannot be read.
pub fn all_schedules(
    reader: &dyn Reader,
    after: Option<&Place>,
    most: usize,
) -> Result<Vec<(Place, Schedule)>, Stop> {
    found(reader, &keys::schedules_after(after), most)
}

fn found(
    reader: &dyn Reader,
    (from, to): &(Bytes, Bytes),
    most: usize,
) -> Result<Vec<(Place, Schedule)>, Stop> {
    let mut found = Vec::new();
    for record in reader.scan(from, to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a schedule's key"))?;
        found.push((place, view::decoded(&bytes)?));
    }
    Ok(found)
}
