//! Secrets read off a view.

use coracle_proto::id::Namespace;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::{Name, Place};
use super::super::record::Secret;
use super::super::{keys, view};

/// A secret; none: there is none.
///
/// # Errors
/// When it cannot be read, as all here.
pub fn secret(reader: &dyn Reader, place: &Place) -> Result<Option<Secret>, Stop> {
    view::get(reader, &keys::secret(place))
}

/// The secrets of a namespace in the order of their names, those after `after`, as many as `most` and no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn secrets(
    reader: &dyn Reader,
    namespace: &Namespace,
    after: Option<&Name>,
    most: usize,
) -> Result<Vec<(Place, Secret)>, Stop> {
    let (from, to) = keys::secrets_of(namespace, after);
    let mut found = Vec::new();
    for record in reader.scan(&from, &to).take(most.min(PAGE_MAX)) {
        let (key, bytes) = record?;
        let place = keys::place_of(&key).ok_or_else(|| unreadable("a secret's key"))?;
        found.push((place, view::decoded(&bytes)?));
    }
    Ok(found)
}

/// The webhooks that use a secret, no more than [`PAGE_MAX`].
///
/// # Errors
/// When they cannot be read.
pub fn users(reader: &dyn Reader, secret: &Place) -> Result<Vec<Name>, Stop> {
    let rows = view::keys(reader, &keys::users(secret), PAGE_MAX)?;
    rows.iter().map(|key| keys::user_name(key).ok_or_else(|| unreadable("who uses a secret"))).collect()
}
