//! Goal: thousands of random operations leave the blobs and uploads that plain maps have, and no row besides theirs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{Bench, Seen, effected, luck, perform, place};
use super::blob_bench::{TIME_MS, begin, change, here, only_if, only_named, part, parts, upload};
use crate::model::{
    BlobBecomes, Due, Effected, Op, Outcome, Part, Reason, UploadId, blobs, bucket, committed, keys,
};

const KEYS: [&str; 5] = ["a", "aa", "b/1", "b/2", "\u{fc}"];
const KEYS_MAX: u64 = 4;
const BYTES_MAX: u64 = 500;

/// A blob as a map has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    version: u64,
    bytes: u64,
    etag: String,
    parts: Option<(UploadId, Vec<Part>)>,
}

#[derive(Debug, Clone)]
struct Open {
    key: &'static str,
    parts: BTreeMap<u32, Part>,
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Oracle {
    cells: BTreeMap<&'static str, Cell>,
    open: BTreeMap<UploadId, Open>,
}

impl Oracle {
    fn bytes(&self) -> u64 {
        self.cells.iter().map(|(key, cell)| key.len() as u64 + cell.bytes).sum()
    }

    /// Why a blob of so many bytes is refused.
    fn bounds(&self, key: &'static str, bytes: u64) -> Option<Reason> {
        let old = self.cells.get(key).map_or(0, |cell| key.len() as u64 + cell.bytes);
        let weight = key.len() as u64 + bytes;
        if !self.cells.contains_key(key) && self.cells.len() as u64 == KEYS_MAX {
            return Some(Reason::BucketFullKeys);
        }
        let after = self.bytes() - old + weight;
        (after > BYTES_MAX).then_some(if weight > BYTES_MAX {
            Reason::NeverFits
        } else {
            Reason::BucketFullBytes
        })
    }
}

struct Play {
    luck: StdRng,
    bench: Bench,
    oracle: Oracle,
}

impl Play {
    fn key(&mut self) -> &'static str {
        KEYS[self.luck.random_range(0..KEYS.len())]
    }

    fn some_upload(&mut self) -> Option<UploadId> {
        let count = self.oracle.open.len();
        (count > 0).then(|| *self.oracle.open.keys().nth(self.luck.random_range(0..count)).unwrap())
    }

    fn step(&mut self) -> Outcome {
        self.bench.now_ms += self.luck.random_range(0..TIME_MS / 4);
        match self.luck.random_range(0..12) {
            0..2 => self.begin(),
            2..5 => self.put_part(),
            5..7 => self.commit_parts(),
            7..9 => self.commit_here(),
            9 => self.delete(),
            10 => self.abort(),
            _ => self.sweep(),
        }
    }

    fn begin(&mut self) -> Outcome {
        let key = self.key();
        let outcome = self.bench.run(begin(key, 0));
        let Outcome::UploadBegun(id) = outcome else { panic!("{outcome:?}") };
        let until_ms = self.bench.now_ms + TIME_MS;
        assert!(self.oracle.open.keys().all(|before| *before < id), "ids grow");
        self.oracle.open.insert(id, Open { key, parts: BTreeMap::new(), until_ms });
        outcome
    }

    fn put_part(&mut self) -> Outcome {
        let Some(id) = self.some_upload() else { return self.begin() };
        let number = [1, 2, 100, 101, 10_000][self.luck.random_range(0..5)];
        let part = part(number, self.luck.random(), self.luck.random_range(1..200));
        let until_ms = self.bench.now_ms + TIME_MS;
        let open = self.oracle.open.get_mut(&id).unwrap();
        open.parts.insert(number, part.clone());
        open.until_ms = until_ms;
        let key = open.key;
        self.bench.put_part(key, id, part)
    }

    fn commit_parts(&mut self) -> Outcome {
        let Some(id) = self.some_upload() else { return self.begin() };
        let open = self.oracle.open[&id].clone();
        let chosen: Vec<Part> = open.parts.values().filter(|_| self.luck.random_bool(0.8)).cloned().collect();
        let told = self.luck.random_bool(0.3);
        let named = chosen.iter().map(|part| if told { part.clone() } else { only_named(part) }).collect();
        let outcome = self.bench.run(perform(vec![change(open.key, parts(id, named))]));
        let bytes = chosen.iter().map(|part| part.bytes).sum();
        let refused =
            if chosen.is_empty() { Some(Reason::Invalid) } else { self.oracle.bounds(open.key, bytes) };
        if self.committed(open.key, bytes, refused, &outcome) {
            self.oracle.open.remove(&id);
            let kept = chosen.into_iter().map(|part| Part { digest: Bytes::new(), ..part }).collect();
            self.oracle.cells.get_mut(open.key).unwrap().parts = Some((id, kept));
        }
        outcome
    }

