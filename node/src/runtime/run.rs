//! A guest's run: the one owner of its store, polled under limits, stopped by being dropped. It begins where it is awaited,
//! and goes on in the slow lane when it computes for long.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use coracle_proto::status::Code;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio_util::task::AbortOnDropHandle;

use super::after::After;
use super::call::{CallContext, Watch};
use super::failure;
use super::instance::Instance;
use super::lane::{Habit, LONG};
use super::stopwatch::Stopwatch;
use crate::call::{CallError, Lease};

/// How a guest ended, and its instance: what the guest still holds of its answer is seen to end when that is dropped.
pub(super) type Left = (wasmtime::Result<()>, Instance);
type Ended = Result<(), CallError>;

/// A guest that runs. [`Run::poll`] goes on after its end and gives the same answer.
pub(super) struct Run {
    state: State,
    /// Where the guest goes on when it computes for long.
    slow: Handle,
    invocation: Arc<CallContext>,
}

enum State {
    /// On the thread of whoever awaits it.
    Here(Box<Turns>),
    /// In the slow lane. The verdict comes before the guest's store is dropped.
    Away {
        verdict: oneshot::Receiver<Ended>,
        _task: AbortOnDropHandle<()>,
    },
    Over(Ended),
}

impl Run {
    pub(super) fn new(turns: Turns, slow: Handle) -> Self {
        let invocation = Arc::clone(&turns.invocation);
        Self { state: State::Here(Box::new(turns)), slow, invocation }
    }

    /// Lets the guest run until it waits, its turn is over, or it has ended; or sees whether it has, elsewhere.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let State::Here(turns) = &mut self.state
            && !turns.is_long()
        {
            match turns.poll_turn(cx) {
                Poll::Ready(ended) => self.state = State::Over(ended),
                Poll::Pending if turns.is_long() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        self.state = match std::mem::replace(&mut self.state, State::Over(Ok(()))) {
            State::Here(turns) => self.away(turns),
            state @ (State::Away { .. } | State::Over(_)) => state,
        };
        if let State::Away { verdict, .. } = &mut self.state {
            let lost = |_| Err(CallError::new(Code::Internal, "the guest's task was lost"));
            // Unconstrained, because tokio lets a channel of a task that was busy for long pretend to be empty.
            let ended = ready!(pin!(unconstrained(verdict)).poll(cx)).unwrap_or_else(lost);
            self.state = State::Over(ended);
        }
        match &self.state {
            State::Over(ended) => Poll::Ready(ended.clone()),
            State::Here(_) | State::Away { .. } => Poll::Pending,
        }
    }

    fn away(&self, mut turns: Box<Turns>) -> State {
        let (sender, verdict) = oneshot::channel();
        let task = async move {
            let ended = poll_fn(|cx| turns.poll_turn(cx)).await;
            // Nobody waits for the end of a call that was given up.
            let _ = sender.send(ended);
            drop(turns);
        };
        State::Away { verdict, _task: AbortOnDropHandle::new(self.slow.spawn(task)) }
    }

    /// Ends the guest for a reason of the platform's.
    pub(super) fn stop(&mut self, error: CallError) -> CallError {
        self.state = State::Over(Err(error.clone()));
        error
    }

    /// Whether the guest has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// Whether the guest may fail without waiting for anything: it waits for its next turn alone, or what it waits for cannot
    /// be told from here.
    pub(super) fn is_computing(&self) -> bool {
        match self.state {
            State::Here(_) => self.invocation.signals.turn_is_over(),
            State::Away { .. } => true,
            State::Over(_) => false,
        }
    }

    /// The call that the guest serves.
    pub(super) fn invocation(&self) -> &Arc<CallContext> {
        &self.invocation
    }

    /// When something last moved in either direction.
    pub(super) fn watch(&self) -> &Watch {
        &self.invocation.watch
    }
}

/// A guest with what it has used so far.
pub(super) struct Turns {
    guest: Pin<Box<dyn Future<Output = Left> + Send>>,
    has_ended: bool,
    /// What is left of it, if it rests nowhere: dropped with this.
    left: Option<Instance>,
    cpu_used: Duration,
    invocation: Arc<CallContext>,
    /// Of the guest's program.
    habit: Arc<Habit>,
    /// Where its instance goes; `None`: nowhere.
    after: Option<After>,
    /// Behind the guest, and given back when that is gone: fields are dropped in their order.
    _lease: Lease,
}

impl Turns {
    pub(super) fn new(
        guest: impl Future<Output = Left> + Send + 'static,
        invocation: Arc<CallContext>,
        (habit, after): (Arc<Habit>, Option<After>),
        lease: Lease,
    ) -> Self {
        let guest = Box::pin(guest);
        Self {
            guest,
            has_ended: false,
            left: None,
            cpu_used: Duration::ZERO,
            invocation,
            habit,
            after,
            _lease: lease,
        }
    }

    /// Whether it is for the slow lane: it has computed for long, or others of its program just did.
    fn is_long(&self) -> bool {
        self.cpu_used >= LONG || self.habit.is_long()
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let stopwatch = Stopwatch::start();
        self.invocation.signals.turn_begins(stopwatch.cpu_before());
        let polled = self.guest.as_mut().poll(cx);
        self.cpu_used += stopwatch.stop();
        if self.cpu_used >= LONG {
            self.habit.was_long();
        }
        let Poll::Ready((result, left)) = polled else {
            return self.verdict().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        };
        // What it made of it counts for nothing: it may have gone on to its end without giving way once.
        let verdict = self.verdict().map_or(Ok(()), Err);
        let whole = verdict.is_ok() && result.is_ok();
        let ended = verdict.and_then(|()| result.or_else(|error| self.judge(&error)));
        self.settle(left, &ended, whole);
        Poll::Ready(ended)
    }

    /// The guest has ended: `whole` when it returned from its call.
    fn settle(&mut self, instance: Instance, ended: &Ended, whole: bool) {
        self.has_ended = true;
        match (&self.after, ended) {
            (Some(after), Ok(())) if whole => return after.ended(instance, &self.invocation),
            (Some(after), Err(error)) if error.code() == Code::FunctionTrapped => {
                after.trapped(&instance, &self.invocation);
            }
            _ => {}
        }
        self.left = Some(instance);
    }

    fn judge(&self, error: &wasmtime::Error) -> Ended {
        if failure::is_success(error) {
            return Ok(());
        }
        let named = failure::of_run(error, &self.invocation.signals);
        if named.code() == Code::FunctionTrapped {
            // With the stack: for the function's author, who reads its log.
            self.invocation.author.say_lines(&format!("{error:?}"));
        }
        Err(named)
    }

    fn verdict(&self) -> Option<CallError> {
        let cpu_max = self.invocation.limits().cpu_time;
        if self.cpu_used.saturating_add(self.invocation.requests_cpu()) > cpu_max {
            let message =
                format!("the function used more than 'cpu-time' grants, {} ms", cpu_max.as_millis());
            return Some(CallError::new(Code::CpuTimeExceeded, message));
        }
        self.invocation.watch.verdict()
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.invocation.account.computed(self.cpu_used);
        // One that was given up before its turn came says nothing.
        if self.has_ended && self.cpu_used < LONG {
            self.habit.was_short();
        }
    }
}
