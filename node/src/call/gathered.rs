//! What a call has done to what its function keeps, where that is done with the call's end and not before (docs/adr/0017).

mod blobs;

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::status::{Code, Refusal};

use self::blobs::OwnBlob;
use crate::blobs::Commit;
use crate::values::{Change, Page, Said, Write};

/// Effects of one call.
pub const EFFECTS_MAX: usize = 256;
/// Bytes of them: they are one entry of a log, with the answer.
pub const EFFECTS_BYTES_MAX: usize = 384 << 10;
/// What each effect, and each attribute of a message, has beside its names and its data where it is sent: a message has most.
const FRAME_BYTES: usize = 64;
const ATTRIBUTE_FRAME_BYTES: usize = 12;
/// What was written here has no version yet, and numbers that no version comes to.
const OWN: u64 = 1 << 63;

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// What the call has read, a value or a blob, must be as it was.
    Check {
        /// Of the function's namespace.
        bucket: String,
        /// Which one.
        key: Bytes,
        /// Zero: there was none.
        version: u64,
    },
    /// A value is changed.
    Write {
        /// Of the function's namespace.
        bucket: String,
        /// How.
        write: Write,
    },
    /// A blob becomes what was sent of it before, or is deleted.
    Blob {
        /// Of the function's namespace.
        bucket: String,
        /// Which blob.
        key: String,
        /// None: it is deleted.
        commit: Option<Commit>,
    },
    /// A message is published.
    Publish(Said),
}

impl Effect {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        matches!(self, Self::Check { .. })
    }
}

/// A bucket, and a key in it.
type Slot = (String, Bytes);

/// What the call has put under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// None: it has deleted it.
    pub data: Option<Bytes>,
    /// Greater than any that a store gives.
    pub version: u64,
    /// By how much it is greater than what was there, where the call has done nothing but add to it: what else belongs to the value,
    /// as when it is gone, stays.
    added: Option<i64>,
}

/// All of a call.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    checks: BTreeMap<Slot, u64>,
    writes: BTreeMap<Slot, Own>,
    blobs: BTreeMap<(String, String), OwnBlob>,
    said: Vec<Said>,
    bytes: usize,
    number: u64,
}

impl Gathered {
    /// What the call has put there itself.
    #[must_use]
    pub fn own(&self, bucket: &str, key: &[u8]) -> Option<&Own> {
        self.writes.get(&slot(bucket, key))
    }

    /// At which version a value was when the call read it first.
    #[must_use]
    pub fn read(&self, bucket: &str, key: &[u8]) -> Option<u64> {
        self.checks.get(&slot(bucket, key)).copied()
    }

    /// The call has read a value: it is at this version at the call's end, or the call is made again. What it read first counts.
    ///
    /// # Errors
    /// [`Code::LimitReached`].
    pub fn check(&mut self, bucket: &str, key: &[u8], version: u64) -> Result<(), Refusal> {
        let slot = slot(bucket, key);
        if !self.checks.contains_key(&slot) {
            self.room(weight(bucket, key, 0))?;
            self.checks.insert(slot, version);
        }
        Ok(())
    }

    /// The call puts something under a key, or deletes it. Gives its version here.
    ///
    /// # Errors
    /// [`Code::LimitReached`].
    pub fn write(&mut self, bucket: &str, key: &[u8], data: Option<Bytes>) -> Result<u64, Refusal> {
        self.put(bucket, key, data, None)
    }

    /// The call adds to a number, which it has read, and which is `sum` then. Gives its version here.
    ///
    /// # Errors
    /// [`Code::LimitReached`].
    pub fn add(&mut self, bucket: &str, key: &[u8], by: i64, sum: i64) -> Result<u64, Refusal> {
        let added = match self.own(bucket, key) {
            None => Some(by),
            Some(own) => own.added.and_then(|added| added.checked_add(by)),
        };
        self.put(bucket, key, Some(sum.to_string().into()), added)
    }

