//! Brings an invocation to a replica: picks, tries, moves on where that is allowed, waits for one that is not ready yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{VersionId, VersionNumber};
use coracle_proto::spec::Retry;
use coracle_proto::status::Code;
use tracing::Span;

use super::attempt::{Attempt, Attempted, Place};
use super::resolved::{Callee, Resolved};
use super::{Inner, Invocation, span};
use crate::balance::Rank;
use crate::call::CallError;
use crate::clock;
use crate::metrics::Series;
use crate::view::View;
use crate::worker::Failed;

/// Workers that one call is sent to in one round.
const ATTEMPTS_MAX: usize = 5;
/// A function without a replica that can be reached: its placement, a newer view, or a worker that is started anew
/// comes within this or not soon.
const PLACEMENT_WAIT: Duration = Duration::from_secs(5);
/// While a call waits it looks again at each change of the view, but not more often than this,
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(20);
/// nor than this where it has just asked workers in vain: the view changes all the time, and each look is a call to them.
const UNREACHED_PAUSE: Duration = Duration::from_millis(200);
/// and without any change after this: a worker may be ready before the view says so.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);

/// An invocation on its way.
pub(super) struct Rounds<'a> {
    dispatcher: &'a Inner,
    invocation: &'a Invocation,
    begun: Instant,
    /// In later rounds a newer one.
    view: Arc<View>,
    resolved: Result<Arc<Resolved>, CallError>,
    /// Attempts begun so far, but for those that found a replica not ready.
    attempts: u32,
}

/// Why a round brought no answer.
#[derive(Debug)]
enum Round {
    /// Nothing was run, and a replica may be there soon.
    Wait(CallError),
    /// It is the caller's.
    Over(CallError),
}

impl<'a> Rounds<'a> {
    pub(super) fn new(dispatcher: &'a Inner, invocation: &'a Invocation) -> Self {
        let view = dispatcher.view.load();
        let resolved = dispatcher.resolutions.get(&view, &invocation.function);
        Self { dispatcher, invocation, begun: clock::now(), view, resolved, attempts: 0 }
    }

    /// The series that it is counted in, whatever becomes of it: that of the version which its first round chooses.
    pub(super) fn counted_as(&self, span: &Span) -> Arc<Series> {
        let id = self.invocation.id;
        let callee = self.resolved.as_ref().ok().and_then(|resolved| resolved.chosen(id).ok());
        if let Some(callee) = callee {
            span::named(span, &callee.version.id);
            return Arc::clone(&callee.series);
        }
        let number = self.resolved.as_ref().map_or(VersionNumber::new(0), |resolved| resolved.number(id));
        let version = VersionId { function: self.invocation.function.clone(), number };
        span::named(span, &version);
        self.dispatcher.metrics.series(&version)
    }

    /// Runs it.
    pub(super) async fn run(mut self) -> Result<Attempted, CallError> {
        let mut changes = None;
        let mut waiting = None;
        loop {
            let resolved = self.resolved.clone()?;
            let callee = resolved.chosen(self.invocation.id)?;
            let timeout = callee.version.spec.limits().timeout;
            let attempts = self.attempts;
            let error = match self.round(callee).await {
                Ok(attempted) => return Ok(attempted),
                Err(Round::Over(error)) => return Err(error),
                Err(Round::Wait(error)) => error,
            };
            let patience = if error.code() == Code::NotReady { timeout } else { PLACEMENT_WAIT.min(timeout) };
            let passed = self.passed();
            if waiting.is_none() {
                waiting = self.dispatcher.waiting.try_acquire().ok();
            }
            if waiting.is_none() || passed.saturating_add(LOOK_AGAIN_MIN) >= patience {
                return Err(error);
            }
            // Subscribed late, so that a call that need not wait does not pay for it. A change between is seen
            // after LOOK_AGAIN_MAX.
            let changes = changes.get_or_insert_with(|| self.dispatcher.view.subscribe());
            let pause = LOOK_AGAIN_MAX.min(patience.saturating_sub(passed));
            let in_vain = self.attempts > attempts;
            tokio::time::sleep(if in_vain { UNREACHED_PAUSE } else { LOOK_AGAIN_MIN }).await;
            let _ = tokio::time::timeout(pause, changes.changed()).await;
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        self.view = self.dispatcher.view.load();
        self.resolved = self.dispatcher.resolutions.get(&self.view, &self.invocation.function);
    }

    fn passed(&self) -> Duration {
        clock::now().saturating_duration_since(self.begun)
    }

    /// Tries each candidate at most once.
    async fn round(&mut self, callee: &Callee) -> Result<Attempted, Round> {
        let (dispatcher, invocation) = (self.dispatcher, self.invocation);
        let version = &callee.version;
        let movable = invocation.repeatable && version.spec.retry() != Retry::Never;
        let mut candidates = callee.candidates.to_vec();
        let mut told =
            CallError::new(Code::NoReplica, format!("'{}' has no replica that can be reached", version.id));
        for tried in 1..=ATTEMPTS_MAX {
            let local = dispatcher.local.as_ref();
            let Some((picked, sent)) = dispatcher.driver.send(&candidates, &version.id, movable, local)
            else {
                break;
            };
            let candidate = candidates.remove(picked.index);
            let Some(body) = invocation.body.next() else { return Err(Round::Over(told)) };
            let place = Place {
                version: Arc::clone(version),
                node: picked.node,
                epoch: candidate.epoch,
                attempt: self.attempts.saturating_add(1),
                head_timeout: version.spec.limits().timeout.saturating_sub(self.passed()),
            };
            // Only what a worker may have begun to run is done twice, and may be one call too many for all of them.
            // A call that could go nowhere else may as well wait for this one.
            let elsewhere = || candidates.iter().any(|it| matches!(it.rank, Rank::Ready | Rank::Unknown));
            let moves = || {
                let can = movable && invocation.body.is_whole() && tried < ATTEMPTS_MAX && elsewhere();
                can && dispatcher.driver.retry()
            };
            let attempt = Attempt { dispatcher, invocation, view: &self.view, place: &place };
            let failed = match attempt.run(body, &sent, moves).await {
                Ok(answer) => return Ok(Attempted { answer, place, sent }),
                Err(failed) => failed,
            };
            drop(sent);
            let cause = self.moves_on(&failed, movable)?;
            let error = failed.into_error();
            if error.code() != Code::NotReady {
                self.attempts = self.attempts.saturating_add(1);
                dispatcher.metrics.retried(cause);
            }
            if worth(&error) >= worth(&told) {
                told = error;
            }
        }
        Err(match told.code() {
            Code::NotReady | Code::NoReplica | Code::StaleReplica => Round::Wait(told),
            _ => Round::Over(told),
        })
    }

    /// Whether another worker may have the call, and how that is counted.
    fn moves_on(&self, failed: &Failed, movable: bool) -> Result<&'static str, Round> {
        match failed {
            Failed::Refused(_) => Ok("refused"),
            Failed::Unreached(_) => Ok("unreached"),
            Failed::Left(_) => Ok("left"),
            Failed::Lost(_)
                if movable && self.invocation.body.is_whole() && self.dispatcher.driver.retry() =>
            {
                Ok("lost")
            }
            Failed::Lost(error) | Failed::Ended(error) => Err(Round::Over(error.clone())),
        }
    }
}

/// What a busy or unready replica says is worth more to the caller than that another one is stale, and that more than
/// that one was not reached.
fn worth(error: &CallError) -> u8 {
    match error.code() {
        Code::NoReplica => 0,
        Code::StaleReplica => 1,
        _ => 2,
    }
}
