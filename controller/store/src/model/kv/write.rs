//! Changes of values: within the bucket's bounds, each with a version of its own, each with a timer where it expires. Who watches the
//! bucket is told in the same operation.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::bucket;
use super::super::edit::Edit;
use super::super::fault::{Fault, unreadable};
use super::super::hops;
use super::super::keys::{self, Due};
use super::super::limits::{HOPS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::super::name::Place;
use super::super::op::{Change, Check, Write};
use super::super::outcome::Effected;
use super::super::record::{Bucket, Holds, Late, Value};
use super::super::refusal::{Reason, Refusal};
use super::event;

/// Of what somebody could not be told it is told again after so long, and after twice as long each time.
const AGAIN_MS: u64 = 1000;
/// But after so long at most.
const AGAIN_MS_MAX: u64 = 60_000;

/// Buckets of which somebody had no room in one sweep: the rest of it does not ask again.
pub(in super::super) type Full = BTreeSet<Place>;

/// Makes the change, or refuses it.
pub(in super::super) fn write(edit: &mut Edit<'_>, write: &Write) -> Result<Effected, Fault> {
    check_key(&write.key)?;
    let slot = Slot::open(edit, &write.bucket, &write.key)?;
    bucket::check_kept(&write.bucket, &slot.bucket)?;
    if slot.bucket.holds != Holds::Values {
        let sentence = format!("bucket '{}' holds blobs, no values", write.bucket);
        return Err(Refusal::of(Reason::Invalid, sentence).into());
    }
    // Also what has expired and nobody was told of yet.
    let (watched, stood) = (slot.bucket.watched, slot.stored.is_some());
    let effected = change(slot, &write.change)?;
    if watched {
        let told = match effected {
            Effected::Written { version, .. } => {
                let stored = edit.get::<Value>(&keys::value(&write.bucket, &write.key))?;
                if stored.as_ref().is_some_and(|value| value.expires_ms.is_some()) {
                    // Its end is an event too.
                    hops::check(edit.hops)?;
                }
                let bytes = stored.map_or(0, |value| u64::try_from(value.data.len()).unwrap_or(u64::MAX));
                Some(event::Change::Set { version, bytes })
            }
            Effected::Deleted { .. } => stood.then_some(event::Change::Deleted),
            Effected::Published { .. }
            | Effected::Spread { .. }
            | Effected::Checked
            | Effected::Committed { .. } => None,
        };
        if let Some(told) = told {
            event::tell(edit, &write.bucket, &write.key, told)?;
        }
    }
    Ok(effected)
}

fn change(mut slot: Slot<'_, '_>, change: &Change) -> Result<Effected, Fault> {
    let now_ms = slot.edit.moment.now_ms;
    let expires = |ttl_ms: &Option<u64>| ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
    match change {
        Change::Set { data, ttl_ms } => slot.set(data.clone(), expires(ttl_ms), None),
        Change::CompareAndSet { expected, data, ttl_ms } => {
            slot.expect(*expected)?;
            slot.set(data.clone(), expires(ttl_ms), None)
        }
        Change::Increment { by } => {
            let (number, expires_ms) = slot.incremented(*by)?;
            slot.set(number.to_string().into(), expires_ms, Some(number))
        }
        Change::Delete => {
            let existed = slot.live().is_some();
            slot.clear();
            Ok(Effected::Deleted { existed })
        }
    }
}

/// Takes a value away that is known to be there.
pub(in super::super) fn take(edit: &mut Edit<'_>, bucket: &Place, key: &[u8]) -> Result<(), Fault> {
    Slot::open(edit, bucket, key)?.clear();
    Ok(())
}

/// What was read is as it was, or the operation is refused.
pub(in super::super) fn check(edit: &Edit<'_>, check: &Check) -> Result<Effected, Fault> {
    let Check { bucket, key, version } = check;
    let stored = edit.get::<Value>(&keys::value(bucket, key))?;
    let live = stored.filter(|value| value.is_live(edit.moment.now_ms));
    let found = live.map_or(0, |value| value.version);
    if found == *version {
        return Ok(Effected::Checked);
    }
    Err(Refusal::over(Reason::Mismatch, named(bucket, key), found, *version).into())
}

/// Takes a value away whose timer is due. Where somebody is to be told and has no room it stays, for nobody to see, and is tried again.
/// False: the entry has no copies left, of its own or of all, and the timer is to stay as it is: one value's copies always fit
/// into an entry that begins.
pub(in super::super) fn expire(edit: &mut Edit<'_>, subject: &[u8], full: &mut Full) -> Result<bool, Fault> {
    let (bucket, key) = keys::subject_parts(subject).ok_or_else(|| unreadable("a value's timer"))?;
    let mut slot = Slot::open(edit, &bucket, key)?;
    let Some(stored) = slot.stored.clone().filter(|_| slot.live().is_none()) else { return Ok(true) };
    if !slot.bucket.watched {
        slot.clear();
        return Ok(true);
    }
    if full.contains(&bucket) {
        slot.put_off();
        return Ok(true);
    }
    let gone = edit.attempt(|edit| {
        // What was let in before the bucket was watched is told at least once.
        edit.hops = stored.hops.min(HOPS_MAX);
        Slot::open(edit, &bucket, key)?.clear();
        event::tell(edit, &bucket, key, event::Change::Deleted)
    });
    match gone {
        Ok(()) => Ok(true),
        Err(Fault::Refused(refusal)) if matches!(refusal.reason, Reason::Busy | Reason::NeverFits) => {
            Ok(false)
        }
        Err(Fault::Refused(_) | Fault::Full(..)) => {
            Slot::open(edit, &bucket, key)?.put_off();
            full.insert(bucket);
            Ok(true)
        }
        Err(stop @ Fault::Stop(_)) => Err(stop),
    }
}

fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::of(Reason::Invalid, "a key has at least one byte"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::over_size(Reason::TooLarge, "a key", key.len(), KEY_BYTES_MAX));
    }
    Ok(())
}

