//! An instance: what is made of a program so that it can serve a call. It holds a store with the guest's memory, and its place
//! and its share of memory on the node; what a call brings it is given for that call.

mod guest;
mod memory;

use std::sync::Arc;
use std::time::Instant;

use coracle_proto::spec::Reuse;
use wasmtime::{AsContextMut, Engine, Store, UpdateDeadline};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

pub(super) use self::guest::Guest;
use super::bounds::{CONCURRENT_MAX, HANDLES_MAX};
use super::budget::Share;
use super::call::CallContext;
use super::place::Place;
use super::ticker::Ticking;

/// What takes requests.
pub(super) enum Handler {
    Proxy(Proxy),
    /// Of 0.3, with how many tasks, streams and futures it held when it was made. One that held any serves one call: later they
    /// cannot be told from those of a call.
    Service(Service, usize),
}

/// A store, and what it takes up on the node.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    /// What takes requests, once it has been instantiated and while it takes none.
    pub(super) handler: Option<Handler>,
    /// How many tasks, streams and futures the engine has in a store whose guest has not run.
    empty: usize,
    made: Instant,
    served: u32,
    /// Both behind the store, whose memory they count: fields are dropped in their order.
    _share: Share,
    _place: Place,
}

impl Instance {
    /// One that has served no call yet, with every bound set: `call_bytes_max` is what one call of a host function may copy
    /// out of it.
    pub(super) fn new(
        engine: &Engine,
        guest: Guest,
        call_bytes_max: usize,
        made: Instant,
        (share, place): (Share, Place),
    ) -> Self {
        let mut store = store(engine, guest, call_bytes_max);
        let empty = concurrent(&mut store);
        Self { store, handler: None, empty, made, served: 0, _share: share, _place: place }
    }

    /// How many tasks, streams and futures the engine has in it when it holds none.
    pub(super) const fn empty(&self) -> usize {
        self.empty
    }

    /// How many tasks, streams and futures of 0.3 it holds.
    pub(super) fn holds(&mut self) -> usize {
        concurrent(&mut self.store).abs_diff(self.empty)
    }

    /// It serves a call from now on.
    pub(super) fn begin(&mut self, invocation: Arc<CallContext>, ticking: Ticking) {
        self.served = self.served.saturating_add(1);
        self.store.data_mut().begin(invocation, ticking);
    }

    /// Its call is over. Gives how many resources of it the guest holds on to.
    pub(super) fn end(&mut self) -> usize {
        let under_way = match self.handler {
            Some(Handler::Service(_, at_first)) => self.holds().max(at_first),
            Some(Handler::Proxy(_)) | None => 0,
        };
        self.store.data_mut().end() + under_way
    }

    /// Whether the call that it serves is its second one.
    pub(super) const fn serves_second(&self) -> bool {
        self.served == 2
    }

    /// Whether it may serve one more call.
    pub(super) fn may_serve(&self, reuse: Reuse, now: Instant) -> bool {
        self.handler.is_some() && self.served < reuse.calls && self.is_young(reuse, now)
    }

    /// Whether it is young enough to.
    pub(super) fn is_young(&self, reuse: Reuse, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < reuse.age
    }
}

/// How many tasks, streams and futures of 0.3 the engine has in a store.
pub(super) fn concurrent(mut store: impl AsContextMut) -> usize {
    store.as_context_mut().concurrent_resource_table().map_or(0, |table| table.iter_mut().count())
}

fn store(engine: &Engine, guest: Guest, call_bytes_max: usize) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(call_bytes_max);
    store.set_max_component_handles(HANDLES_MAX);
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(CONCURRENT_MAX);
    }
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