    fn put(
        &mut self,
        bucket: &str,
        key: &[u8],
        data: Option<Bytes>,
        added: Option<i64>,
    ) -> Result<u64, Refusal> {
        let slot = slot(bucket, key);
        let size = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len);
        let before = self.writes.remove(&slot);
        let freed = before.as_ref().map_or(0, |own| weight(bucket, key, size(&own.data)));
        self.bytes = self.bytes.saturating_sub(freed);
        if let Err(refusal) = self.room(weight(bucket, key, size(&data))) {
            self.bytes = self.bytes.saturating_add(freed);
            self.writes.extend(before.map(|own| (slot, own)));
            return Err(refusal);
        }
        self.number += 1;
        let version = OWN | self.number;
        self.writes.insert(slot, Own { data, version, added });
        Ok(version)
    }

    /// The call publishes a message.
    ///
    /// # Errors
    /// [`Code::LimitReached`].
    pub fn say(&mut self, said: Said) -> Result<(), Refusal> {
        let attribute = |(name, value): (&String, &String)| name.len() + value.len() + ATTRIBUTE_FRAME_BYTES;
        let attributes = said.attributes.iter().map(attribute).sum::<usize>();
        // Its id and its group have a frame each, and its delay a number.
        let names = said.to.len() + said.source.len() + said.id.len() + said.group.len() + 2 * FRAME_BYTES;
        self.room(said.data.len().saturating_add(attributes).saturating_add(names))?;
        self.said.push(said);
        Ok(())
    }

    /// One more effect, of so many bytes.
    fn room(&mut self, bytes: usize) -> Result<(), Refusal> {
        let (count, bytes) = (self.count() + 1, self.bytes.saturating_add(bytes));
        if count > EFFECTS_MAX || bytes > EFFECTS_BYTES_MAX {
            let said = format!(
                "what a call for an event reads, writes and publishes is done with its end: {EFFECTS_MAX} effects of \
                 {EFFECTS_BYTES_MAX} bytes together, and this would be {count} of {bytes}"
            );
            return Err(Refusal::new(Code::LimitReached, said));
        }
        self.bytes = bytes;
        Ok(())
    }

    fn count(&self) -> usize {
        self.checks.len() + self.writes.len() + self.blobs.len() + self.said.len()
    }

    /// A page of keys behind `after`, as the call sees it: with what it has put there, without what it has deleted.
    #[must_use]
    pub fn seen(&self, bucket: &str, after: &[u8], page: Page) -> Page {
        let Page { keys, after: end } = page;
        let mut seen: BTreeMap<Bytes, u64> = keys.into_iter().collect();
        let on_page = |key: &[u8]| key > after && (end.is_empty() || key <= &end[..]);
        for ((_, key), own) in self.writes.iter().filter(|((of, key), _)| of == bucket && on_page(key)) {
            match own.data {
                Some(_) => seen.insert(key.clone(), own.version),
                None => seen.remove(key),
            };
        }
        Page { keys: seen.into_iter().collect(), after: end }
    }

    /// What is to be done, in this order.
    #[must_use]
    pub fn into_effects(self) -> Vec<Effect> {
        let Self { checks, writes, blobs, said, .. } = self;
        let check = |((bucket, key), version)| Effect::Check { bucket, key, version };
        let write = |((bucket, key), own): (Slot, Own)| {
            let set = |data| Change::Set { data, ttl: None, if_version: None };
            let change = match (own.added, own.data) {
                (Some(by), _) => Change::Increment { by },
                (None, data) => data.map_or(Change::Delete, set),
            };
            Effect::Write { bucket, write: Write { key, change } }
        };
        let blob = |((bucket, key), own): (_, OwnBlob)| Effect::Blob { bucket, key, commit: own.commit };
        let checks = checks.into_iter().map(check);
        let changes = writes.into_iter().map(write).chain(blobs.into_iter().map(blob));
        checks.chain(changes).chain(said.into_iter().map(Effect::Publish)).collect()
    }
}

/// Bytes of an effect on a value.
const fn weight(bucket: &str, key: &[u8], data: usize) -> usize {
    bucket.len().saturating_add(key.len()).saturating_add(data).saturating_add(FRAME_BYTES)
}

