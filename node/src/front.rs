//! HTTP in: takes requests, finds out what each is for, and sends its answer back. What is to run it is found by
//! [`crate::dispatch`]; routes are found in the view, so without any controller.

mod activity;
mod answer;
mod blob;
mod connection;
mod content;
mod gather;
mod headers;
mod intake;
mod kept;
mod later;
mod line;
mod linger;
mod listen;
pub(crate) mod moment;
mod named;
mod paced;
mod page;
mod patient;
mod problem;
mod publish;
mod replay;
mod serve;
mod shares;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod webhook;

pub use listen::ListenError;
pub(crate) use publish::reply;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_ports::{ACCEPT_PAUSE, Bounds, Files, Places};
use coracle_proto::id::NodeId;
use coracle_transport::calls::ANSWER_WINDOW_BYTES;
use tokio::sync::Semaphore;

use self::replay::KEPT_BYTES_MAX;
use self::shares::Shares;
use crate::clock;
use crate::dispatch::Dispatcher;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::view::ViewHandle;

/// For so long after the start a controller's first word is likely.
pub(crate) const NEWS_TIMEOUT: Duration = Duration::from_secs(2);

/// Bounds of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Open connections: each has a socket and about 20 KiB. One address has half of them at most.
    pub connections_max: usize,
    /// From the first byte of a connection, or from the last answer, to the end of the next head. So an HTTP/1
    /// connection that is kept open without calls is closed after it too.
    pub header_timeout: Duration,
    /// What may pass without a byte of a request's body that is read before its call is sent.
    pub body_timeout: Duration,
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
        body_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(30),
        news_timeout: NEWS_TIMEOUT,
    };

    /// With no more connections than a process that may open so many files can have.
    #[must_use]
    pub fn within(self, open_files: u64) -> Self {
        Self { connections_max: self.connections_max.min(Files::Gateway.of(open_files)), ..self }
    }
}

/// What kept connections from being accepted is over when it has not been met again for so long. Where it lasts it is met at
/// each attempt; and where a load balancer believed it, nobody comes with whom it could be seen to be over.
const SHUT_TIME: Duration = Duration::from_secs(1);
const _: () = assert!(SHUT_TIME.as_millis() >= 10 * ACCEPT_PAUSE.as_millis());

/// Requests that wait for a controller's first word at once. More are told at once that what they want is not known.
const WAITING_MAX: usize = 1000;

/// Calls that are open at once, of all connections: each may have an answer of [`ANSWER_WINDOW_BYTES`] here that its
/// caller does not read, a gigabyte together.
const OPEN_MAX: usize = 4096;
const _: () = assert!(OPEN_MAX as u64 * ANSWER_WINDOW_BYTES as u64 <= 1 << 30);
/// Each may have the beginning of its request's body here too, a quarter of a gigabyte together.
const _: () = assert!(OPEN_MAX as u64 * KEPT_BYTES_MAX as u64 <= 256 << 20);

/// Of these, those who read the chunks of a blob. Each has two streams from stores with a window each, a piece of that size on
/// its way out, and a list of ten thousand parts: half a gigabyte together. One caller has half of the places, and functions
/// that read have the rest of what may be read at once.
const READERS_MAX: usize = 400;
const _: () = assert!(READERS_MAX as u64 * (3 * ANSWER_WINDOW_BYTES as u64 + (640 << 10)) <= 600 << 20);
/// Of these, those who write blobs, or parts of them, of more than is kept in a record. Each has what is small, two chunks with
/// pieces of half a mebibyte, those of one that may have to be sent again, and what HTTP/2 has of them for each of three stores:
/// little more than a gigabyte together, where no store takes anything.
const UPLOADS_MAX: usize = 200;
const _: () =
    assert!(UPLOADS_MAX as u64 * ((64 << 10) + 2 * (512 << 10) + (1280 << 10) + 3 * (1 << 20)) <= 1100 << 20);

/// Of these, calls whose bodies are read whole before they are sent. Bodies of more stream, and whoever runs them ends those
/// that are slow: so callers that send next to nothing leave half of the open places to others.
const GATHERING_MAX: usize = OPEN_MAX / 2;

/// For all bodies that are read whole before their calls are sent, what they have beyond that, in bytes.
const BODIES_BYTES_MAX: usize = 256 << 20;

/// The HTTP side of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    node: NodeId,
    view: ViewHandle,
    dispatcher: Dispatcher,
    /// Who keeps what is to be run later.
    stores: Stores,
    metrics: Arc<Metrics>,
    /// Of connections.
    places: Places,
    /// Why none could be accepted, and when that was last so.
    shut: Mutex<Option<(String, Instant)>>,
    waiting: Semaphore,
    /// Places of open calls, until their answers have left.
    open: Arc<Shares>,
    /// Places of open calls whose bodies are being read whole first.
    gathering: Arc<Shares>,
    /// Bytes for these bodies.
    bodies: Arc<Shares>,
    /// Places of those who read and write blobs, of which they have much here.
    readers: Arc<Shares>,
    uploads: Arc<Shares>,
    /// Until when a controller's first word is waited for.
    news_by: Instant,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Front {
    /// The gateway of `node` over a view.
    #[must_use]
    pub fn new(
        options: Options,
        node: NodeId,
        view: ViewHandle,
        dispatcher: Dispatcher,
        stores: Stores,
        metrics: Arc<Metrics>,
    ) -> Self {
        let inner = Inner {
            options,
            node,
            view,
            dispatcher,
            stores,
            metrics,
            places: Places::new(Bounds::halves(options.connections_max)),
            shut: Mutex::new(None),
            waiting: Semaphore::new(WAITING_MAX),
            open: Shares::new(OPEN_MAX),
            gathering: Shares::new(GATHERING_MAX),
            bodies: Shares::new(BODIES_BYTES_MAX),
            readers: Shares::new(READERS_MAX),
            uploads: Shares::new(UPLOADS_MAX),
            news_by: clock::now() + options.news_timeout,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Why nobody who comes now would be let in, if that is so.
    pub(crate) fn shut(&self) -> Option<String> {
        self.shut_at(clock::now())
    }

    fn shut_at(&self, now: Instant) -> Option<String> {
        let shut = self.inner.shut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((why, when)) = shut
            && now.saturating_duration_since(when) < SHUT_TIME
        {
            return Some(format!("the gateway can accept no connection: {why}"));
        }
        let all = self.inner.places.bounds().all;
        let full = self.inner.places.is_full();
        full.then(|| {
            format!("the gateway has {all} open connections, all with open calls or on their way out, and takes no more")
        })
    }

    /// How many requests wait for news.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        WAITING_MAX - self.inner.waiting.available_permits()
    }
}