    fn commit_here(&mut self) -> Outcome {
        let (key, bytes) = (self.key(), self.luck.random_range(0..600));
        let put = change(key, here(&"x".repeat(bytes)));
        let etag = self.oracle.cells.get(key).map(|cell| cell.etag.clone());
        let (put, holds) = match (self.luck.random_range(0..4), &etag) {
            (0, etag) => (only_if(put, "", true), etag.is_none()),
            (1, Some(etag)) => (only_if(put, etag, false), true),
            (2, etag) => (only_if(put, "*", false), etag.is_some()),
            _ => (put, true),
        };
        let outcome = self.bench.run(perform(vec![put]));
        let refused = if holds { self.oracle.bounds(key, bytes as u64) } else { Some(Reason::Precondition) };
        self.committed(key, bytes as u64, refused, &outcome);
        outcome
    }

    /// Whether it was, as it should.
    fn committed(
        &mut self,
        key: &'static str,
        size: u64,
        refused: Option<Reason>,
        outcome: &Outcome,
    ) -> bool {
        if let Some(expected) = refused {
            assert!(matches!(outcome, Outcome::Refused(why) if why.reason == expected), "{outcome:?}");
            return false;
        }
        let [Effected::Committed { version, bytes, etag, existed, modified_ms }] = effected(outcome) else {
            panic!("{outcome:?}");
        };
        assert_eq!((*bytes, *modified_ms), (size, self.bench.now_ms));
        let cell = Cell { version: *version, bytes: size, etag: etag.clone(), parts: None };
        let before = self.oracle.cells.insert(key, cell);
        assert_eq!(*existed, before.is_some());
        assert!(before.is_none_or(|before| before.version < *version));
        true
    }

    fn delete(&mut self) -> Outcome {
        let key = self.key();
        let outcome = self.bench.run(perform(vec![change(key, BlobBecomes::Nothing)]));
        let existed = self.oracle.cells.remove(key).is_some();
        assert_eq!(effected(&outcome), [Effected::Deleted { existed }]);
        outcome
    }

    fn abort(&mut self) -> Outcome {
        let Some(id) = self.some_upload() else { return self.begin() };
        let open = self.oracle.open.remove(&id).unwrap();
        let outcome = self.bench.run(Op::AbortUpload(upload(open.key, id)));
        assert_eq!(outcome, Outcome::Done);
        outcome
    }

    fn sweep(&mut self) -> Outcome {
        let outcome = self.bench.run(Op::Sweep { due: Due::Uploads, steps: 99, from_ms: 0 });
        let now_ms = self.bench.now_ms;
        let before = self.oracle.open.len();
        self.oracle.open.retain(|_, open| open.until_ms > now_ms);
        let ended = before - self.oracle.open.len();
        assert!(matches!(outcome, Outcome::Moved { moved, more: false, .. } if moved as usize == ended));
        outcome
    }

    fn compare(&self) {
        let (records, oracle, b) = (&self.bench.records, &self.oracle, place("b"));
        let found = blobs(records, &b, "", None, 99).unwrap().entries;
        assert_eq!(found.len(), oracle.cells.len());
        let mut expected = BTreeSet::new();
        for it in found {
            let cell = &oracle.cells[&it.key[..]];
            assert_eq!(
                (it.blob.version, it.blob.bytes, &it.blob.etag),
                (cell.version, cell.bytes, &cell.etag)
            );
            expected.insert(keys::blob(&b, &it.key));
            match &cell.parts {
                None => expected.insert(keys::blob_data(&b, &it.key)),
                Some((id, parts)) => {
                    assert_eq!(committed(records, *id).unwrap().as_ref(), Some(parts));
                    expected.insert(keys::committed(*id));
                    expected.insert(keys::commit(cell.version, *id))
                }
            };
        }
        for (id, open) in &oracle.open {
            expected.insert(keys::upload(*id));
            expected.insert(keys::upload_of(&b, *id));
            expected.insert(keys::timer(Due::Uploads, open.until_ms, &keys::upload(*id)));
            expected.extend(open.parts.keys().map(|number| keys::parts(*id, (number - 1) / 100)));
        }
        let kinds = [&b"K"[..], b"D", b"M", b"S", b"U", b"P", b"N", b"tu"];
        let rows = records.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(kind)));
        assert_eq!(rows.cloned().collect::<BTreeSet<_>>(), expected);
        let counts = bucket(records, &b).unwrap().unwrap().bucket;
        assert_eq!((counts.keys, counts.bytes), (oracle.cells.len() as u64, oracle.bytes()));
        assert_eq!(counts.uploads, oracle.open.len() as u64);
    }
}

fn play(seed: u64, steps: u32) -> Seen {
    let (bench, oracle) = (Bench::with_blobs(KEYS_MAX, BYTES_MAX), Oracle::default());
    let (mut play, mut seen) = (Play { luck: luck(seed), bench, oracle }, Seen::default());
    for _ in 0..steps {
        let outcome = play.step();
        seen.outcome(&outcome);
        play.compare();
    }
    seen
}

#[test]
fn random_changes_leave_what_maps_have() {
    let seen = play(rand::random(), 4_000);
    seen.expect(&[
        "Performed",
        "UploadBegun",
        "Moved",
        "Done",
        "Invalid",
        "Precondition",
        "BucketFullKeys",
        "BucketFullBytes",
        "NeverFits",
    ]);
}

#[test]
fn a_seed_replays() {
    assert_eq!(play(0xb10b, 300), play(0xb10b, 300));
}
