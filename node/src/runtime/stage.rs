//! What the kinds of calls have in common: from a program to a guest that runs under its call's limits.

use std::future::Future;
use std::sync::Arc;

use coracle_proto::attr;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span, info_span};
use wasmtime_wasi::WasiCtxBuilder;

use super::after::{After, Manners};
use super::bounds::{COMPONENT_CALL_BYTES_MAX, STATE_CALL_BYTES_MAX};
use super::budget::{Need, Typical};
use super::call::CallContext;
use super::host::system;
use super::instance::Instance;
use super::instances::Instances;
use super::lane::Habit;
use super::log::LineLog;
use super::run::{Left, Run, Turns};
use crate::call::{CallError, Lease};

/// A call whose program is here.
pub(super) struct Stage<'a> {
    pub(super) instances: &'a Instances,
    pub(super) invocation: &'a Arc<CallContext>,
    /// Where it is noted how the program behaves.
    pub(super) habit: &'a Arc<Habit>,
    pub(super) typical: &'a Arc<Typical>,
    pub(super) manners: &'a Arc<Manners>,
    /// Whose call it is.
    pub(super) need: Need,
    /// Where guests go on that compute for long.
    pub(super) slow: &'a Handle,
    pub(super) span: Span,
    pub(super) lease: Lease,
}

impl Stage<'_> {
    /// What the function was granted.
    pub(super) fn wasi(&self) -> (WasiCtxBuilder, LineLog) {
        let (stdout, stderr) = LineLog::pair();
        (system::granted(&self.invocation.version, (stdout.clone(), stderr)), stdout)
    }

    /// An instance of a component for this call: one that has served another one before, if there is one and the program can
    /// take that, or a fresh one.
    pub(super) fn component(&self) -> Result<Instance, CallError> {
        match self.rested() {
            Some(instance) => Ok(instance),
            None => {
                let (mut wasi, log) = self.wasi();
                self.instance((&mut wasi, log), COMPONENT_CALL_BYTES_MAX)
            }
        }
    }

    fn rested(&self) -> Option<Instance> {
        if !self.manners.serves_again() {
            return None;
        }
        let mut instance = self.instances.rested(self.invocation)?;
        self.instances.begin(&mut instance, Arc::clone(self.invocation));
        Some(instance)
    }

    /// A fresh instance for this call, with what one call of a host function may copy out of it.
    pub(super) fn instance(
        &self,
        wasi: (&mut WasiCtxBuilder, LineLog),
        call_bytes_max: usize,
    ) -> Result<Instance, CallError> {
        // A value is larger than what others have to say at once.
        let least = if self.invocation.version.spec.has_state() { STATE_CALL_BYTES_MAX } else { 0 };
        let call_bytes_max = call_bytes_max.max(least);
        let mut instance =
            self.instances.make(self.invocation, self.typical, self.need, wasi, call_bytes_max)?;
        self.instances.begin(&mut instance, Arc::clone(self.invocation));
        Ok(instance)
    }

    pub(super) fn spans(&self) -> Spans {
        Spans { run: self.span.clone() }
    }

    /// Puts the guest under the call's limits.
    pub(super) fn run(self, guest: impl Future<Output = Left> + Send + 'static) -> Run {
        let after =
            self.invocation.version.spec.reuse().map(|_| After {
                rest: Arc::clone(self.instances.rest()),
                manners: Arc::clone(self.manners),
            });
        self.run_and(after, guest)
    }

    /// The same with an instance that rests nowhere afterwards.
    pub(super) fn run_once(self, guest: impl Future<Output = Left> + Send + 'static) -> Run {
        self.run_and(None, guest)
    }

    fn run_and(self, after: Option<After>, guest: impl Future<Output = Left> + Send + 'static) -> Run {
        let (invocation, habit) = (Arc::clone(self.invocation), Arc::clone(self.habit));
        let turns = Turns::new(guest.instrument(self.span), invocation, (habit, after), self.lease);
        Run::new(turns, self.slow.clone())
    }
}

/// The spans inside a run.
pub(super) struct Spans {
    run: Span,
}

impl Spans {
    /// Runs an instantiation in its span, where the run has one: it would begin a trace otherwise.
    pub(super) fn instantiate<F: Future>(
        &self,
        instantiation: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let span = match self.run.is_none() {
            true => Span::none(),
            false => {
                info_span!(parent: &self.run, attr::SPAN_INSTANTIATE, { attr::SERVICE } = attr::SERVICE_WORKER)
            }
        };
        instantiation.instrument(span)
    }
}
