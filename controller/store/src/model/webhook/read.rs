//! Webhooks read off a view.

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::record::Webhook;
use super::super::{keys, view};

/// A webhook; none: there is none.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn webhook(reader: &dyn Reader, place: &Place) -> Result<Option<Webhook>, Stop> {
    view::get(reader, &keys::webhook(place))
}

/// The webhooks of a namespace in the order of their names, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn webhooks(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<(Place, Webhook)>, Stop> {
    found(reader, &keys::webhooks_of(namespace, after), most)
}

/// The same of all namespaces.
///
/// # Errors
/// When they cannot be read.
pub fn all_webhooks(reader: &dyn Reader, most: usize) -> Result<Vec<(Place, Webhook)>, Stop> {
    found(reader, &keys::webhooks(), most)
}

fn found(
    reader: &dyn Reader,
    (from, to): &(Bytes, Bytes),
    most: usize,
) -> Result<Vec<(Place, Webhook)>, Stop> {
    let mut found = Vec::new();
    for record in reader.scan(from, to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a webhook's key"))?;
        found.push((place, view::decoded(&bytes)?));
    }
    Ok(found)
}
