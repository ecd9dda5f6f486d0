//! What a store holds beside the guest: its grants, its bounds, and its way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Full, Share};
use super::engine::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use super::ticker::{TICK, Ticking};
use super::way_out::WayOut;
use crate::os;
use crate::outbound::Meter;

/// Host resources of one call: streams, requests, timers. Scripting languages use some dozens.
const RESOURCES_MAX: usize = 512;
/// Handles in the component's own tables.
const HANDLES_MAX: usize = 16_384;
/// Bytes that one call of a host function may copy out of a component: a header block, or what a stream takes at once.
/// The host may keep them.
pub(super) const COMPONENT_CALL_BYTES_MAX: usize = 64 << 10;
/// Bytes that one call of a core module's may read or write. The host keeps none of them.
pub(super) const MODULE_CALL_BYTES_MAX: usize = 16 << 20;
/// What a guest may write to a stream at once.
pub(super) const WRITE_BYTES_MAX: usize = 64 << 10;
/// Random bytes that one call may ask for.
pub(super) const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// In-memory size of the header fields of one message.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Writes that wait in one body that a guest makes, and bytes of one of them.
pub(super) const BODY_CHUNKS_MAX: usize = 1;
pub(super) const BODY_CHUNK_BYTES: usize = 16 << 10;
/// What the host may keep for one call beside its `memory`: as much as `memory` is where nobody asks for more.
const HOST_BYTES_MAX: usize = 128 << 20;

/// A body under way: the implementation adds a chunk to those that are asked for.
const BODY_BYTES_MAX: usize = (BODY_CHUNKS_MAX + 1) * BODY_CHUNK_BYTES;
/// A request: its header fields, and method, scheme and authority, of which each is one string of the guest's.
const REQUEST_BYTES_MAX: usize = FIELDS_BYTES_MAX + 3 * COMPONENT_CALL_BYTES_MAX;

const _: () = assert!(RESOURCES_MAX * REQUEST_BYTES_MAX <= HOST_BYTES_MAX);
const _: () = assert!(RESOURCES_MAX * (BODY_BYTES_MAX + FIELDS_BYTES_MAX) <= HOST_BYTES_MAX);
const _: () =
    assert!(BODY_CHUNK_BYTES <= COMPONENT_CALL_BYTES_MAX && WRITE_BYTES_MAX <= COMPONENT_CALL_BYTES_MAX);

/// What a store holds. Core modules and components use the same.
pub(super) struct Guest {
    wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    way_out: WayOut,
    memory: Memory,
    _ticking: Ticking,
}

/// What the outside sees of a guest that it cannot ask.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The bound that was reached, bytes; zero while none was.
    memory_refused: AtomicU64,
    /// The node's own bound, where that one was reached, and what guests had of it.
    node_max: AtomicU64,
    node_given: AtomicU64,
    /// The guest gave way to others, and waits for nothing else.
    turn_over: AtomicBool,
    /// What its thread had computed when its turn began, nanoseconds.
    turn_began: AtomicU64,
}

impl Signals {
    /// The bytes that the guest was granted, if it asked for more.
    pub(super) fn memory_refused(&self) -> Option<u64> {
        Some(self.memory_refused.load(Ordering::Relaxed)).filter(|bound| *bound > 0)
    }

    /// What the node had given, if it had no more when the guest asked.
    pub(super) fn node_full(&self) -> Option<Full> {
        let [given, max] = [&self.node_given, &self.node_max].map(|it| it.load(Ordering::Relaxed));
        Some(Full { given, max }).filter(|full| full.max > 0)
    }

    /// The guest is about to be polled by a thread that has computed for so long.
    pub(super) fn turn_begins(&self, cpu: Duration) {
        self.turn_over.store(false, Ordering::Relaxed);
        self.turn_began.store(nanos(cpu), Ordering::Relaxed);
    }

    /// Whether its turn is over now, by the processor time of its thread: one that was held up by others has used nothing.
    fn ends_turn(&self) -> bool {
        let used = nanos(os::thread_cpu_time()).saturating_sub(self.turn_began.load(Ordering::Relaxed));
        let over = used >= nanos(TICK);
        self.turn_over.store(over, Ordering::Relaxed);
        over
    }

