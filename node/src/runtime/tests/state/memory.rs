//! What is kept, in memory; and nothing at all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use coracle_proto::id::Namespace;
use coracle_proto::status::{Code, Refusal};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::blobs::Blobs;
use crate::runtime::state::State;
use crate::values::{Bucket, Change, Holds, Page, Said, Value, Write, Written};

/// Keys of a page.
const PAGE_MAX: usize = 3;

/// Where nobody keeps anything.
#[derive(Debug)]
pub(in crate::runtime) struct NoState;

fn no_store<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Refusal>> {
    std::future::ready(Err(Refusal::new(Code::NoStore, "no node keeps anything"))).boxed()
}

impl State for NoState {
    fn holds<'a>(&'a self, _: &'a Bucket, _: Instant) -> BoxFuture<'a, Result<Option<Holds>, Refusal>> {
        no_store()
    }

    fn value<'a>(
        &'a self,
        _: &'a Bucket,
        _: &'a [u8],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, Refusal>> {
        no_store()
    }

    fn version<'a>(
        &'a self,
        _: &'a Bucket,
        _: &'a [u8],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<u64>, Refusal>> {
        no_store()
    }

    fn keys<'a>(&'a self, _: &'a Bucket, _: Bytes, _: Instant) -> BoxFuture<'a, Result<Page, Refusal>> {
        no_store()
    }

    fn write<'a>(
        &'a self,
        _: &'a Bucket,
        _: Vec<Write>,
        _: u32,
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Written>, Refusal>> {
        no_store()
    }

    fn as_blobs(&self) -> Option<Arc<dyn Blobs>> {
        None
    }

    fn publish<'a>(&'a self, _: &'a Namespace, _: Said, _: Instant) -> BoxFuture<'a, Result<(), Refusal>> {
        no_store()
    }
}

/// The bucket `b` of the namespace `default`.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Memory {
    values: Mutex<BTreeMap<Bytes, Value>>,
    said: Mutex<Vec<Said>>,
    /// Of each change.
    hops: Mutex<Vec<u32>>,
    /// Before each of so many values is read somebody else writes it.
    overtakes: Mutex<u32>,
    refuses: Mutex<Option<Refusal>>,
    /// Before each change somebody else makes one, so many times.
    races: Mutex<u32>,
    waits: Mutex<bool>,
    slow: Mutex<bool>,
    /// Held by what waits.
    pub(super) waiting: Arc<()>,
    blobs: Option<Keeper>,
}

/// What keeps blobs.
struct Keeper(Arc<dyn Blobs>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blobs")
    }
}

