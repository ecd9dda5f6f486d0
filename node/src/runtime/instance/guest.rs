//! What a store holds beside the guest: for its whole life its grants and its bounds, and the call that it serves.

use std::any::Any;
use std::sync::Arc;

use coracle_proto::record::Version;
use wasmtime::ResourceLimiter;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::memory::{Memory, Refused};
use crate::outbound::Egress;
use crate::runtime::bounds::{
    FIELDS_BYTES_MAX, INSTANCES_MAX, MEMORIES_MAX, RESOURCES_MAX, STATE_RESOURCES_MAX, STREAMS_KEPT_MAX,
    TABLES_MAX,
};
use crate::runtime::budget::Share;
use crate::runtime::call::CallContext;
use crate::runtime::host::cut::{Cut, Cutter};
use crate::runtime::host::http::WayOut;
use crate::runtime::log::LineLog;
use crate::runtime::state::State;
use crate::runtime::state::keeper::{Keeper, Keeps, View};
use crate::runtime::ticker::Ticking;

/// Core modules and components use the same.
pub(in crate::runtime) struct Guest {
    wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    way_out: WayOut,
    keeper: Keeper,
    log: LineLog,
    memory: Memory,
    serving: Option<Serving>,
}

/// A call, and the ticks that it wants.
struct Serving {
    invocation: Arc<CallContext>,
    _ticking: Ticking,
}

impl Guest {
    /// A guest with its grants, bounds, and share of the node's memory. It serves no call yet.
    pub(in crate::runtime) fn new(
        mut wasi: WasiP1Ctx,
        log: LineLog,
        version: &Version,
        (egress, state): (Arc<Egress>, Arc<dyn State>),
        share: Share,
    ) -> Self {
        wasi.ctx().table.set_max_capacity(resources_max(version));
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        let memory_max = usize::try_from(version.spec.limits().memory_bytes).unwrap_or(usize::MAX);
        let (way_out, memory) = (WayOut::new(egress), Memory::new(memory_max, share));
        let keeper = Keeper::new(state);
        Self { wasi, http, way_out, keeper, log, memory, serving: None }
    }

    /// A call begins: it ticks until its end.
    pub(super) fn begin(&mut self, invocation: Arc<CallContext>, ticking: Ticking) {
        invocation.account.has_memory(self.memory.used());
        self.log.begin(Arc::clone(&invocation.author));
        self.way_out.begin(Arc::clone(&invocation));
        self.keeper.begin(Arc::clone(&invocation));
        self.serving = Some(Serving { invocation, _ticking: ticking });
    }

    /// The call is over: nothing of it stays here. Gives how much the guest holds on to all the same, streams over their bound
    /// among it.
    pub(super) fn end(&mut self) -> usize {
        self.log.end();
        self.way_out.end();
        let (mut streams, mut of_call) = (0_usize, self.keeper.end());
        self.serving = None;
        for entry in self.wasi.ctx().table.iter_mut() {
            match outlives_call(entry) {
                true => streams += 1,
                false => of_call += 1,
            }
        }
        of_call + streams.saturating_sub(STREAMS_KEPT_MAX)
    }

    /// Whether the guest has computed for a whole turn. Whoever gives way waits behind all others: a short call that a tick
    /// happens to meet must not.
    pub(super) fn ends_turn(&self) -> bool {
        self.serving.as_ref().is_none_or(|it| it.invocation.signals.ends_turn())
    }

    /// The bodies of its own requests are streams, in this call; they are cut off when what is given is dropped.
    pub(in crate::runtime) fn cutter(&mut self) -> Cutter {
        let cut = Cut::default();
        let cutter = cut.by_drop();
        self.way_out.cut_by(cut);
        cutter
    }

    /// The state of core modules' WASI.
    pub(in crate::runtime) fn preview1(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let grown = self.memory.grow(current, desired);
        if let Some(Serving { invocation, .. }) = &self.serving {
            match grown {
                Ok(()) => invocation.account.has_memory(self.memory.used()),
                Err(Refused::Granted(bytes)) => invocation.signals.refuse_memory(bytes as u64),
                Err(Refused::Node(full)) => invocation.signals.lack_memory(full),
            }
        }
        grown.is_ok()
    }
}

/// Whether a resource has nothing of a call's in it. Libraries open standard output once and keep it, with what they wait for
/// it by. The streams of bodies are of the same types, and children of theirs, which have to go after them.
fn outlives_call(entry: &(dyn Any + Send)) -> bool {
    entry.is::<DynInputStream>() || entry.is::<DynOutputStream>() || entry.is::<DynPollable>()
}

/// Of what may keep something each may hold more.
fn resources_max(version: &Version) -> usize {
    if version.spec.has_state() { STATE_RESOURCES_MAX } else { RESOURCES_MAX }
}

/// The engine asks before it looks at the guest's own bound: what is over that is never given, and counts for nothing.
fn within(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(within(desired, maximum) && self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.undo();
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
        self.memory.undo();
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

impl Keeps for Guest {
    fn keeper(&mut self) -> View<'_> {
        View { keeper: &mut self.keeper, table: self.wasi.ctx().table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.way_out, table: self.wasi.ctx().table, ctx: &mut self.http }
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

#[cfg(test)]
mod tests {
    use coracle_proto::spec::Draft;
    use http_body_util::BodyExt as _;
    use wasmtime_wasi::WasiCtxBuilder;

    use super::*;
    use crate::outbound::Reach;
    use crate::runtime::bounds::BODY_CHUNK_BYTES;
    use crate::runtime::budget::Budget;
    use crate::runtime::call::tests::invocation;
    use crate::runtime::tests::NoState;

    #[tokio::test]
    async fn bodies_that_a_guest_left_unfinished_are_broken_off_however_it_ended() {
        let (invocation, _) = invocation(Draft::default());
        let egress = Arc::new(Egress::new(Reach::default()).unwrap());
        let share = Budget::new(0).begin(&Arc::default(), 0).unwrap();
        let wasi = WasiCtxBuilder::new().build_p1();
        let mut guest =
            Guest::new(wasi, LineLog::pair().0, &invocation.version, (egress, Arc::new(NoState)), share);
        let (body, sent) = HostOutgoingBody::new(StreamContext::Request, None, 1, BODY_CHUNK_BYTES);
        guest.wasi.ctx().table.push(body).unwrap();
        drop(guest);
        assert!(sent.collect().await.is_err(), "it would be sent as if it were whole");
    }
}
