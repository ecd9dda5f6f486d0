//! Takes HTTP calls and brings each to a worker: routed by the view alone, so without any controller.

mod activity;
mod answer;
mod attempt;
mod connection;
mod content;
mod dispatch;
mod driver;
mod forget;
mod headers;
mod line;
mod linger;
mod listen;
mod open;
mod paced;
mod page;
mod patient;
mod problem;
mod replay;
mod serve;
mod span;
mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use listen::ListenError;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{ClusterId, NodeId};
use tokio::sync::Semaphore;

use self::driver::Driver;
use self::open::OpenCalls;
use crate::clock;
use crate::metrics::Metrics;
use crate::view::ViewHandle;
use crate::worker::{Executor, RemoteClient, STREAM_WINDOW_BYTES};

/// For so long after the start a controller's first word is likely.
pub(crate) const NEWS_TIMEOUT: Duration = Duration::from_secs(2);

/// Bounds of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Open connections: each has a socket and about 20 KiB.
    pub connections_max: usize,
    /// From the first byte of a connection, or from the last answer, to the end of the next head. So an HTTP/1
    /// connection that is kept open without calls is closed after it too.
    pub header_timeout: Duration,
    /// An HTTP/2 connection without calls is closed after it, and before twice that.
    pub idle_timeout: Duration,
    /// A connection whose other side takes nothing of what is sent for so long is closed.
    pub write_timeout: Duration,
    /// How long open calls may take to end once the gateway is stopped.
    pub drain_timeout: Duration,
    /// A gateway that has just started knows what its view on disk says, and the one before it may have known more: for
    /// so long after the start what is not found waits for a controller's first word.
    pub news_timeout: Duration,
}

impl Options {
    /// What a node takes unless it is told otherwise.
    pub const DEFAULTS: Self = Self {
        connections_max: 10_000,
        header_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(30),
        news_timeout: NEWS_TIMEOUT,
    };

    /// With no more connections than a process that may open so many files can have.
    #[must_use]
    pub fn within(self, open_files: u64) -> Self {
        let most = usize::try_from(open_files / FILES_PART).unwrap_or(usize::MAX).max(1);
        Self { connections_max: self.connections_max.min(most), ..self }
    }
}

/// Part of the files that may be open which connections may have; the rest is for mapped programs (a quarter), other
/// nodes, and what guests call.
const FILES_PART: u64 = 2;

/// Calls that wait until a replica is ready, or for news, at once. More are answered at once that there is none.
const WAITING_MAX: usize = 1000;

/// Calls that are open at once, of all connections: each may have an answer of [`STREAM_WINDOW_BYTES`] here that its
/// caller does not read, a gigabyte together.
const OPEN_MAX: usize = 4096;
const _: () = assert!(OPEN_MAX as u64 * STREAM_WINDOW_BYTES as u64 <= 1 << 30);

/// The HTTP gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    node: NodeId,
    view: ViewHandle,
    /// The worker of this node, if it is one.
    local: Option<Executor>,
    remote: RemoteClient,
    driver: Arc<Driver>,
    metrics: Arc<Metrics>,
    waiting: Semaphore,
    /// Places of open calls, until their answers have left.
    open: Arc<OpenCalls>,
    /// Until when a controller's first word is waited for.
    news_by: Instant,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway of `node` over a view; `local` runs the calls that stay on this node.
    #[must_use]
    pub fn new(
        options: Options,
        node: NodeId,
        view: ViewHandle,
        local: Option<Executor>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let cluster: ClusterId = view.load().cluster;
        let driver = Arc::new(Driver::new());
        let told = Arc::clone(&driver);
        let remote = RemoteClient::new(cluster, Arc::new(move |node, load| told.reported(node, load)));
        let inner = Inner {
            options,
            node,
            view,
            local,
            remote,
            driver,
            metrics,
            waiting: Semaphore::new(WAITING_MAX),
            open: OpenCalls::new(OPEN_MAX),
            news_by: clock::now() + options.news_timeout,
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many calls wait, for a replica or for news.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        WAITING_MAX - self.inner.waiting.available_permits()
    }
}
