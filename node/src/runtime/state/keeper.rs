//! What an instance has of what its function keeps: the buckets that its call has opened, and how much of its bounds is used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::status::{Code, Refusal};
use wasmtime::component::{HasData, Resource, ResourceTable};

use super::State;
use super::gathering::Gathering;
use super::operation::{Came, Operation};
use super::task::Task;
use super::trouble::Trouble;
use crate::blobs::Blobs;
use crate::clock;
use crate::runtime::bounds::{
    BLOB_STREAMS_MAX, BUCKETS_OPEN_MAX, STATE_OPERATIONS_MAX, STATE_READ_BYTES_MAX,
};
use crate::runtime::call::CallContext;
use crate::values::Bucket;

/// One operation is waited for so long: an election takes a second or two. The call's own time may be over before.
const OPERATION_MAX: Duration = Duration::from_secs(10);

/// Of one instance.
pub(in crate::runtime) struct Keeper {
    state: Arc<dyn State>,
    serving: Option<Serving>,
}

/// A call, and what it has used.
struct Serving {
    invocation: Arc<CallContext>,
    /// As the call sees it.
    state: Arc<dyn State>,
    /// Keys, and messages.
    operations: usize,
    /// Bytes of keys and values.
    read: usize,
    /// Buckets, handles to swap by, blobs and lists of them.
    open: usize,
    /// Held by each blob that is read or written, and by each list of them.
    streams: Arc<()>,
    /// Where pages go on, for those whose cursors are numbers: in which bucket, and behind which key.
    cursors: Vec<(String, Bytes)>,
}

/// A bucket that a guest has opened.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Opened {
    pub(super) bucket: Bucket,
    pub(super) writes: bool,
}

/// A key whose value a guest has looked at.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Swapping {
    pub(super) opened: Arc<Opened>,
    pub(super) key: String,
    /// Zero: there was none.
    pub(super) version: u64,
}

/// What the guest's handles of a bucket stand for.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub type OpenedBucket = Arc<Opened>;

/// The keeper, and the table that has what it opened.
pub(in crate::runtime) struct View<'a> {
    pub(in crate::runtime) keeper: &'a mut Keeper,
    pub(in crate::runtime) table: &'a mut ResourceTable,
}

/// What a store holds that has a keeper.
pub(in crate::runtime) trait Keeps: Send + 'static {
    fn keeper(&mut self) -> View<'_>;
}

/// For linkers.
pub(in crate::runtime) struct HasKeeper;

impl HasData for HasKeeper {
    type Data<'a> = View<'a>;
}

impl Keeper {
    pub(in crate::runtime) const fn new(state: Arc<dyn State>) -> Self {
        Self { state, serving: None }
    }

    /// Whatever is done is this call's from now on: its grants, its bounds.
    pub(in crate::runtime) fn begin(&mut self, invocation: Arc<CallContext>) {
        let state = match invocation.account.gathered() {
            Some(gathered) => Arc::new(Gathering::new(Arc::clone(&self.state), Arc::clone(gathered))),
            None => Arc::clone(&self.state),
        };
        let (streams, cursors) = (Arc::default(), Vec::new());
        self.serving = Some(Serving { invocation, state, operations: 0, read: 0, open: 0, streams, cursors });
    }

    /// Nothing is done until another call begins. Gives how many blobs are read and written still.
    pub(in crate::runtime) fn end(&mut self) -> usize {
        self.serving.take().map_or(0, |serving| Arc::strong_count(&serving.streams) - 1)
    }

    /// What answers for blobs, as the call sees them.
    pub(super) fn blobs(&self) -> Result<Arc<dyn Blobs>, Trouble> {
        let nobody = || Refusal::new(Code::NoStore, "no node keeps blobs");
        self.state().as_blobs().ok_or_else(|| nobody().into())
    }

    /// One more blob is read or written, for as long as what is given is held.
    pub(super) fn stream(&self) -> Result<Arc<()>, Trouble> {
        let streams = &self.serving.as_ref().ok_or(Trouble::Denied)?.streams;
        if Arc::strong_count(streams) > BLOB_STREAMS_MAX {
            let said =
                format!("a call reads, writes and lists {BLOB_STREAMS_MAX} blobs at once, and this one does");
            return Err(Trouble::bound(said));
        }
        Ok(Arc::clone(streams))
    }

    pub(super) fn state(&self) -> Arc<dyn State> {
        self.serving.as_ref().map_or_else(|| Arc::clone(&self.state), |serving| Arc::clone(&serving.state))
    }

