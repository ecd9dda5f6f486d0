//! Brings invocations to workers, here or on other nodes, however they came: by a view, so without any controller.
//!
//! Whoever has an [`Invocation`] gives it to the [`Dispatcher`], which picks a replica, tries another one where that is
//! allowed, and waits where that helps. Nothing in here knows a socket or a protocol (docs/adr/0010).

mod answered;
mod attempt;
mod driver;
mod forget;
mod invocation;
mod resolved;
mod rounds;
mod span;
#[cfg(test)]
mod tests;

pub use answered::{Answered, Ongoing};
pub use invocation::{Invocation, Payload};

use std::fmt;
use std::sync::Arc;

use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::record::Version;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use self::driver::Driver;
use self::resolved::Resolutions;
use self::rounds::Rounds;
use crate::call::CallError;
use crate::metrics::Metrics;
use crate::view::ViewHandle;
use crate::worker::{Executor, RemoteClient};

/// Invocations that wait until a replica is ready, at once. More are answered at once that there is none.
const WAITING_MAX: usize = 1000;

/// Brings invocations to workers. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    view: ViewHandle,
    resolutions: Resolutions,
    /// The worker of this node, if it is one.
    local: Option<Executor>,
    remote: RemoteClient,
    driver: Arc<Driver>,
    metrics: Arc<Metrics>,
    waiting: Semaphore,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("local", &self.inner.local).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A dispatcher over a view; `local` runs what stays on this node. Its connections to others are on the threads of the
    /// task that calls this.
    #[must_use]
    pub fn new(view: ViewHandle, local: Option<Executor>, metrics: Arc<Metrics>) -> Self {
        let driver = Arc::new(Driver::new());
        let told = Arc::clone(&driver);
        let remote =
            RemoteClient::new(view.load().cluster, Arc::new(move |node, load| told.reported(node, load)));
        let resolutions = Resolutions::new(local.as_ref().map(Executor::node), Arc::clone(&metrics));
        let waiting = Semaphore::new(WAITING_MAX);
        Self { inner: Arc::new(Inner { view, resolutions, local, remote, driver, metrics, waiting }) }
    }

    /// The version that an invocation would be taken by now.
    ///
    /// # Errors
    /// That there is no such function, or none of its versions in the view.
    pub fn version(&self, function: &FunctionId, id: InvocationId) -> Result<Arc<Version>, CallError> {
        let resolved = self.inner.resolutions.get(&self.inner.view.load(), function)?;
        Ok(Arc::clone(&resolved.chosen(id)?.version))
    }

    /// Runs an invocation up to its response's head. It is counted, and has a span, whatever becomes of it.
    ///
    /// # Errors
    /// What it came to, if not to a response.
    pub async fn dispatch(&self, invocation: &Invocation) -> Result<Answered, CallError> {
        let inner = &self.inner;
        let span = span::invoke(invocation);
        inner.driver.call();
        let rounds = Rounds::new(inner, invocation);
        let mut running = inner.metrics.begin(&rounds.counted_as(&span));
        match rounds.run().instrument(span.clone()).await {
            Ok(attempted) => Ok(answered::answered(&inner.metrics, attempted, invocation.id, running, &span)),
            Err(error) => {
                answered::failed(&inner.metrics, &error, &mut running, &span);
                Err(error)
            }
        }
    }

    /// How many invocations wait for a replica.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        WAITING_MAX - self.inner.waiting.available_permits()
    }

    /// The connections to other nodes.
    #[cfg(test)]
    pub(crate) fn remote(&self) -> &RemoteClient {
        &self.inner.remote
    }
}
