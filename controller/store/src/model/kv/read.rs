//! Values read off a view, at a time: what has expired by then is not there.

use bytes::Bytes;
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::limits::PAGE_MAX;
use super::super::name::Place;
use super::super::record::Value;
use super::super::{keys, view};

/// A value with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// What is there.
    pub value: Value,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of keys.
    pub entries: Vec<Entry>,
    /// Where the next page begins: after this key. None: the list ends here.
    pub after: Option<Bytes>,
}

/// How much of a list a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageBounds {
    /// Values: from 1 to [`PAGE_MAX`], whatever this says.
    pub most: usize,
    /// Bytes of keys and data together. The first value is on the page in any case.
    pub bytes_max: usize,
    /// The data of each is left out.
    pub keys_only: bool,
}

/// The value under a key, if it is there at `at_ms`, Unix milliseconds.
///
/// # Errors
/// When it cannot be read.
pub fn value(reader: &dyn Reader, bucket: &Place, key: &[u8], at_ms: u64) -> Result<Option<Value>, Stop> {
    let found = view::get::<Value>(reader, &keys::value(bucket, key))?;
    Ok(found.filter(|value| value.is_live(at_ms)))
}

/// The values whose keys begin with `prefix` and come after `after`, within the bounds; what is not on the page is not held.
/// A page may have fewer and yet not be the last one: what has expired was looked at too.
///
/// # Errors
/// When they cannot be read.
pub fn values(
    reader: &dyn Reader,
    bucket: &Place,
    prefix: &[u8],
    after: Option<&[u8]>,
    bounds: PageBounds,
    at_ms: u64,
) -> Result<Page, Stop> {
    let (first, end) = keys::values(bucket, prefix);
    // The least key after another one is the same with a zero byte behind it.
    let next = after.map(|after| keys::value(bucket, &[after, b"\0"].concat()));
    let from = next.map_or_else(|| first.clone(), |next| next.max(first.clone()));
    let most = bounds.most.clamp(1, PAGE_MAX);
    let (mut entries, mut held, mut looked_at, mut last) = (Vec::new(), 0_usize, 0, None);
    for record in reader.scan(&from, &end) {
        if looked_at == PAGE_MAX || entries.len() == most {
            return Ok(Page { entries, after: last });
        }
        let (key, bytes) = record?;
        let (_, name) = keys::value_parts(&key).ok_or_else(|| unreadable("a value's key"))?;
        let name = key.slice_ref(name);
        let mut value: Value = view::decoded(&bytes)?;
        looked_at += 1;
        if value.is_live(at_ms) {
            if bounds.keys_only {
                value.data = Bytes::new();
            }
            held = held.saturating_add(name.len()).saturating_add(value.data.len());
            if held > bounds.bytes_max && !entries.is_empty() {
                return Ok(Page { entries, after: last });
            }
            entries.push(Entry { key: name.clone(), value });
        }
        last = Some(name);
    }
    Ok(Page { entries, after: None })
}
