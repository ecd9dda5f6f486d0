//! A change of a value is an event for whoever watches its bucket, published in the operation that makes it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::edit::Edit;
use super::super::fault::Fault;
use super::super::name::Place;
use super::super::op::Publish;
use super::super::record::Watcher;
use super::super::refusal::{Reason, Refusal};
use super::super::{bucket, hops, luck, moment, queue};
use super::text;

/// What fires, as the records of invocations tell it.
const KIND: &str = "bucket";
/// The types of the events.
const SET: &str = "dev.coracle.kv.set";
const DELETED: &str = "dev.coracle.kv.deleted";

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set {
        version: u64,
        /// Of the value.
        bytes: u64,
    },
    Deleted,
}

/// What is told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Told {
    /// The event's type.
    pub(in super::super) kind: &'static str,
    /// Of what is there now, or of the change.
    pub(in super::super) version: u64,
    /// JSON.
    pub(in super::super) data: Bytes,
}

/// A message for each watcher that the change concerns. Whoever's queue is full refuses it.
pub(super) fn tell(edit: &mut Edit<'_>, place: &Place, key: &[u8], change: Change) -> Result<(), Fault> {
    match change {
        Change::Set { version, bytes } => {
            let data = data(place, key, version, bytes);
            tell_watchers(edit, (place, key), true, |_| Told { kind: SET, version, data })
        }
        Change::Deleted => tell_watchers(edit, (place, key), false, |edit| {
            // Later than what was there, and before what comes.
            let version = edit.next();
            Told { kind: DELETED, version, data: data(place, key, version, 0) }
        }),
    }
}

/// The same of whatever a bucket holds: what is told is made where somebody is to be told.
pub(in super::super) fn tell_watchers(
    edit: &mut Edit<'_>,
    (place, key): (&Place, &[u8]),
    sets: bool,
    told: impl FnOnce(&mut Edit<'_>) -> Told,
) -> Result<(), Fault> {
    let watchers = bucket::watchers(edit, place)?.watchers;
    let concerned: Vec<_> = watchers.into_iter().filter(|it| concerns(it, key, sets)).collect();
    if concerned.is_empty() {
        return Ok(());
    }
    hops::check(edit.hops)?;
    edit.copy(concerned.len(), || format!("the watchers of bucket '{place}'"))?;
    let Told { kind, version, data } = told(edit);
    let attributes = attributes(edit, key, kind, version);
    for (position, watcher) in concerned.iter().enumerate() {
        let to = Place::of_watcher(place, &watcher.function);
        let to = to.map_err(|error| Refusal::of(Reason::Invalid, error))?;
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        let publish = Publish {
            queue: to,
            source: event_source(place),
            id: String::new(),
            group: String::new(),
            attributes: attributes.clone(),
            delay_ms: 0,
            data: data.clone(),
            invocation: luck::invocation(edit.moment.random, edit.upcoming(), position),
            kind: KIND.to_owned(),
            http: None,
            fingerprint: Bytes::new(),
            also: String::new(),
        };
        queue::publish(edit, &publish)?;
    }
    Ok(())
}

/// Where a bucket's events come from.
pub(in super::super) fn event_source(bucket: &Place) -> String {
    format!("//{}/bucket/{}", bucket.namespace, bucket.name)
}

fn concerns(watcher: &Watcher, key: &[u8], sets: bool) -> bool {
    let wanted = if sets { watcher.sets } else { watcher.deletes };
    wanted && key.starts_with(watcher.prefix.as_bytes()) && key.ends_with(watcher.suffix.as_bytes())
}

fn attributes(edit: &Edit<'_>, key: &[u8], kind: &str, version: u64) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([
        ("type".to_owned(), kind.to_owned()),
        ("subject".to_owned(), text::subject(key)),
        ("time".to_owned(), moment::rfc3339(edit.moment.now_ms)),
        ("sequence".to_owned(), version.to_string()),
        ("datacontenttype".to_owned(), "application/json".to_owned()),
    ]);
    if edit.hops > 0 {
        attributes.insert(hops::ATTRIBUTE.to_owned(), edit.hops.to_string());
    }
    attributes
}

/// JSON: names and numbers, not the value.
fn data(place: &Place, key: &[u8], version: u64, bytes: u64) -> Bytes {
    let bucket = text::json(place.name.as_str());
    let shown = text::json(&text::subject(key));
    let exact = match text::plain(key) {
        Some(_) => String::new(),
        None => format!("\"key_base64\":\"{}\",", text::base64(key)),
    };
    format!("{{\"bucket\":{bucket},\"key\":{shown},{exact}\"version\":{version},\"bytes\":{bytes}}}").into()
}