/// A key of a bucket, with what stands there.
struct Slot<'e, 'a> {
    edit: &'e mut Edit<'a>,
    place: &'e Place,
    key: &'e [u8],
    bucket: Bucket,
    /// Also what has expired and is not swept yet: it counts in the bucket.
    stored: Option<Value>,
    /// Of what has expired: when somebody is told of it again.
    late: Option<Late>,
}

impl<'e, 'a> Slot<'e, 'a> {
    fn open(edit: &'e mut Edit<'a>, place: &'e Place, key: &'e [u8]) -> Result<Self, Fault> {
        let bucket = bucket::need(edit, place)?;
        let stored: Option<Value> = edit.get(&keys::value(place, key))?;
        let expired = stored.as_ref().is_some_and(|value| !value.is_live(edit.moment.now_ms));
        let late = if expired { edit.get(&keys::late(place, key))? } else { None };
        Ok(Self { edit, place, key, bucket, stored, late })
    }

    /// What is there for whoever looks now.
    fn live(&self) -> Option<&Value> {
        self.stored.as_ref().filter(|value| value.is_live(self.edit.moment.now_ms))
    }

    fn expect(&self, expected: Option<u64>) -> Result<(), Refusal> {
        let version = self.live().map(|value| value.version);
        if version == expected {
            return Ok(());
        }
        let (found, expected) = (version.unwrap_or_default(), expected.unwrap_or_default());
        Err(Refusal::over(Reason::Mismatch, self.named(), found, expected))
    }

    fn incremented(&self, by: i64) -> Result<(i64, Option<u64>), Refusal> {
        let (number, expires_ms) = match self.live() {
            None => (0, None),
            Some(value) => (self.number(&value.data)?, value.expires_ms),
        };
        let sum = number.checked_add(by).ok_or_else(|| Refusal::of(Reason::Overflow, self.named()))?;
        Ok((sum, expires_ms))
    }

    fn number(&self, data: &[u8]) -> Result<i64, Refusal> {
        let digits = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
        digits.ok_or_else(|| Refusal::of(Reason::NotANumber, self.named()))
    }

    fn set(mut self, data: Bytes, expires_ms: Option<u64>, number: Option<i64>) -> Result<Effected, Fault> {
        if data.len() > VALUE_BYTES_MAX {
            return Err(Refusal::over_size(Reason::TooLarge, "a value", data.len(), VALUE_BYTES_MAX).into());
        }
        let before = self.bucket;
        self.clear();
        self.bucket.keys += 1;
        self.bucket.bytes += self.weight(&data);
        self.check_bounds(before)?;
        let version = self.edit.next();
        let at = keys::value(self.place, self.key);
        if let Some(expires_ms) = expires_ms {
            self.edit.mark(keys::timer(Due::Values, expires_ms, &at));
        }
        let hops = expires_ms.map_or(0, |_| self.edit.hops);
        self.edit.put(at, &Value { version, expires_ms, data, hops });
        self.edit.put(keys::bucket(self.place), &self.bucket);
        Ok(Effected::Written { version, number })
    }

    /// Nothing is stored here any more.
    fn clear(&mut self) {
        let Some(stored) = self.stored.take() else { return };
        let at = keys::value(self.place, self.key);
        let late = self.late.take();
        if late.is_some() {
            self.edit.remove(&keys::late(self.place, self.key));
        }
        if let Some(timer_ms) = late.map(|late| late.timer_ms).or(stored.expires_ms) {
            self.edit.remove(&keys::timer(Due::Values, timer_ms, &at));
        }
        self.edit.remove(&at);
        self.bucket.keys = self.bucket.keys.saturating_sub(1);
        self.bucket.bytes = self.bucket.bytes.saturating_sub(self.weight(&stored.data));
        self.edit.put(keys::bucket(self.place), &self.bucket);
    }

    /// Somebody is told of what has expired later: as long after now as it has waited by now. Its timer, which is due, goes by itself.
    fn put_off(self) {
        let Some(expires_ms) = self.stored.and_then(|stored| stored.expires_ms) else { return };
        let now_ms = self.edit.moment.now_ms;
        let waited_ms = now_ms.saturating_sub(expires_ms);
        let timer_ms = now_ms.saturating_add(waited_ms.clamp(AGAIN_MS, AGAIN_MS_MAX));
        self.edit.mark(keys::timer(Due::Values, timer_ms, &keys::value(self.place, self.key)));
        self.edit.put(keys::late(self.place, self.key), &Late { timer_ms });
    }

    /// A bucket that is over its bounds, which were others once, may shrink.
    fn check_bounds(&self, before: Bucket) -> Result<(), Refusal> {
        let Bucket { keys_max, bytes_max, keys, bytes, .. } = self.bucket;
        if keys > keys_max && keys > before.keys {
            return Err(Refusal::over(Reason::BucketFullKeys, self.place, keys, keys_max));
        }
        if bytes > bytes_max && bytes > before.bytes {
            return Err(Refusal::over(Reason::BucketFullBytes, self.place, bytes, bytes_max));
        }
        Ok(())
    }

    /// Bytes for which the bucket answers.
    fn weight(&self, data: &[u8]) -> u64 {
        u64::try_from(self.key.len() + data.len()).unwrap_or(u64::MAX)
    }

    fn named(&self) -> String {
        named(self.place, self.key)
    }
}

fn named(bucket: &Place, key: &[u8]) -> String {
    format!("'{}' of bucket '{bucket}'", String::from_utf8_lossy(key))
}
