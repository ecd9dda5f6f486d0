//! A guest's run: the one owner of its store, polled under limits, stopped by being dropped. It begins where it is awaited,
//! and goes on in the slow lane when it computes for long.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use coracle_proto::spec::Limits;
use coracle_proto::status::Code;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Store;

use super::budget::Share;
use super::failure;
use super::guest::{Guest, Signals};
use super::lane::{Habit, LONG};
use super::log::LineLog;
use crate::call::{CallError, Lease};
use crate::outbound::Meter;
use crate::{clock, os};

/// How a guest ended, and its store: what the guest still holds of its answer is seen to end when that is dropped.
pub(super) type Left = (wasmtime::Result<()>, Store<Guest>);
type Ended = Result<(), CallError>;

/// A guest that runs. [`Run::poll`] goes on after its end and gives the same answer.
pub(super) struct Run {
    state: State,
    /// Where the guest goes on when it computes for long.
    slow: Handle,
    watch: Arc<Watch>,
    signals: Arc<Signals>,
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
        let (watch, signals) = (Arc::clone(&turns.watch), Arc::clone(&turns.signals));
        Self { state: State::Here(Box::new(turns)), slow, watch, signals }
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
            State::Here(_) => self.signals.turn_is_over(),
            State::Away { .. } => true,
            State::Over(_) => false,
        }
    }

    /// When something last moved in either direction.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

/// What a guest's turns are taken under.
pub(super) struct Terms {
    pub(super) limits: Limits,
    pub(super) watch: Arc<Watch>,
    pub(super) signals: Arc<Signals>,
    pub(super) stderr: LineLog,
    /// Of the guest's program.
    pub(super) habit: Arc<Habit>,
    /// Of what is done for its requests.
    pub(super) meter: Meter,
    /// Both are given back when the guest is gone.
    pub(super) share: Share,
    pub(super) lease: Lease,
}

/// A guest with what it has used so far.
pub(super) struct Turns {
    guest: Pin<Box<dyn Future<Output = Left> + Send>>,
    left: Option<Store<Guest>>,
    cpu_used: Duration,
    cpu_max: Duration,
    /// What others did for it, which counts as its own.
    meter: Meter,
    watch: Arc<Watch>,
    signals: Arc<Signals>,
    stderr: LineLog,
    habit: Arc<Habit>,
    /// Behind the guest: fields are dropped in their order.
    _share: Share,
    _lease: Lease,
}

impl Turns {
    pub(super) fn new(guest: impl Future<Output = Left> + Send + 'static, terms: Terms) -> Self {
        let Terms { limits, watch, signals, stderr, habit, meter, share, lease } = terms;
        Self {
            guest: Box::pin(guest),
            left: None,
            cpu_used: Duration::ZERO,
            cpu_max: limits.cpu_time,
            meter,
            watch,
            signals,
            stderr,
            habit,
            _share: share,
            _lease: lease,
        }
    }

    /// Whether it is for the slow lane: it has computed for long, or others of its program just did.
    fn is_long(&self) -> bool {
        self.cpu_used >= LONG || self.habit.is_long()
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let before = os::thread_cpu_time();
        self.signals.turn_begins(before);
        let polled = self.guest.as_mut().poll(cx);
        self.cpu_used += os::thread_cpu_time().saturating_sub(before);
        if self.cpu_used >= LONG {
            self.habit.was_long();
        }
        let Poll::Ready((result, left)) = polled else {
            return self.verdict().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        };
        self.left = Some(left);
        // What it made of it counts for nothing: it may have gone on to its end without giving way once.
        let verdict = self.verdict().map_or(Ok(()), Err);
        Poll::Ready(verdict.and_then(|()| result.or_else(|error| self.judge(&error))))
    }

    fn judge(&self, error: &wasmtime::Error) -> Ended {
        if failure::is_success(error) {
            return Ok(());
        }
        let named = failure::of_run(error, &self.signals);
        if named.code() == Code::FunctionTrapped {
            // With the stack: for the function's author, who reads its log.
            self.stderr.print(format!("{error:?}\n").as_bytes());
        }
        Err(named)
    }

    fn verdict(&self) -> Option<CallError> {
        if self.cpu_used.saturating_add(self.meter.used()) > self.cpu_max {
            let message =
                format!("the function used more than 'cpu-time' grants, {} ms", self.cpu_max.as_millis());
            return Some(CallError::new(Code::CpuTimeExceeded, message));
        }
        self.watch.verdict()
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        // One that was given up before its turn came says nothing.
        if self.left.is_some() && self.cpu_used < LONG {
            self.habit.was_short();
        }
    }
}

/// When body bytes last moved in either direction, and what the request's body came to.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    moved_ms: AtomicU64,
    idle_max: Duration,
    awaits_caller: AtomicBool,
    verdict: Mutex<Option<CallError>>,
}

impl Watch {
    pub(super) fn new(idle_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            began: clock::now(),
            moved_ms: AtomicU64::new(0),
            idle_max,
            awaits_caller: AtomicBool::new(false),
            verdict: Mutex::new(None),
        })
    }

    /// Bytes moved just now.
    pub(super) fn moved(&self) {
        self.moved_ms.store(clock::millis(self.began.elapsed()), Ordering::Relaxed);
    }

    /// Whether the guest waits for more of the request's body.
    pub(super) fn awaits_caller(&self) -> bool {
        self.awaits_caller.load(Ordering::Relaxed)
    }

    pub(super) fn set_awaits_caller(&self, awaits: bool) {
        self.awaits_caller.store(awaits, Ordering::Relaxed);
    }

    /// How long may still pass without a byte; `None` when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        let idle =
            self.began.elapsed().saturating_sub(Duration::from_millis(self.moved_ms.load(Ordering::Relaxed)));
        self.idle_max.checked_sub(idle).filter(|left| !left.is_zero())
    }

    /// The error for when it is over.
    pub(super) fn idle_error(&self) -> CallError {
        let message = format!(
            "no body bytes moved for {} ms, the function's 'idle-timeout'",
            self.idle_max.as_millis()
        );
        CallError::new(Code::IdleTimeout, message)
    }

    /// The call is to end with this error, whatever the guest makes of it.
    pub(super) fn condemn(&self, error: CallError) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn verdict(&self) -> Option<CallError> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
