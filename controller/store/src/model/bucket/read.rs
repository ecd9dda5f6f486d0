//! Buckets read off a view.

use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::record::{Bucket, Watcher, Watchers};
use super::super::{keys, view};

/// A bucket, with who watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which one.
    pub place: Place,
    /// Its bounds and what it holds.
    pub bucket: Bucket,
    /// Sorted by function.
    pub watchers: Vec<Watcher>,
}

/// One bucket; none: there is none.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn bucket(reader: &dyn Reader, place: &Place) -> Result<Option<Listed>, Stop> {
    let bucket = view::get(reader, &keys::bucket(place))?;
    bucket.map(|bucket| listed(reader, place.clone(), bucket)).transpose()
}

/// The buckets of a namespace in the order of their names, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn buckets(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<Listed>, Stop> {
    let (from, to) = keys::buckets_after(namespace, after);
    let mut found = Vec::new();
    for record in reader.scan(&from, &to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a bucket's key"))?;
        found.push(listed(reader, place, view::decoded(&bytes)?)?);
    }
    Ok(found)
}

fn listed(reader: &dyn Reader, place: Place, bucket: Bucket) -> Result<Listed, Stop> {
    let watchers = match bucket.watched {
        true => view::get::<Watchers>(reader, &keys::watchers(&place))?.unwrap_or_default().watchers,
        false => Vec::new(),
    };
    Ok(Listed { place, bucket, watchers })
}
