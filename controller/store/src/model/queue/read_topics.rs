//! Topics read off a view, and how many queues and topics there are.

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::record::{Queues, Topic};
use super::super::{keys, view};

/// One topic; none: there is none.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn topic(reader: &dyn Reader, place: &Place) -> Result<Option<Topic>, Stop> {
    view::get(reader, &keys::topic(place))
}

/// The topics of a namespace in the order of their names, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn topics(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<(Place, Topic)>, Stop> {
    found(reader, &keys::topics_after(namespace, after), most)
}

/// The topics of all namespaces, the first ones, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn all_topics(reader: &dyn Reader, most: usize) -> Result<Vec<(Place, Topic)>, Stop> {
    found(reader, &keys::all_topics(), most)
}

/// How many queues and topics the group has, other than the queues of functions.
///
/// # Errors
/// When the number cannot be read.
pub fn named_count(reader: &dyn Reader) -> Result<u64, Stop> {
    Ok(view::get::<Queues>(reader, &keys::queues())?.unwrap_or_default().count)
}

fn found(reader: &dyn Reader, (from, to): &(Bytes, Bytes), most: usize) -> Result<Vec<(Place, Topic)>, Stop> {
    let mut found = Vec::new();
    for record in reader.scan(from, to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a topic's key"))?;
        found.push((place, view::decoded(&bytes)?));
    }
    Ok(found)
}