fn slot(bucket: &str, key: &[u8]) -> Slot {
    (bucket.to_owned(), Bytes::copy_from_slice(key))
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::InvocationId;
    use prost::Message as _;

    use super::*;
    use crate::stores::effect_to_wire;

    #[test]
    fn effects_are_checks_and_then_the_last_write_of_each_key() {
        let mut gathered = Gathered::default();
        gathered.check("b", b"a", 7).unwrap();
        gathered.check("b", b"a", 9).unwrap();
        assert_eq!(gathered.read("b", b"a"), Some(7), "what was read first");
        let first = gathered.write("b", b"a", Some("1".into())).unwrap();
        let second = gathered.write("b", b"a", Some("2".into())).unwrap();
        assert!(second > first && first > u64::MAX / 2);
        gathered.write("b", b"gone", None).unwrap();
        assert_eq!(gathered.own("b", b"a").unwrap().data.as_deref(), Some(&b"2"[..]));
        let effects = gathered.into_effects();
        let set = Change::Set { data: "2".into(), ttl: None, if_version: None };
        let write = |key: &'static str, change| Effect::Write {
            bucket: "b".to_owned(),
            write: Write { key: key.into(), change },
        };
        let check = Effect::Check { bucket: "b".to_owned(), key: "a".into(), version: 7 };
        assert_eq!(effects, [check, write("a", set), write("gone", Change::Delete)]);
    }

    /// The store adds, so that what else belongs to the value stays, such as its time to live.
    #[test]
    fn what_the_call_only_adds_to_is_added_to_at_its_end() {
        let mut gathered = Gathered::default();
        for (by, sum) in [(2, 7), (-3, 4)] {
            gathered.add("b", b"added", by, sum).unwrap();
        }
        assert_eq!(
            gathered.own("b", b"added").unwrap().data.as_deref(),
            Some(&b"4"[..]),
            "as the call sees it"
        );
        gathered.write("b", b"set", Some("1".into())).unwrap();
        gathered.add("b", b"set", 1, 2).unwrap();
        gathered.add("b", b"then set", 1, 2).unwrap();
        gathered.write("b", b"then set", Some("9".into())).unwrap();
        for sum in [i64::MAX - 1, i64::MAX] {
            gathered.add("b", b"too far", i64::MAX, sum).unwrap();
        }
        let set = |data: String| Change::Set { data: data.into(), ttl: None, if_version: None };
        let write = |(key, change): (&'static str, Change)| Effect::Write {
            bucket: "b".to_owned(),
            write: Write { key: key.into(), change },
        };
        let expected = [
            ("added", Change::Increment { by: -1 }),
            ("set", set("2".to_owned())),
            ("then set", set("9".to_owned())),
            ("too far", set(i64::MAX.to_string())),
        ];
        assert_eq!(gathered.into_effects(), expected.map(write));
    }

    #[test]
    fn both_bounds_name_themselves_and_what_is_written_again_counts_once() {
        let mut gathered = Gathered::default();
        for number in 0..EFFECTS_MAX {
            gathered.check("b", &number.to_be_bytes(), 1).unwrap();
        }
        gathered.check("b", &0_usize.to_be_bytes(), 1).unwrap();
        let refused = gathered.check("b", b"one more", 1).unwrap_err();
        assert!(refused.code == Code::LimitReached && refused.message.contains("257 of"), "{refused}");
        let mut gathered = Gathered::default();
        let half = || Some(Bytes::from(vec![0; EFFECTS_BYTES_MAX / 2]));
        for _ in 0..10 {
            gathered.write("b", b"a", half()).unwrap();
        }
        let refused = gathered.write("b", b"c", half()).unwrap_err();
        assert!(refused.message.contains("393216 bytes"), "{refused}");
    }

    /// The store counts them as they are sent, and would refuse at the end what was taken here.
    #[test]
    fn what_is_taken_is_as_sent_within_the_bound() {
        let key = |number: usize, bytes: usize| [vec![b'k'; bytes], number.to_be_bytes().to_vec()].concat();
        let said = |bytes: usize| Said {
            to: "q".to_owned(),
            invocation: InvocationId::new(u128::MAX),
            source: "s".repeat(bytes),
            id: "i".repeat(bytes),
            group: "g".repeat(bytes),
            delay: std::time::Duration::from_secs(1_000_000),
            attributes: (0..bytes).map(|number| (format!("a{number}"), "v".to_owned())).collect(),
            data: vec![0; bytes].into(),
        };
        for bytes in [1, 20, 200, 1000] {
            let mut gathered = Gathered::default();
            for number in 0.. {
                let key = key(number, bytes);
                let refused = match number % 4 {
                    0 => gathered.check("bucket", &key, u64::MAX).is_err(),
                    1 => gathered.write("bucket", &key, Some(vec![0; bytes * 20].into())).is_err(),
                    2 => gathered.write("bucket", &key, None).is_err(),
                    _ => gathered.say(said(bytes.min(200))).is_err(),
                };
                if refused {
                    break;
                }
            }
            let counted = gathered.bytes;
            let sent: usize =
                gathered.into_effects().into_iter().map(|it| effect_to_wire(it).encoded_len()).sum();
            assert!(sent <= counted && counted <= EFFECTS_BYTES_MAX, "{bytes}: {sent} of {counted}");
        }
    }

    #[test]
    fn a_page_shows_what_the_call_has_done() {
        let mut gathered = Gathered::default();
        for (key, data) in [("b", Some("")), ("d", None), ("e", Some("")), ("a", Some(""))] {
            gathered.write("x", key.as_bytes(), data.map(Bytes::from)).unwrap();
        }
        gathered.write("other", b"c", Some("".into())).unwrap();
        let page =
            |after: &'static str| Page { keys: vec![("c".into(), 1), ("d".into(), 2)], after: after.into() };
        let keys = |after: &'static str| {
            let seen = gathered.seen("x", b"a", page(after)).keys;
            seen.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(keys("d"), ["b", "c"], "what is behind the page is on the next one");
        assert_eq!(keys(""), ["b", "c", "e"]);
    }
}
