//! Records read off a view or a draft.

use bytes::Bytes;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::codec::Stored;
use super::fault::unreadable;

/// The record under a key.
///
/// # Errors
/// When it cannot be read.
pub(super) fn get<R: Stored>(reader: &dyn Reader, key: &[u8]) -> Result<Option<R>, Stop> {
    reader.get(key)?.map(|bytes| decoded(&bytes)).transpose()
}

/// A record of these bytes.
///
/// # Errors
/// When they are none.
pub(super) fn decoded<R: Stored>(bytes: &[u8]) -> Result<R, Stop> {
    R::decode(bytes).map_err(|error| unreadable(&format!("{}: {error}", R::WHAT)))
}

/// The keys of a range, in order, as many as `most`.
///
/// # Errors
/// When they cannot be read.
pub(super) fn keys(
    reader: &dyn Reader,
    (from, to): &(Bytes, Bytes),
    most: usize,
) -> Result<Vec<Bytes>, Stop> {
    let mut found = Vec::new();
    for record in reader.scan(from, to).take(most) {
        found.push(record?.0);
    }
    Ok(found)
}
