//! Blobs, as guests read and write them, under the grants and the bounds of the call.

mod copy;
mod kind;
pub(in crate::runtime) mod list;
mod sent;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use coracle_proto::spec::BucketGrant;
use coracle_proto::status::{Code, Refusal};
use futures::TryStreamExt as _;
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use self::sent::Sent;
use super::State;
use super::incoming::Incoming;
use super::keeper::{Keeper, Opened, View, deadline};
use super::operation::Operation;
use super::outgoing::{Body, Outgoing};
use super::trouble::Trouble;
use crate::blobs::{At, Blob, Blobs, Content, INLINE_BYTES_MAX, Info, KEY_BYTES_MAX};
use crate::runtime::bounds::BLOB_WHOLE_BYTES_MAX;
use crate::values::{Bucket, Holds};

/// What was sent is kept for so long behind the call's longest time, up to the head of its answer and from there to its end: what it does
/// is done after that.
const IDLE_BEHIND: Duration = Duration::from_secs(10 * 60);

/// A bucket of blobs that a guest has opened.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Container(Arc<Opened>);

/// A blob, or a part of one, that a guest is going to read.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Reading {
    blobs: Arc<dyn Blobs>,
    bucket: Bucket,
    content: Content,
    range: Range<u64>,
    open: Arc<()>,
}

/// A blob that a guest writes.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Writing {
    body: Body,
    has_stream: bool,
    to: Option<At>,
    /// Its place among those that are read and written at once, from where on something is held for it.
    open: Option<Arc<()>>,
}

