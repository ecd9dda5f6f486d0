//! The name servers of one configuration, with what they said and what they are being asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::shares::{Full, Share};
use super::ask::{Asker, Heard};
use super::cache::Cache;
use super::{Addresses, LOOKUP_TIMEOUT};
use crate::clock;

/// What became of a look-up.
pub(super) type Answer = Result<Addresses, Unresolved>;

/// A look-up that any number wait for. It moves on as long as somebody waits, and ends with the last one.
type Flight = Shared<BoxFuture<'static, Answer>>;

/// Why a name has no addresses here, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// A name server says that there are none.
    Nothing(String),
    /// Nobody answered in time.
    Silent(String),
    /// A name server refused, or its answer is none.
    Failed(String),
}

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Upstream {
    asker: Asker,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    cache: Cache,
    /// By name, with a number of its own: one that ends must not take another away.
    flights: HashMap<Arc<str>, (u64, WeakShared<BoxFuture<'static, Answer>>)>,
    last: u64,
}

impl Upstream {
    pub(super) fn new(asker: Asker) -> Arc<Self> {
        Arc::new(Self { asker, memory: Mutex::default() })
    }

    /// The answer that is known, or the look-up that is under way, or else a new one on `threads`, for which there must be a
    /// share.
    pub(super) fn begin(
        self: &Arc<Self>,
        name: &str,
        threads: &Handle,
        share: impl FnOnce() -> Result<Share, Full>,
    ) -> Result<Flight, Full> {
        let mut memory = self.memory();
        if let Some(answer) = memory.cache.get(name, clock::now()) {
            return Ok(futures::future::ready(answer.clone()).boxed().shared());
        }
        if let Some(flight) = memory.flights.get(name).and_then(|(_, flight)| flight.upgrade()) {
            return Ok(flight);
        }
        let share = share()?;
        memory.last += 1;
        let (name, number) = (Arc::<str>::from(name), memory.last);
        let landing = Landing { upstream: Arc::clone(self), name: Arc::clone(&name), number };
        // There, and not by whoever waits for it first: that one's threads may be a slow guest's, and what the library
        // begins on them serves all others too.
        let flying = AbortOnDropHandle::new(threads.spawn(fly(landing, share)));
        let lost = |why| Err(Unresolved::Failed(format!("the look-up was lost: {why}")));
        let flight = async move { flying.await.unwrap_or_else(lost) }.boxed().shared();
        // It has not ended: it did not begin.
        if let Some(weak) = flight.downgrade() {
            memory.flights.insert(name, (number, weak));
        }
        Ok(flight)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fly(landing: Landing, _share: Share) -> Answer {
    let (upstream, name) = (&landing.upstream, &landing.name);
    let heard = timeout(LOOKUP_TIMEOUT, upstream.asker.ask(name)).await.unwrap_or(Heard::Silence);
    let servers = upstream.asker.servers();
    let (answer, kept) = match heard {
        Heard::Addresses(addresses, ttl) => (Ok(addresses.into()), Some(ttl)),
        Heard::Nothing(ttl) => (Err(Unresolved::Nothing(format!("'{name}' has no address"))), Some(ttl)),
        Heard::Silence => (Err(Unresolved::Silent(format!("'{name}': no answer of {servers}"))), None),
        Heard::Failure(why) => (Err(Unresolved::Failed(format!("'{name}' at {servers}: {why}"))), None),
    };
    if let Some(ttl) = kept {
        upstream.memory().cache.put(name, answer.clone(), ttl, clock::now());
    }
    answer
}

/// Forgets a look-up when it ends, or when nobody waits for it any more.
#[derive(Debug)]
struct Landing {
    upstream: Arc<Upstream>,
    name: Arc<str>,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut memory = self.upstream.memory();
        if memory.flights.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            memory.flights.remove(&self.name);
        }
    }
}
