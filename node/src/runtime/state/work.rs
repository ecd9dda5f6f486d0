//! What the interfaces have in common: each operation, under the grants and the bounds of the call.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::spec::BucketGrant;
use coracle_proto::status::Code;
use coracle_proto::trace;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use tracing::Span;
use wasmtime::component::Resource;

use super::address::{self, Address};
use super::keeper::{Opened, OpenedBucket, Swapping, View, deadline, looped};
use super::operation::Operation;
use super::trouble::Trouble;
use crate::clock;
use crate::cloudevent::{ATTRIBUTES_BYTES_MAX, attributes_bytes, cut_traces};
use crate::front::moment::rfc3339;
use crate::hops::HOPS_MAX;
use crate::runtime::bounds::{BATCH_KEYS_MAX, BATCH_READ_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::values::{
    Bucket, Change, Holds, KEY_BYTES_MAX, Page, Said, VALUE_BYTES_MAX, Value, Write, Written,
};

/// Values of a batch that are asked for at once.
const READ_AT_ONCE: usize = 16;

type Handle = Resource<OpenedBucket>;

/// Keys, and behind which one they go on.
pub(in crate::runtime) struct Keys {
    pub(in crate::runtime) keys: Vec<String>,
    pub(in crate::runtime) after: Option<Bytes>,
}

/// What became of a swap.
pub(in crate::runtime) enum Swapped {
    Done,
    /// Somebody was first: a handle of what is there now.
    Again(Resource<Swapping>),
}

impl View<'_> {
    /// Opens a bucket that the function was granted and that is there.
    pub(in crate::runtime) async fn open(&mut self, name: String) -> Result<Handle, Trouble> {
        let (task, state) = (self.keeper.task(Operation::Open, 1)?, self.keeper.state());
        let version = Arc::clone(&self.keeper.call()?.version);
        let granted = version.spec.keyvalue().iter().find(|it| it.bucket() == name);
        let opening = async {
            let writes = granted.ok_or(Trouble::Denied)?.may_write();
            let bucket = Bucket { namespace: version.id.function.namespace.clone(), name };
            match state.holds(&bucket, deadline()).await? {
                Some(Holds::Values) => self.push(Arc::new(Opened { bucket, writes })),
                Some(Holds::Blobs) => {
                    Err(Trouble::invalid("the bucket holds blobs: 'wasi:blobstore' has them"))
                }
                None => Err(Trouble::NoBucket),
            }
        };
        task.run(granted.map(BucketGrant::bucket), opening).await
    }

    /// The value under a key.
    pub(in crate::runtime) async fn get(
        &mut self,
        handle: &Handle,
        key: &str,
    ) -> Result<Option<Bytes>, Trouble> {
        let opened = self.opened(handle)?;
        let value = self.look(Operation::Get, &opened, key).await?;
        Ok(value.map(|value| value.data))
    }

    async fn look(
        &mut self,
        operation: Operation,
        opened: &Opened,
        key: &str,
    ) -> Result<Option<Value>, Trouble> {
        let (task, state) = (self.keeper.task(operation, 1)?, self.keeper.state());
        let looking = async {
            check_key(key)?;
            let value = state.value(&opened.bucket, key.as_bytes(), deadline()).await?;
            self.keeper.read(value.as_ref().map_or(0, |it| it.data.len()))?;
            Ok(value)
        };
        task.run(Some(&opened.bucket.name), looking).await
    }

    /// Whether there is a value: at which version.
    async fn version(
        &mut self,
        operation: Operation,
        opened: &Opened,
        key: &str,
    ) -> Result<Option<u64>, Trouble> {
        let (task, state) = (self.keeper.task(operation, 1)?, self.keeper.state());
        let looking = async {
            check_key(key)?;
            Ok(state.version(&opened.bucket, key.as_bytes(), deadline()).await?)
        };
        task.run(Some(&opened.bucket.name), looking).await
    }

    /// Whether there is a value under a key.
    pub(in crate::runtime) async fn exists(&mut self, handle: &Handle, key: &str) -> Result<bool, Trouble> {
        let opened = self.opened(handle)?;
        Ok(self.version(Operation::Exists, &opened, key).await?.is_some())
    }

    /// Sets a value.
    pub(in crate::runtime) async fn set(
        &mut self,
        handle: &Handle,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Trouble> {
        let opened = self.opened(handle)?;
        self.change(Operation::Set, &opened, vec![(key, set(value, None))]).await.map(drop)
    }

    /// Deletes a value, if there is one.
    pub(in crate::runtime) async fn delete(&mut self, handle: &Handle, key: String) -> Result<(), Trouble> {
        let opened = self.opened(handle)?;
        self.change(Operation::Delete, &opened, vec![(key, Change::Delete)]).await.map(drop)
    }

    /// Adds to a number.
    pub(in crate::runtime) async fn increment(
        &mut self,
        handle: &Handle,
        key: String,
        by: i64,
    ) -> Result<i64, Trouble> {
        let opened = self.opened(handle)?;
        let written =
            self.change(Operation::Increment, &opened, vec![(key, Change::Increment { by })]).await?;
        let number = written.first().and_then(|it| it.number);
        number.ok_or_else(|| Trouble::invalid("the value is no number"))
    }

    async fn change(
        &mut self,
        operation: Operation,
        opened: &Opened,
        changes: Vec<(String, Change)>,
    ) -> Result<Vec<Written>, Trouble> {
        let (task, state) = (self.keeper.task(operation, changes.len())?, self.keeper.state());
        let hops = self.keeper.call()?.next_hops();
        let changing = async {
            opened.check_writes()?;
            check_batch(changes.len())?;
            if changes.is_empty() {
                return Ok(Vec::new());
            }
            let writes = changes.into_iter().map(|(key, change)| write(key, change));
            let writes = writes.collect::<Result<Vec<_>, _>>()?;
            Ok(state.write(&opened.bucket, writes, hops, deadline()).await?)
        };
        task.run(Some(&opened.bucket.name), changing).await
    }

    /// A page of keys, behind one of them. Keys that are no text are left out.
    pub(in crate::runtime) async fn list_keys(
        &mut self,
        handle: &Handle,
        after: Bytes,
    ) -> Result<Keys, Trouble> {
        let opened = self.opened(handle)?;
        let (task, state) = (self.keeper.task(Operation::ListKeys, 1)?, self.keeper.state());
        let listing = async {
            let Page { keys, after } = state.keys(&opened.bucket, after, deadline()).await?;
            self.keeper.read(keys.iter().map(|(key, _)| key.len()).sum())?;
            let text = |(key, _): (Bytes, u64)| String::from_utf8(key.into()).ok();
            let keys = keys.into_iter().filter_map(text).collect();
            Ok(Keys { keys, after: Some(after).filter(|after| !after.is_empty()) })
        };
        task.run(Some(&opened.bucket.name), listing).await
    }

    /// [`Self::list_keys`] for those whose cursors are numbers.
    pub(in crate::runtime) async fn list_numbered(
        &mut self,
        handle: &Handle,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), Trouble> {
        let opened = self.opened(handle)?;
        let after = cursor.map(|cursor| self.keeper.behind(&opened.bucket, cursor)).transpose()?;
        let Keys { keys, after } = self.list_keys(handle, after.unwrap_or_default()).await?;
        let next = after.map(|after| self.keeper.cursor(&opened.bucket, after)).transpose()?;
        Ok((keys, next))
    }

    /// Values, in the order of the keys. They are not of one moment.
    pub(in crate::runtime) async fn get_many(
        &mut self,
        handle: &Handle,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, Trouble> {
        let opened = self.opened(handle)?;
        let (task, state) = (self.keeper.task(Operation::GetMany, keys.len())?, self.keeper.state());
        let reading = async {
            check_batch(keys.len())?;
            keys.iter().try_for_each(|key| check_key(key))?;
            let deadline = deadline();
            let asked = keys.iter().map(|key| state.value(&opened.bucket, key.as_bytes(), deadline));
            let mut answers = stream::iter(asked.collect::<Vec<_>>()).buffered(READ_AT_ONCE);
            let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0_usize);
            while let Some(value) = answers.try_next().await? {
                let data = value.map(|value| value.data);
                bytes = bytes.saturating_add(data.as_ref().map_or(0, Bytes::len));
                if bytes > BATCH_READ_BYTES_MAX {
                    let said = format!(
                        "values of one 'get-many' have at most {BATCH_READ_BYTES_MAX} bytes together"
                    );
                    return Err(Trouble::bound(said));
                }
                values.push(data);
            }
            self.keeper.read(bytes)?;
            Ok(values)
        };
        task.run(Some(&opened.bucket.name), reading).await
    }

    /// Sets values: all of them, or none.
    pub(in crate::runtime) async fn set_many(
        &mut self,
        handle: &Handle,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Trouble> {
        let opened = self.opened(handle)?;
        let changes = pairs.into_iter().map(|(key, value)| (key, set(value, None))).collect();
        self.change(Operation::SetMany, &opened, changes).await.map(drop)
    }

    /// Deletes values: all of them, or none.
    pub(in crate::runtime) async fn delete_many(
        &mut self,
        handle: &Handle,
        keys: Vec<String>,
    ) -> Result<(), Trouble> {
        let opened = self.opened(handle)?;
        let changes = keys.into_iter().map(|key| (key, Change::Delete)).collect();
        self.change(Operation::DeleteMany, &opened, changes).await.map(drop)
    }

    /// A handle to swap a value by, if it is then as it is now.
    pub(in crate::runtime) async fn cas(
        &mut self,
        handle: &Handle,
        key: String,
    ) -> Result<Resource<Swapping>, Trouble> {
        let opened = self.opened(handle)?;
        let version = self.version(Operation::Cas, &opened, &key).await?.unwrap_or_default();
        self.push(Swapping { opened, key, version })
    }

    /// The value as it is now: it is from there that it is swapped.
    pub(in crate::runtime) async fn current(
        &mut self,
        handle: &Resource<Swapping>,
    ) -> Result<Option<Bytes>, Trouble> {
        let Swapping { opened, key, .. } = self.table.get(handle)?;
        let (opened, key) = (Arc::clone(opened), key.clone());
        let value = self.look(Operation::Get, &opened, &key).await?;
        self.table.get_mut(handle)?.version = value.as_ref().map_or(0, |it| it.version);
        Ok(value.map(|it| it.data))
    }

    /// Sets the value, if it is as it was.
    pub(in crate::runtime) async fn swap(
        &mut self,
        handle: Resource<Swapping>,
        value: Vec<u8>,
    ) -> Result<Swapped, Trouble> {
        let Swapping { opened, key, version } = self.forget(handle).map_err(Trouble::Broken)?;
        let changes = vec![(key.clone(), set(value, Some(version)))];
        match self.change(Operation::Swap, &opened, changes).await {
            Ok(_) => Ok(Swapped::Done),
            Err(Trouble::Other(refusal)) if refusal.code == Code::Conflict => {
                let version = self.version(Operation::Cas, &opened, &key).await?.unwrap_or_default();
                Ok(Swapped::Again(self.push(Swapping { opened, key, version })?))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Puts a message into a queue or a topic, which the subject says, with what it says of the message.
    pub(in crate::runtime) async fn publish(&mut self, subject: &str, data: Vec<u8>) -> Result<(), Trouble> {
        let (task, state) = (self.keeper.task(Operation::Publish, 1)?, self.keeper.state());
        let call = Arc::clone(self.keeper.call()?);
        let granted = call.version.spec.publish().iter().find(|it| **it == address::queue(subject));
        let publishing = async {
            let to = granted.ok_or(Trouble::Denied)?;
            let address = Address::read(subject)?;
            check_size("a message", data.len(), MESSAGE_BYTES_MAX)?;
            let hops = call.next_hops();
            if usize::try_from(hops).is_ok_and(|hops| hops > HOPS_MAX) {
                return Err(looped(HOPS_MAX));
            }
            let said = said(to, address, &call.version.id.function, hops, data.into());
            // As the store counts them, and not first when the call has ended.
            check_size(
                "what is said of a message, with its trace,",
                attributes_bytes(&said.attributes),
                ATTRIBUTES_BYTES_MAX,
            )?;
            Ok(state.publish(&call.version.id.function.namespace, said, deadline()).await?)
        };
        task.run(granted.map(String::as_str), publishing).await
    }
}

/// A message of the function, in the trace of the current span.
fn said(to: &str, address: Address, function: &FunctionId, hops: u32, data: Bytes) -> Said {
    let Address { id, group, delay, mut attributes } = address;
    attributes.insert("hops".to_owned(), hops.to_string());
    attributes.insert("time".to_owned(), rfc3339(clock::unix_ms()));
    let (span, mut traces) = (Span::current(), HeaderMap::new());
    if !span.is_disabled() {
        trace::write_headers(&span, &mut traces);
    }
    for (name, value) in &traces {
        attributes.extend(value.to_str().ok().map(|value| (name.to_string(), value.to_owned())));
    }
    cut_traces(&mut attributes, ATTRIBUTES_BYTES_MAX);
    let source = format!("//{}/function/{}", function.namespace, function.name);
    let invocation = InvocationId::new(rand::random());
    Said { to: to.to_owned(), invocation, source, id, group, delay, attributes, data }
}

fn set(value: Vec<u8>, if_version: Option<u64>) -> Change {
    Change::Set { data: value.into(), ttl: None, if_version }
}

fn write(key: String, change: Change) -> Result<Write, Trouble> {
    check_key(&key)?;
    if let Change::Set { data, .. } = &change {
        check_size("a value", data.len(), VALUE_BYTES_MAX)?;
    }
    Ok(Write { key: key.into(), change })
}

fn check_key(key: &str) -> Result<(), Trouble> {
    if key.is_empty() {
        return Err(Trouble::invalid("a key has at least one byte"));
    }
    check_size("a key", key.len(), KEY_BYTES_MAX)
}

fn check_size(what: &str, found: usize, max: usize) -> Result<(), Trouble> {
    if found > max {
        return Err(Trouble::invalid(format!("{what} has {found} bytes, and at most {max} are allowed")));
    }
    Ok(())
}

fn check_batch(keys: usize) -> Result<(), Trouble> {
    if keys > BATCH_KEYS_MAX {
        return Err(Trouble::invalid(format!(
            "{keys} keys at once, and at most {BATCH_KEYS_MAX} are allowed"
        )));
    }
    Ok(())
}
