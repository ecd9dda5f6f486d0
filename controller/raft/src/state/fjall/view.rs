//! A view of a keyspace: what it held at one moment.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use fjall::{Guard, Keyspace, Readable as _, Snapshot};

use super::engine::{RECORD, record_key};
use super::keyspace::OpenKeyspace;
use super::open::{damaged, error, guarded};
use crate::reader::{Reader, RecordsIter, Whole};

/// What a keyspace held. Nothing of it is freed while somebody has it.
pub(super) struct FjallView {
    snapshot: RwLock<Snapshot>,
    keyspace: Arc<OpenKeyspace>,
}

impl FjallView {
    pub(super) fn new(snapshot: Snapshot, keyspace: Arc<OpenKeyspace>) -> Self {
        Self { snapshot: RwLock::new(snapshot), keyspace }
    }

    /// Sees a newer state of the database, in which the keyspace holds the same.
    pub(super) fn renew(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    fn read<T>(&self, read: impl FnOnce(&Snapshot, &Keyspace) -> fjall::Result<T>) -> io::Result<T> {
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        self.keyspace.with(|keyspace| guarded(|| read(&snapshot, keyspace)))
    }

    /// All records. They are there as long as they are read.
    pub(super) fn everything(&self) -> RecordsIter<'static> {
        self.records(|snapshot, keyspace| snapshot.prefix(keyspace, [RECORD]))
    }

    fn records(&self, iter: impl FnOnce(&Snapshot, &Keyspace) -> fjall::Iter) -> RecordsIter<'static> {
        let mut iter = match self.read(|snapshot, keyspace| Ok(iter(snapshot, keyspace))) {
            Ok(iter) => iter,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let next = move || {
            let next = catch_unwind(AssertUnwindSafe(|| iter.next().map(Guard::into_inner)));
            let next = next.unwrap_or_else(|_| Some(Err(fjall::Error::Unrecoverable)));
            next.map(|record| {
                let (key, value) = record.map_err(error)?;
                let key = key.get(1..).ok_or_else(|| damaged("a record without a key"))?;
                // Copies: a block of a table must not stay in memory for a piece of it.
                Ok((Bytes::copy_from_slice(key), Bytes::copy_from_slice(&value)))
            })
        };
        Box::new(std::iter::from_fn(next))
    }
}

impl Reader for FjallView {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.read(|snapshot, keyspace| snapshot.get(keyspace, record_key(key)))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let range = record_key(from)..record_key(to);
        self.records(|snapshot, keyspace| snapshot.range(keyspace, range))
    }
}

impl Whole for FjallView {
    fn all(&self) -> RecordsIter<'_> {
        self.everything()
    }
}
