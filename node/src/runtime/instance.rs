//! An instance: what is made of a program so that it can serve a call. It holds a store with the guest's memory, and a share
//! of the node's memory for guests; what a call brings it is given for that call.

mod guest;
mod memory;

use std::sync::Arc;

use coracle_proto::record::Version;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtxBuilder;

pub(super) use self::guest::Guest;
use super::budget::{Budget, Share, Typical};
use super::call::Invocation;
use super::ticker::Ticker;
use crate::call::CallError;
use crate::outbound::Outbound;

/// A store, and what it takes up on the node.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    /// Behind the store, whose memory it counts: fields are dropped in their order.
    _share: Share,
}

/// What instances are made of.
pub(super) struct Maker {
    engine: Engine,
    ticker: Ticker,
    budget: Arc<Budget>,
    outbound: Arc<Outbound>,
}

impl Maker {
    pub(super) fn new(engine: Engine, ticker: Ticker, guests_bytes: u64, outbound: Outbound) -> Self {
        Self { engine, ticker, budget: Budget::new(guests_bytes), outbound: Arc::new(outbound) }
    }

    /// Makes an instance with room for what calls of its program come to, and every bound set: that on what one call of a host
    /// function may copy out of it is its kind's.
    pub(super) fn make(
        &self,
        version: &Version,
        typical: &Arc<Typical>,
        wasi: &mut WasiCtxBuilder,
        call_bytes_max: usize,
    ) -> Result<Instance, CallError> {
        let share = self.budget.begin(typical, version.spec.limits().memory_bytes)?;
        let guest = Guest::new(wasi.build_p1(), version, Arc::clone(&self.outbound), share.clone());
        Ok(Instance { store: store(&self.engine, guest, call_bytes_max), _share: share })
    }

    /// Has an instance serve a call from now on.
    pub(super) fn begin(&self, instance: &mut Instance, invocation: Arc<Invocation>) {
        instance.store.data_mut().begin(invocation, self.ticker.tick());
    }

    /// Calls that have an instance.
    pub(super) fn running(&self) -> usize {
        self.ticker.running()
    }

    /// Bytes that guests have.
    pub(super) fn given(&self) -> u64 {
        self.budget.given()
    }
}

fn store(engine: &Engine, guest: Guest, call_bytes_max: usize) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(call_bytes_max);
    store.set_max_component_handles(super::bounds::HANDLES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        if !store.data().ends_turn() {
            return Ok(UpdateDeadline::Continue(1));
        }
        // tokio's own yield lets sockets and timers have their turn, which waking oneself does not.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}