    /// Whether it has used up its turn since.
    pub(super) fn turn_is_over(&self) -> bool {
        self.turn_over.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts linear memories and tables of all instances together.
struct Memory {
    used: usize,
    /// What it was before the last growth.
    before: usize,
    max: usize,
    share: Share,
    signals: Arc<Signals>,
}

impl Memory {
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.max {
            self.signals.memory_refused.store(u64::try_from(self.max).unwrap_or(u64::MAX), Ordering::Relaxed);
            return false;
        }
        if let Err(full) = self.share.grow(used as u64) {
            self.signals.node_given.store(full.given, Ordering::Relaxed);
            self.signals.node_max.store(full.max, Ordering::Relaxed);
            return false;
        }
        self.before = self.used;
        self.used = used;
        true
    }

    /// What was let in last did not come about.
    fn undo(&mut self) {
        self.used = self.before;
    }
}

/// The engine asks before it looks at the guest's own bound: what is over that is never given, and counts for nothing.
fn within(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(within(desired, maximum) && self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |entries: usize| entries.saturating_mul(size_of::<usize>());
        Ok(within(desired, maximum) && self.grow(bytes(current), bytes(desired)))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.way_out, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

impl Guest {
    /// A guest with its grants and bounds, and its share of the node's memory; it ticks as long as it lives.
    pub(super) fn new(
        mut wasi: WasiP1Ctx,
        way_out: WayOut,
        (memory_max, share): (usize, Share),
        signals: Arc<Signals>,
        ticking: Ticking,
    ) -> Self {
        wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            wasi,
            http,
            way_out,
            memory: Memory { used: 0, before: 0, max: memory_max, share, signals },
            _ticking: ticking,
        }
    }

    /// What is counted for it outside of it: its share of the node's memory, and what its requests take of the processor.
    pub(super) fn counted(&self) -> (Share, Meter) {
        (self.memory.share.clone(), self.way_out.meter())
    }

    /// The state of core modules' WASI.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }
}

impl Drop for Guest {
    /// Breaks off the bodies that the guest left unfinished, however it ended: dropped with the store they would pass as
    /// whole, those of its own requests too.
    fn drop(&mut self) {
        let left =
            self.wasi.ctx().table.iter_mut().filter_map(|entry| entry.downcast_mut::<HostOutgoingBody>());
        for body in left {
            let (none, _) = HostOutgoingBody::new(StreamContext::Response, None, 1, 0);
            std::mem::replace(body, none).abort();
        }
    }
}

/// A store for one call, with every bound set.
pub(super) fn new_store(engine: &Engine, guest: Guest, call_bytes_max: usize) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(call_bytes_max);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        // Whoever gives way waits behind all others: a short call that a tick happens to meet must not.
        if !store.data().memory.signals.ends_turn() {
            return Ok(UpdateDeadline::Continue(1));
        }
        // tokio's own yield lets sockets and timers have their turn, which waking oneself does not.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use wasmtime_wasi::WasiCtxBuilder;

    use super::super::budget::Budget;
    use super::super::engine;
    use super::super::ticker::Ticker;
    use super::super::way_out::tests::way_out;
    use super::*;

    #[test]
    fn a_turn_is_over_when_its_thread_has_computed_for_a_tick_and_not_when_time_has_passed() {
        let signals = Signals::default();
        signals.turn_begins(os::thread_cpu_time());
        std::thread::sleep(TICK * 5); // a bounded poll: the processor is others'
        assert!(!signals.ends_turn() && !signals.turn_is_over());
        let before = os::thread_cpu_time();
        while os::thread_cpu_time() - before < TICK {}
        assert!(signals.ends_turn() && signals.turn_is_over());
        signals.turn_begins(os::thread_cpu_time());
        assert!(!signals.turn_is_over());
    }

    #[tokio::test]
    async fn bodies_that_a_guest_left_unfinished_are_broken_off_however_it_ended() {
        let ticker = Ticker::start(&engine::compiling().unwrap()).unwrap();
        let (way_out, _) = way_out(Vec::new());
        let share = Budget::new(0).begin(&Arc::default(), 0).unwrap();
        let wasi = WasiCtxBuilder::new().build_p1();
        let mut guest = Guest::new(wasi, way_out, (0, share), Arc::default(), ticker.tick());
        let (body, sent) = HostOutgoingBody::new(StreamContext::Request, None, 1, BODY_CHUNK_BYTES);
        guest.wasi.ctx().table.push(body).unwrap();
        drop(guest);
        assert!(sent.collect().await.is_err(), "it would be sent as if it were whole");
    }
}