impl View<'_> {
    /// Opens a bucket that the function was granted and that is there.
    pub(in crate::runtime) async fn get_container(
        &mut self,
        name: String,
    ) -> Result<Resource<Container>, Trouble> {
        let (task, state) = (self.keeper.task(Operation::GetContainer, 1)?, self.keeper.state());
        let opened = self.granted(&name);
        let subject = opened.as_ref().ok().map(|opened| opened.bucket.name.clone());
        let opening = async {
            let opened = opened?;
            check_holds(&*state, &opened.bucket).await?;
            self.push(Container(opened))
        };
        task.run(subject.as_deref(), opening).await
    }

    /// Whether there is a bucket of blobs that the function was granted.
    pub(in crate::runtime) async fn container_exists(&mut self, name: &str) -> Result<bool, Trouble> {
        let (task, state) = (self.keeper.task(Operation::ContainerExists, 1)?, self.keeper.state());
        let opened = self.granted(name);
        let subject = opened.as_ref().ok().map(|opened| opened.bucket.name.clone());
        let looking = async { Ok(state.holds(&opened?.bucket, deadline()).await? == Some(Holds::Blobs)) };
        task.run(subject.as_deref(), looking).await
    }

    /// What the function may do with a bucket of blobs.
    fn granted(&self, name: &str) -> Result<Arc<Opened>, Trouble> {
        let version = &self.keeper.call()?.version;
        let granted = version.spec.blobs().iter().find(|it| it.bucket() == name).ok_or(Trouble::Denied)?;
        let writes = BucketGrant::may_write(granted);
        let bucket = Bucket { namespace: version.id.function.namespace.clone(), name: name.to_owned() };
        Ok(Arc::new(Opened { bucket, writes }))
    }

    fn container(&self, handle: &Resource<Container>) -> Result<Arc<Opened>, Trouble> {
        Ok(Arc::clone(&self.table.get(handle)?.0))
    }

    /// Its bucket's name.
    pub(in crate::runtime) fn container_name(&self, handle: &Resource<Container>) -> Result<String, Trouble> {
        Ok(self.container(handle)?.bucket.name.clone())
    }

    /// Begins to read a blob, from the first byte that is wanted to the last one.
    pub(in crate::runtime) async fn get_data(
        &mut self,
        handle: &Resource<Container>,
        key: String,
        (first, last): (u64, u64),
    ) -> Result<Resource<Reading>, Trouble> {
        let opened = self.container(handle)?;
        let task = self.keeper.task(Operation::GetData, 1)?;
        let name = opened.bucket.name.clone();
        let reading = async {
            let (blobs, open) = (self.keeper.blobs()?, self.keeper.stream()?);
            let Blob { info, content } = found(&*blobs, &opened, key).await?;
            let range = range(first, last, info.bytes)?;
            self.push(Reading { blobs, bucket: opened.bucket.clone(), content, range, open })
        };
        task.run(Some(&name), reading).await
    }

    /// How much of it there is to read.
    pub(in crate::runtime) fn size(&self, value: &Resource<Reading>) -> Result<u64, Trouble> {
        let range = &self.table.get(value)?.range;
        Ok(range.end - range.start)
    }

    /// All of it at once.
    pub(in crate::runtime) async fn consume(&mut self, value: Resource<Reading>) -> Result<Vec<u8>, Trouble> {
        let reading = self.forget(value).map_err(Trouble::Broken)?;
        let memory = usize::try_from(self.keeper.call()?.limits().memory_bytes).unwrap_or(usize::MAX);
        let most = BLOB_WHOLE_BYTES_MAX.min(memory);
        let size = usize::try_from(reading.range.end - reading.range.start).unwrap_or(usize::MAX);
        if size > most {
            let said = format!("{size} bytes at once, and at most {most} are: read it as a stream");
            return Err(Trouble::bound(said));
        }
        self.keeper.read(size)?;
        let mut pieces = reading.blobs.read(&reading.bucket, &reading.content, reading.range.clone());
        // It grows as they come: who waits holds nothing.
        let mut all = BytesMut::new();
        while let Some(piece) = pieces.try_next().await? {
            self.keeper.call()?.account.read_blob(piece.len());
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// All of it as a stream.
    pub(in crate::runtime) fn stream_of(
        &mut self,
        value: Resource<Reading>,
    ) -> Result<Resource<DynInputStream>, Trouble> {
        let Reading { blobs, bucket, content, range, open } = self.forget(value).map_err(Trouble::Broken)?;
        let invocation = Arc::clone(self.keeper.call()?);
        let stream = Incoming::new(blobs.read(&bucket, &content, range), invocation, open);
        Ok(self.table.push(Box::new(stream) as DynInputStream)?)
    }

    /// What is going to be a blob.
    pub(in crate::runtime) fn outgoing(&mut self) -> Result<Resource<Writing>, Trouble> {
        self.push(Writing { body: Body::new(), has_stream: false, to: None, open: None })
    }

    /// Its one stream. None: it was given before, or there are as many blobs read and written, or as many resources, as may be.
    pub(in crate::runtime) fn body_of(
        &mut self,
        value: &Resource<Writing>,
    ) -> Result<Option<Resource<DynOutputStream>>, Trouble> {
        let writing = self.table.get_mut(value)?;
        if writing.has_stream || writing.take_place(self.keeper).is_err() {
            return Ok(None);
        }
        let stream = Outgoing { body: writing.body.clone(), invocation: Arc::clone(self.keeper.call()?) };
        let stream = match self.table.push_child(Box::new(stream) as DynOutputStream, value) {
            Err(ResourceTableError::Full) => return Ok(None),
            pushed => pushed?,
        };
        self.table.get_mut(value)?.has_stream = true;
        Ok(Some(stream))
    }

    /// Says where it goes.
    pub(in crate::runtime) async fn write_data(
        &mut self,
        handle: &Resource<Container>,
        key: String,
        value: &Resource<Writing>,
    ) -> Result<(), Trouble> {
        let opened = self.container(handle)?;
        let (task, idle) = (self.keeper.task(Operation::WriteData, 1)?, self.idle()?);
        let saying = async {
            opened.check_writes()?;
            let (at, blobs) = (at(&opened, key)?, self.keeper.blobs()?);
            let writing = self.table.get_mut(value)?;
            if writing.to.is_some() {
                return Err(Trouble::invalid("a value is written once: make another one"));
            }
            writing.take_place(self.keeper)?;
            writing.body.begin(blobs.upload(&at, idle, INLINE_BYTES_MAX));
            writing.to = Some(at);
            Ok(())
        };
        task.run(Some(&opened.bucket.name), saying).await
    }

    /// All of it was written: it is there when this returns.
    pub(in crate::runtime) async fn finish(&mut self, value: Resource<Writing>) -> Result<(), Trouble> {
        // The guest has let go of it, whatever comes.
        let writing = self.forget(value).map_err(Trouble::Broken)?;
        let (task, hops) = (self.keeper.task(Operation::Finish, 1)?, self.keeper.call()?.next_hops());
        let bucket = writing.to.as_ref().map(|at| at.bucket.name.clone());
        let finishing = async {
            let blobs = self.keeper.blobs()?;
            let nowhere = || Trouble::invalid("'write-data' was not asked to write it anywhere");
            let (upload, at) = (writing.body.end().await?, writing.to.clone().ok_or_else(nowhere)?);
            let content_type = kind::of(&at.key).to_owned();
            Sent::of(blobs, at, upload).await?.commit((content_type, [].into()), hops).await
        };
        task.run(bucket.as_deref(), finishing).await
    }

    /// What is told of a blob; none: there is none.
    pub(in crate::runtime) async fn object(
        &mut self,
        operation: Operation,
        handle: &Resource<Container>,
        key: String,
    ) -> Result<Option<Info>, Trouble> {
        let opened = self.container(handle)?;
        let task = self.keeper.task(operation, 1)?;
        let looking = async {
            let (at, blobs) = (at(&opened, key)?, self.keeper.blobs()?);
            Ok(blobs.info(&at, deadline()).await?)
        };
        task.run(Some(&opened.bucket.name), looking).await
    }

    /// How long what the call sends is kept without a commit.
    fn idle(&self) -> Result<Duration, Trouble> {
        Ok(2 * self.keeper.call()?.limits().timeout + IDLE_BEHIND)
    }

    /// Deletes blobs, one after the other; those that are not there are gone already.
    pub(in crate::runtime) async fn delete_objects(
        &mut self,
        operation: Operation,
        handle: &Resource<Container>,
        keys: Vec<String>,
    ) -> Result<(), Trouble> {
        let opened = self.container(handle)?;
        let (task, hops) = (self.keeper.task(operation, keys.len())?, self.keeper.call()?.next_hops());
        let deleting = async {
            opened.check_writes()?;
            let blobs = self.keeper.blobs()?;
            let all = keys.into_iter().map(|key| at(&opened, key)).collect::<Result<Vec<_>, _>>()?;
            for at in &all {
                blobs.delete(at, hops, deadline()).await?;
            }
            Ok(())
        };
        task.run(Some(&opened.bucket.name), deleting).await
    }
}

impl Writing {
    /// Something is going to be held for it.
    fn take_place(&mut self, keeper: &Keeper) -> Result<(), Trouble> {
        if self.open.is_none() {
            self.open = Some(keeper.stream()?);
        }
        Ok(())
    }
}

/// Checks that there is a bucket, and that it holds blobs.
async fn check_holds(state: &dyn State, bucket: &Bucket) -> Result<(), Trouble> {
    match state.holds(bucket, deadline()).await? {
        Some(Holds::Blobs) => Ok(()),
        Some(Holds::Values) => Err(Trouble::invalid("the bucket holds values: 'wasi:keyvalue' has them")),
        None => Err(Trouble::NoBucket),
    }
}

/// A blob that has to be there.
pub(super) async fn found(blobs: &dyn Blobs, opened: &Opened, key: String) -> Result<Blob, Trouble> {
    let at = at(opened, key)?;
    let none = || Refusal::new(Code::BlobNotFound, format!("there is no '{}' in the bucket", at.key));
    Ok(blobs.blob(&at, deadline()).await?.ok_or_else(none)?)
}

fn at(opened: &Opened, key: String) -> Result<At, Trouble> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains(char::is_control) {
        let said = format!(
            "the name of an object has {} bytes: it has 1 to {KEY_BYTES_MAX}, and no control characters",
            key.len()
        );
        return Err(Trouble::invalid(said));
    }
    Ok(At { bucket: opened.bucket.clone(), key })
}

/// The bytes from one to another, both of them too: what is behind the last one is not there.
fn range(first: u64, last: u64, size: u64) -> Result<Range<u64>, Trouble> {
    let end = last.saturating_add(1).min(size);
    if first > last || (first >= size && first > 0) {
        let said = format!("bytes {first} to {last} of an object of {size}");
        return Err(Refusal::new(Code::RangeNotSatisfiable, said).into());
    }
    Ok(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_range_belong_to_it() {
        for (first, last, size, expected) in [
            (0, u64::MAX, 10, Some(0..10)),
            (0, 10, 10, Some(0..10)),
            (0, 0, 10, Some(0..1)),
            (9, 9, 10, Some(9..10)),
            (0, 0, 0, Some(0..0)),
            (10, 20, 10, None),
            (1, 5, 0, None),
            (3, 2, 10, None),
        ] {
            assert_eq!(range(first, last, size).ok(), expected, "{first} to {last} of {size}");
        }
    }
}