impl Memory {
    pub(super) fn with_blobs(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs: Some(Keeper(blobs)), ..Self::default() }
    }

    pub(in crate::runtime) fn values(&self) -> MutexGuard<'_, BTreeMap<Bytes, Value>> {
        self.values.lock().unwrap()
    }

    pub(in crate::runtime) fn text(&self, key: &str) -> Option<String> {
        let value = self.values().get(key.as_bytes())?.data.to_vec();
        Some(String::from_utf8(value).unwrap())
    }

    pub(in crate::runtime) fn set(&self, key: impl Into<Bytes>, data: impl Into<Bytes>) {
        let mut values = self.values();
        let version = values.values().map(|it| it.version).max().unwrap_or(0) + 1;
        values.insert(key.into(), Value { data: data.into(), version });
    }

    pub(super) fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    /// Refuses all changes with it.
    pub(super) fn refuse(&self, code: Code, message: &str) {
        *self.refuses.lock().unwrap() = Some(Refusal::new(code, message));
    }

    /// Somebody else sets each key before it is changed, so many times.
    pub(super) fn race(&self, times: u32) {
        *self.races.lock().unwrap() = times;
    }

    /// How many calls in a row led to each change.
    pub(super) fn hops(&self) -> Vec<u32> {
        self.hops.lock().unwrap().clone()
    }

    /// Somebody else sets each value before it is read, so many times.
    pub(super) fn overtake(&self, times: u32) {
        *self.overtakes.lock().unwrap() = times;
    }

    /// Nothing is answered any more.
    pub(super) fn wait(&self) {
        *self.waits.lock().unwrap() = true;
    }

    /// Nothing is answered before whoever asks has waited once.
    pub(super) fn slow(&self) {
        *self.slow.lock().unwrap() = true;
    }

    fn answer<'a, T: Send + 'a>(&self, answer: Result<T, Refusal>) -> BoxFuture<'a, Result<T, Refusal>> {
        if *self.slow.lock().unwrap() {
            return async move {
                tokio::task::yield_now().await;
                answer
            }
            .boxed();
        }
        if !*self.waits.lock().unwrap() {
            return std::future::ready(answer).boxed();
        }
        let held = Arc::clone(&self.waiting);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            answer
        }
        .boxed()
    }

    fn change(&self, writes: Vec<Write>) -> Result<Vec<Written>, Refusal> {
        if let Some(refusal) = self.refuses.lock().unwrap().clone() {
            return Err(refusal);
        }
        let mut races = self.races.lock().unwrap();
        if *races > 0 {
            *races -= 1;
            writes.iter().for_each(|write| self.set(write.key.clone(), "raced"));
        }
        let mut values = self.values();
        let (mut new, mut written) = (values.clone(), Vec::new());
        for Write { key, change } in writes {
            let version = new.values().map(|it| it.version).max().unwrap_or(0) + 1;
            let before = new.remove(&key);
            let (data, number) = match change {
                Change::Delete => (None, None),
                Change::Set { data, if_version, .. } => {
                    let found = before.as_ref().map_or(0, |it| it.version);
                    if if_version.is_some_and(|expected| expected != found) {
                        return Err(Refusal::new(Code::Conflict, "it is at another version"));
                    }
                    (Some(data), None)
                }
                Change::Increment { by } => {
                    let text = before.as_ref().map(|it| String::from_utf8_lossy(&it.data).into_owned());
                    let number = text.map_or(Ok(0), |text| text.parse::<i64>());
                    let number = number.map_err(|_| Refusal::new(Code::InvalidArgument, "no number"))? + by;
                    (Some(number.to_string().into()), Some(number))
                }
            };
            let there = data.is_some();
            written.push(Written {
                version: if there { version } else { 0 },
                number,
                existed: before.is_some(),
            });
            if let Some(data) = data {
                new.insert(key, Value { data, version });
            }
        }
        *values = new;
        Ok(written)
    }
}

impl State for Memory {
    fn holds<'a>(&'a self, bucket: &'a Bucket, _: Instant) -> BoxFuture<'a, Result<Option<Holds>, Refusal>> {
        assert_eq!(bucket.namespace.as_str(), "default");
        let holds = match (bucket.name.as_str(), &self.blobs) {
            ("none", _) => None,
            ("values", _) | (_, None) => Some(Holds::Values),
            (_, Some(_)) => Some(Holds::Blobs),
        };
        self.answer(Ok(holds))
    }

    fn value<'a>(
        &'a self,
        _: &'a Bucket,
        key: &'a [u8],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Value>, Refusal>> {
        let mut overtakes = self.overtakes.lock().unwrap();
        if *overtakes > 0 {
            *overtakes -= 1;
            self.set(key.to_vec(), "theirs");
        }
        self.answer(Ok(self.values().get(key).cloned()))
    }

    fn version<'a>(
        &'a self,
        _: &'a Bucket,
        key: &'a [u8],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<u64>, Refusal>> {
        self.answer(Ok(self.values().get(key).map(|value| value.version)))
    }

    fn keys<'a>(&'a self, _: &'a Bucket, after: Bytes, _: Instant) -> BoxFuture<'a, Result<Page, Refusal>> {
        let values = self.values();
        let behind = values.iter().filter(|(key, _)| **key > after);
        let all: Vec<_> = behind.map(|(key, value)| (key.clone(), value.version)).collect();
        let keys: Vec<_> = all.iter().take(PAGE_MAX).cloned().collect();
        let last = keys.last().map(|(key, _)| key.clone()).filter(|_| all.len() > PAGE_MAX);
        self.answer(Ok(Page { keys, after: last.unwrap_or_default() }))
    }

    fn write<'a>(
        &'a self,
        _: &'a Bucket,
        writes: Vec<Write>,
        hops: u32,
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Written>, Refusal>> {
        self.hops.lock().unwrap().push(hops);
        let written = self.change(writes);
        self.answer(written)
    }

    fn as_blobs(&self) -> Option<Arc<dyn Blobs>> {
        self.blobs.as_ref().map(|blobs| Arc::clone(&blobs.0))
    }

    fn publish<'a>(
        &'a self,
        to: &'a Namespace,
        said: Said,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), Refusal>> {
        assert_eq!(to.as_str(), "default");
        let refused = self.refuses.lock().unwrap().clone();
        if refused.is_none() {
            self.said.lock().unwrap().push(said);
        }
        self.answer(refused.map_or(Ok(()), Err))
    }
}
