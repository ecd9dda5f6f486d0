//! The way to whoever leads a data group, at 7403: without any controller, by the view and by asking (docs/adr/0014).
//!
//! Who leads is not told to anybody: it is remembered, and looked for among the group's members when it is somebody else.

mod ask;
mod channels;
mod client;
mod known;
mod manner;
mod message;
mod record;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;
mod webhook;
mod wire;

pub use self::client::{Begin, BlobClient, Sending};
pub use self::manner::{Batch, Manner};
pub use self::message::{
    ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, Acknowledged, BODY_BYTES_MAX, DELAY_MAX, Delivery, Event,
    EventHead, Fate, Fence, HEADERS_BYTES_MAX, HEADERS_MAX, KEPT_HEADERS_BYTES_MAX, Kept, Message, Offered,
    Other, PUBLISHED_BYTES_MAX, PUBLISHED_MAX, Published, Reply, Report, Settlement, Submission, Submitted,
    TEXT_BYTES_MAX, Taken, Taking, Ticket, Verdict,
};
pub use self::record::{Ended, Record, State};
pub use self::webhook::{Heard, Hooked};
pub(crate) use self::wire::{effect_from_wire, effect_to_wire};

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::{ClusterId, GroupId, Namespace, NodeId};
use coracle_proto::status::{Code, Refusal};
use coracle_transport::Purpose;
use tokio::sync::Semaphore;

use self::channels::Channels;
use self::known::Known;
use crate::view::ViewHandle;

/// Chunks that are read at once, of all blobs. A store has twice as many streams on one connection, so those who read slowly
/// never take the last one of them, also where all of them read from one store.
const READS_MAX: usize = 512;

/// Asks stores. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    view: ViewHandle,
    known: Mutex<Known>,
    channels: Channels,
    /// Those for what blobs are made of: whoever reads slowly there holds up no question, and nobody who writes.
    chunks: Channels,
    puts: Channels,
    /// For chunks that are being read.
    reads: Arc<Semaphore>,
    /// Whose own store is asked first for what any member has.
    here: Option<NodeId>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("cluster", &self.inner.cluster).finish_non_exhaustive()
    }
}

impl Stores {
    /// A way to the stores that the view shows. Its connections are on the threads of the task that calls this.
    #[must_use]
    pub fn new(view: ViewHandle, cluster: ClusterId) -> Self {
        Self::of(view, cluster, None)
    }

    /// The same at a node that may have a store itself.
    #[must_use]
    pub fn at(view: ViewHandle, cluster: ClusterId, node: NodeId) -> Self {
        Self::of(view, cluster, Some(node))
    }

    fn of(view: ViewHandle, cluster: ClusterId, here: Option<NodeId>) -> Self {
        let (known, channels) = (Mutex::default(), Channels::here(Purpose::Store));
        let (chunks, puts) = (Channels::here(Purpose::Chunks), Channels::here(Purpose::Chunks));
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { inner: Arc::new(Inner { cluster, view, known, channels, chunks, puts, reads, here }) }
    }

    /// Every data group.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.view.load().routing.content.groups().keys().copied().collect()
    }

    /// The data group that has what a namespace has.
    ///
    /// # Errors
    /// [`Code::NoStore`]: nobody keeps anything.
    pub fn group_of(&self, namespace: &Namespace) -> Result<GroupId, Refusal> {
        let view = self.inner.view.load();
        view.routing.content.group_of(namespace).map(|group| group.id).ok_or_else(no_store)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That nobody keeps anything.
pub(crate) fn no_store() -> Refusal {
    let said = "no node keeps anything for later: give some the role 'store' (docs/operations.md)";
    Refusal::new(Code::NoStore, said)
}