    pub(super) fn call(&self) -> Result<&Arc<CallContext>, Trouble> {
        Ok(&self.serving.as_ref().ok_or(Trouble::Denied)?.invocation)
    }

    /// Begins an operation that counts as so many, and as one where it is of nothing.
    pub(super) fn task(&mut self, operation: Operation, count: usize) -> Result<Task, Trouble> {
        let serving = self.serving.as_mut().ok_or(Trouble::Denied)?;
        serving.operations = serving.operations.saturating_add(count.max(1));
        if serving.operations > STATE_OPERATIONS_MAX {
            serving.invocation.account.kept(operation, Came::Refused);
            let said = format!("a call may read or change {STATE_OPERATIONS_MAX} keys, and this one has");
            return Err(Trouble::bound(said));
        }
        Ok(Task::of(&serving.invocation, operation))
    }

    /// The guest is to be given so many bytes.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), Trouble> {
        let serving = self.serving.as_mut().ok_or(Trouble::Denied)?;
        serving.read = serving.read.saturating_add(bytes);
        if serving.read > STATE_READ_BYTES_MAX {
            let said = format!("a call may read {STATE_READ_BYTES_MAX} bytes of keys and values");
            return Err(Trouble::bound(said));
        }
        Ok(())
    }

    /// A cursor that is a number: where the next page of a bucket begins.
    pub(super) fn cursor(&mut self, bucket: &Bucket, after: Bytes) -> Result<u64, Trouble> {
        let cursors = &mut self.serving.as_mut().ok_or(Trouble::Denied)?.cursors;
        // No more than there are operations.
        cursors.push((bucket.name.clone(), after));
        Ok(cursors.len() as u64)
    }

    /// What such a number stands for.
    pub(super) fn behind(&self, bucket: &Bucket, cursor: u64) -> Result<Bytes, Trouble> {
        let cursors = &self.serving.as_ref().ok_or(Trouble::Denied)?.cursors;
        let at = usize::try_from(cursor).ok().and_then(|number| number.checked_sub(1));
        let found = at.and_then(|at| cursors.get(at)).filter(|(name, _)| *name == bucket.name);
        let unknown =
            || Trouble::invalid(format!("this call was not given the cursor {cursor} for the bucket"));
        found.map(|(_, after)| after.clone()).ok_or_else(unknown)
    }
}

/// Until when one operation is waited for.
pub(super) fn deadline() -> Instant {
    clock::now() + OPERATION_MAX
}

impl View<'_> {
    /// Variables of the function's environment.
    pub(in crate::runtime) fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.keeper.call().ok().into_iter().flat_map(|call| call.version.spec.env())
    }

    /// Says something in the function's log.
    pub(in crate::runtime) fn log(&self, text: &str) {
        if let Ok(call) = self.keeper.call() {
            call.author.tell(text);
        }
    }

    /// A new handle.
    pub(super) fn push<T: Send + 'static>(&mut self, it: T) -> Result<Resource<T>, Trouble> {
        let serving = self.keeper.serving.as_mut().ok_or(Trouble::Denied)?;
        if serving.open >= BUCKETS_OPEN_MAX {
            let said = format!(
                "a call may have {BUCKETS_OPEN_MAX} handles of buckets, of blobs, of lists and to swap by, and has as many"
            );
            return Err(Trouble::bound(said));
        }
        let handle = self.table.push(it)?;
        serving.open += 1;
        Ok(handle)
    }

    /// What a handle stands for.
    pub(super) fn opened(&self, handle: &Resource<OpenedBucket>) -> Result<Arc<Opened>, Trouble> {
        Ok(Arc::clone(self.table.get(handle)?))
    }

    /// The guest has let go of a handle.
    pub(in crate::runtime) fn forget<T: Send + 'static>(
        &mut self,
        handle: Resource<T>,
    ) -> wasmtime::Result<T> {
        let it = self.table.delete(handle)?;
        if let Some(serving) = &mut self.keeper.serving {
            serving.open = serving.open.saturating_sub(1);
        }
        Ok(it)
    }
}

impl Opened {
    /// Only whoever may write changes anything.
    pub(super) fn check_writes(&self) -> Result<(), Trouble> {
        if self.writes { Ok(()) } else { Err(Trouble::Denied) }
    }
}

/// A message would be the next one of a chain that is too long.
pub(super) fn looped(hops_max: usize) -> Trouble {
    let said = format!(
        "calls led to one another {hops_max} times in a row before this message, and no chain is longer"
    );
    Trouble::Other(Refusal::new(Code::LoopDetected, said))
}
