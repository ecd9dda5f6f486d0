//! The balancer's state behind a lock, with the clock and the random source that it lacks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, VersionId};

use crate::balance::{Budget, Candidate, Loads, Pick, Why, pick};
use crate::clock;
use crate::load::Load;
use crate::worker::Executor;

/// What this node has seen, shared by all its calls. Each use holds the lock for well under a microsecond.
#[derive(Debug)]
pub(super) struct Driver {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    loads: Loads,
    budget: Budget,
}

/// A call on its way to a node; dropping it takes it out of the counts.
#[derive(Debug)]
pub(super) struct Sent {
    driver: Arc<Driver>,
    node: NodeId,
    begun: Instant,
    /// The worker of this process tells its load directly.
    local: Option<Executor>,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self { origin: clock::now(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.origin)
    }

    /// A call came: it earns a share of a retry.
    pub(super) fn call(&self) {
        self.lock().budget.call();
    }

    /// Whether a call may be sent once more.
    pub(super) fn retry(&self) -> bool {
        let now = self.now();
        self.lock().budget.retry(now)
    }

    /// Picks a replica and counts the call there.
    pub(super) fn send(
        self: &Arc<Self>,
        candidates: &[Candidate],
        version: &VersionId,
        movable: bool,
        local: Option<&Executor>,
    ) -> Option<(Pick, Sent)> {
        let (now, random) = (self.now(), rand::random());
        let mut state = self.lock();
        let picked = pick(candidates, version, &state.loads, movable, now, random)?;
        state.loads.started(version, picked.node, picked.why == Why::Probe, now);
        drop(state);
        let begun = self.origin.checked_add(now).unwrap_or(self.origin);
        let local = local.filter(|executor| executor.node() == picked.node).cloned();
        Some((picked, Sent { driver: Arc::clone(self), node: picked.node, begun, local }))
    }

    /// Forgets nodes and versions that there are no more.
    pub(super) fn retain(&self, node: impl Fn(NodeId) -> bool, version: impl Fn(&VersionId) -> bool) {
        self.lock().loads.retain(node, version);
    }

    /// What a node told about itself.
    pub(super) fn reported(&self, node: NodeId, load: Load) {
        let now = self.now();
        self.lock().loads.reported(node, load, now);
    }
}

impl Sent {
    /// The node answered with a head.
    pub(super) fn answered(&self, version: &VersionId) {
        let now = self.driver.now();
        let latency = clock::now().saturating_duration_since(self.begun);
        self.driver.lock().loads.answered(version, self.node, Some(latency), now);
    }

    /// The node refused, or the function failed: it is there.
    pub(super) fn refused(&self, version: &VersionId) {
        let now = self.driver.now();
        self.driver.lock().loads.answered(version, self.node, None, now);
    }

    /// The node is there, but cannot run this version.
    pub(super) fn faulted(&self, version: &VersionId) {
        let now = self.driver.now();
        self.driver.lock().loads.faulted(version, self.node, now);
    }

    /// The node was not there.
    pub(super) fn failed(&self) {
        let now = self.driver.now();
        self.driver.lock().loads.failed(self.node, now);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let now = self.driver.now();
        let mut state = self.driver.lock();
        state.loads.ended(self.node);
        if let Some(executor) = &self.local {
            state.loads.reported(self.node, executor.load(), now);
        }
    }
}
