//! Where instances come from: they are made, or they rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_proto::status::Code;
use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime_wasi::WasiCtxBuilder;

use super::budget::{Budget, Need, Spare, Typical};
use super::call::CallContext;
use super::instance::{Guest, Instance};
use super::log::LineLog;
use super::place::{Place, Places};
use super::rest::{Rest, RestLimits};
use super::state::State;
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
    state: Arc<dyn State>,
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
        (egress, state): (Egress, Arc<dyn State>),
        bounds: Bounds,
        threads: Handle,
    ) -> Self {
        let Bounds { guests_bytes, running_max, rest } = bounds;
        let (budget, rest) = (Budget::new(guests_bytes), Rest::new(rest, threads));
        let spare: Arc<dyn Spare> = Arc::<Rest>::clone(&rest);
        budget.ask_first(Arc::downgrade(&spare));
        let (places, egress) = (Places::new(running_max), Arc::new(egress));
        Self { engine, ticker, budget, places, egress, state, rest }
    }

    /// Makes one with room for what calls of its program come to. A caller's takes that from what rests where none is free, a
    /// probe's is refused.
    pub(super) fn make(
        &self,
        invocation: &CallContext,
        typical: &Arc<Typical>,
        need: Need,
        (wasi, log): (&mut WasiCtxBuilder, LineLog),
        call_bytes_max: usize,
    ) -> Result<Instance, CallError> {
        let version = &invocation.version;
        let most = version.spec.limits().memory_bytes;
        let (place, share) = match need {
            Need::Caller => (self.places.take(&*self.rest), self.budget.begin(typical, most)?),
            Need::Probe => (self.free_place()?, self.budget.begin_probe(typical, most)?),
        };
        let guest = Guest::new(
            wasi.build_p1(),
            log,
            version,
            (Arc::clone(&self.egress), Arc::clone(&self.state)),
            share.clone(),
        );
        let made = invocation.account.began();
        Ok(Instance::new(&self.engine, guest, call_bytes_max, made, (share, place)))
    }

    /// A place that nobody has.
    fn free_place(&self) -> Result<Place, CallError> {
        let nothing = Nothing::default();
        let place = self.places.take(&nothing);
        match nothing.0.into_inner() {
            true => Err(CallError::new(Code::Overloaded, "the node has no free place for another instance")),
            false => Ok(place),
        }
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

/// Who gives up nothing, and knows whether it was asked to.
#[derive(Default)]
struct Nothing(AtomicBool);

impl Spare for Nothing {
    fn give_up(&self) -> bool {
        self.0.store(true, Ordering::Relaxed);
        false
    }
}
