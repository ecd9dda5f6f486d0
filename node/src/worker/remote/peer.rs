//! The connections to one node, and whether it still answers on them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb::{self, worker_client::WorkerClient};
use coracle_proto::record::Node;
use coracle_transport::{Dialer, Purpose};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Error};

use super::LoadSink;
use crate::clock;

/// Connections to one node: one thread decodes each, and a lost packet holds up one only.
const CHANNELS: usize = 2;
/// Between two pings, while calls are open.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// A ping that is not answered by then was missed: before the next one is due.
const PING_TIMEOUT: Duration = Duration::from_millis(400);
/// Missed in a row: the node is silent, after at most 500 + 500 + 400 ms where this process runs in time.
const SILENT_MISSED: u32 = 2;
/// The same, ten seconds: the connections are given up, with every call on them.
const GIVE_UP_MISSED: u32 = 20;
/// A time-out that is noticed so much too late says that this process did not run, and nothing of the other one.
const LATE: Duration = Duration::from_millis(200);

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// As far as is known.
    Answering,
    /// It missed pings: no new calls.
    Silent,
    /// These connections are not used any more.
    GivenUp,
}

/// The connections to one node.
pub(super) struct Peer {
    cluster: ClusterId,
    node: NodeId,
    address: String,
    channels: [Channel; CHANNELS],
    next: AtomicUsize,
    open: AtomicUsize,
    used: Mutex<Instant>,
    pinging: AtomicBool,
    liveness: watch::Sender<Liveness>,
    told: LoadSink,
}

/// A call that is open on a peer.
#[derive(Debug)]
pub(super) struct Leg(Arc<Peer>);

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let liveness = *self.liveness.borrow();
        f.debug_struct("Peer").field("node", &self.node).field("liveness", &liveness).finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn connect(cluster: ClusterId, node: &Node, told: LoadSink) -> Result<Arc<Self>, Error> {
        let address = node.addresses.data.clone();
        let dialer = Dialer::new(Purpose::Calls);
        let [even, odd]: [_; CHANNELS] = std::array::from_fn(|_| dialer.connect_lazily(&address));
        let channels = [even?, odd?];
        Ok(Arc::new(Self {
            cluster,
            node: node.id,
            address,
            channels,
            next: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            used: Mutex::new(clock::now()),
            pinging: AtomicBool::new(false),
            liveness: watch::Sender::new(Liveness::Answering),
            told,
        }))
    }

    /// Whether new calls to that address go over it.
    pub(super) fn serves(&self, address: &str) -> bool {
        self.address == address && *self.liveness.borrow() != Liveness::GivenUp
    }

    #[cfg(test)]
    pub(super) fn is_silent(&self) -> bool {
        *self.liveness.borrow() == Liveness::Silent
    }

    /// Whether calls are open.
    pub(super) fn busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// How long ago the last one ended.
    pub(super) fn idle(&self) -> Duration {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        clock::now().saturating_duration_since(used)
    }

    /// Opens a call; pings go, on those threads, as long as any is.
    pub(super) fn open(self: Arc<Self>, threads: &Handle) -> Leg {
        self.open.fetch_add(1, Ordering::Relaxed);
        if !self.pinging.swap(true, Ordering::AcqRel) {
            threads.spawn(Arc::clone(&self).watch());
        }
        Leg(self)
    }

    /// Pings while calls are open, and on while the node is silent.
    async fn watch(self: Arc<Self>) {
        let mut ticks = interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut missed = 0;
        loop {
            ticks.tick().await;
            if !self.busy() && missed == 0 {
                self.pinging.store(false, Ordering::Release);
                // A call that opened between the two lines found the pings still going.
                if self.busy() && !self.pinging.swap(true, Ordering::AcqRel) {
                    continue;
                }
                return;
            }
            let sent = clock::now();
            if self.ping().await {
                missed = 0;
            } else {
                missed = missed_after(missed, clock::now().saturating_duration_since(sent));
            }
            let liveness = liveness(missed);
            self.set(liveness);
            if liveness == Liveness::GivenUp {
                return;
            }
        }
    }

    fn set(&self, liveness: Liveness) {
        let changed = self.liveness.send_if_modified(|now| {
            let changed = *now != liveness;
            *now = liveness;
            changed
        });
        if changed {
            tracing::info!(node = self.node.get(), ?liveness, "a worker's connections changed");
        }
    }

    /// One round over every connection; whether all were answered.
    async fn ping(&self) -> bool {
        let rounds = self.channels.iter().map(|channel| async move {
            let request = pb::PingRequest { cluster_id: self.cluster.to_wire(), node: self.node.get() };
            let mut client = WorkerClient::new(channel.clone());
            match timeout(PING_TIMEOUT, client.ping(request)).await {
                Ok(Ok(reply)) => Some(reply.into_inner()),
                Ok(Err(_)) | Err(_) => None,
            }
        });
        let replies = futures::future::join_all(rounds).await;
        if let Some(load) = replies.iter().flatten().find_map(|reply| reply.load) {
            (self.told)(self.node, load.into());
        }
        replies.iter().all(Option::is_some)
    }
}

/// How many pings in a row were missed, with one more that was given up after so long.
fn missed_after(missed: u32, took: Duration) -> u32 {
    if took > PING_TIMEOUT + LATE { missed } else { missed.saturating_add(1) }
}

const fn liveness(missed: u32) -> Liveness {
    match missed {
        GIVE_UP_MISSED.. => Liveness::GivenUp,
        SILENT_MISSED.. => Liveness::Silent,
        _ => Liveness::Answering,
    }
}

impl Leg {
    pub(super) fn node(&self) -> NodeId {
        self.0.node
    }

    pub(super) fn liveness(&self) -> Liveness {
        *self.0.liveness.borrow()
    }

    /// A connection, each in turn.
    pub(super) fn channel(&self) -> Channel {
        let [even, odd] = &self.0.channels;
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(2) { even.clone() } else { odd.clone() }
    }

    /// Ends when the node fell silent.
    pub(super) async fn silent(&self) {
        let mut liveness = self.0.liveness.subscribe();
        // The sender lives as long as the peer, and so as long as this.
        let _ = liveness.wait_for(|now| *now != Liveness::Answering).await;
    }

    /// Ends when the connections are given up.
    pub(super) fn given_up(&self) -> BoxFuture<'static, ()> {
        let mut liveness = self.0.liveness.subscribe();
        Box::pin(async move {
            let _ = liveness.wait_for(|now| *now == Liveness::GivenUp).await;
        })
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_that_this_process_was_too_late_for_count_for_nothing() {
        let missed = |so_far, took_ms| missed_after(so_far, Duration::from_millis(took_ms));
        assert_eq!((missed(0, 400), missed(1, 600), missed(1, 601), missed(19, 60_000)), (1, 2, 1, 19));
        let [answering, silent] = [Liveness::Answering, Liveness::Silent];
        assert_eq!(
            [0, 1, 2, 19, 20].map(liveness),
            [answering, answering, silent, silent, Liveness::GivenUp]
        );
    }
}
