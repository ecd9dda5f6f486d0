//! Where instances come from: they are made, or they rest.

use std::sync::Arc;

use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime_wasi::WasiCtxBuilder;

use super::budget::{Budget, Spare, Typical};
use super::call::CallContext;
use super::instance::{Guest, Instance};
use super::log::LineLog;
use super::place::Places;
use super::rest::{Rest, RestLimits};
use super::ticker::Ticker;
use crate::call::CallError;
use crate::outbound::Egress;

/// All of a node.
pub(super) struct Instances {
    engine: Engine,
    ticker: Ticker,
    budget: Arc<Budget>,
    places: Arc<Places>,
    egress: Arc<Egress>,
    rest: Arc<Rest>,
}

/// What they are bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes that they have together.
    pub(super) guests_bytes: u64,
    /// So many there are at once, those at rest among them: the pools are made for them.
    pub(super) running_max: u32,
    pub(super) rest: RestLimits,
}

impl Instances {
    /// Those at rest are put away on `threads`.
    pub(super) fn new(
        engine: Engine,
        ticker: Ticker,
        egress: Egress,
        bounds: Bounds,
        threads: Handle,
    ) -> Self {
        let Bounds { guests_bytes, running_max, rest } = bounds;
        let (budget, rest) = (Budget::new(guests_bytes), Rest::new(rest, threads));
        let spare: Arc<dyn Spare> = Arc::<Rest>::clone(&rest);
        budget.ask_first(Arc::downgrade(&spare));
        let (places, egress) = (Places::new(running_max), Arc::new(egress));
        Self { engine, ticker, budget, places, egress, rest }
    }

    /// Makes one with room for what calls of its program come to.
    pub(super) fn make(
        &self,
        invocation: &CallContext,
        typical: &Arc<Typical>,
        (wasi, log): (&mut WasiCtxBuilder, LineLog),
        call_bytes_max: usize,
    ) -> Result<Instance, CallError> {
        let version = &invocation.version;
        let place = self.places.take(&*self.rest);
        let share = self.budget.begin(typical, version.spec.limits().memory_bytes)?;
        let guest = Guest::new(wasi.build_p1(), log, version, Arc::clone(&self.egress), share.clone());
        let made = invocation.account.began();
        Ok(Instance::new(&self.engine, guest, call_bytes_max, made, (share, place)))
    }

    /// One that has served the version before, if any rests.
    pub(super) fn rested(&self, invocation: &CallContext) -> Option<Instance> {
        invocation.version.spec.reuse()?;
        self.rest.take(&invocation.version, invocation.account.began())
    }

    /// The call's answer has failed: the instance that served it serves no other one, if it rests already.
    pub(super) fn failed(&self, invocation: &CallContext) {
        if invocation.version.spec.reuse().is_some() {
            self.rest.drop_broken(&invocation.version.id);
        }
    }

    /// Has an instance serve a call from now on.
    pub(super) fn begin(&self, instance: &mut Instance, invocation: Arc<CallContext>) {
        instance.begin(invocation, self.ticker.tick());
    }

    /// Where one goes that has served its call well.
    pub(super) const fn rest(&self) -> &Arc<Rest> {
        &self.rest
    }

    /// Calls that have one.
    pub(super) fn running(&self) -> usize {
        self.ticker.running()
    }

    /// Those at rest.
    pub(super) fn resting(&self) -> usize {
        self.rest.count()
    }

    /// Bytes that guests have.
    pub(super) fn given(&self) -> u64 {
        self.budget.given()
    }
}
