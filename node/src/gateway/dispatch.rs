//! Brings a call to a replica: picks, tries, moves on where that is allowed, waits for one that is not ready yet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{FunctionId, InvocationId, NodeId, VersionId, VersionNumber};
use coracle_proto::record::{Function, NodeState, Version};
use coracle_proto::spec::Retry;
use coracle_proto::status::Code;
use http::Method;
use http::request::Parts;

use super::Inner;
use super::attempt::{Place, attempt};
use super::driver::Sent;
use super::replay::Replay;
use super::target::choose;
use crate::balance::{Candidate, Rank};
use crate::call::{Answer, CallError};
use crate::clock;
use crate::view::{Phase, View};
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

/// A call with everything that its attempts share.
pub(super) struct Dispatch<'a> {
    pub(super) gateway: &'a Inner,
    /// The view that it was routed by, and in later rounds a newer one.
    pub(super) view: Arc<View>,
    pub(super) function: FunctionId,
    pub(super) invocation: InvocationId,
    pub(super) route: String,
    pub(super) remote: SocketAddr,
    pub(super) parts: Parts,
    pub(super) body: Replay,
    /// Whether it may be sent again after it was sent (design, decision 13).
    pub(super) movable: bool,
    /// Begun so far, but for those that found a replica not ready.
    pub(super) attempts: u32,
}

/// An answer with where it came from.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) place: Place,
    pub(super) sent: Sent,
}

/// Why a round brought no answer.
#[derive(Debug)]
enum Round {
    /// Nothing was run, and a replica may be there soon.
    Wait(CallError),
    /// It is the caller's.
    Over(CallError),
}

impl Dispatch<'_> {
    /// Runs the call.
    pub(super) async fn run(&mut self) -> Result<Answered, CallError> {
        let begun = clock::now();
        let mut changes = None;
        let mut waiting = None;
        loop {
            let view = Arc::clone(&self.view);
            let version = self.version(&view)?;
            let timeout = version.spec.limits().timeout;
            let attempts = self.attempts;
            let error = match self.round(&view, &version, begun).await {
                Ok(answered) => return Ok(answered),
                Err(Round::Over(error)) => return Err(error),
                Err(Round::Wait(error)) => error,
            };
            drop(view);
            let patience = if error.code() == Code::NotReady { timeout } else { PLACEMENT_WAIT.min(timeout) };
            let passed = clock::now().saturating_duration_since(begun);
            if waiting.is_none() {
                waiting = self.gateway.waiting.try_acquire().ok();
            }
            if waiting.is_none() || passed.saturating_add(LOOK_AGAIN_MIN) >= patience {
                return Err(error);
            }
            // Subscribed late, so that a call that need not wait does not pay for it. A change between is seen
            // after LOOK_AGAIN_MAX.
            let changes = changes.get_or_insert_with(|| self.gateway.view.subscribe());
            let pause = LOOK_AGAIN_MAX.min(patience.saturating_sub(passed));
            let in_vain = self.attempts > attempts;
            tokio::time::sleep(if in_vain { UNREACHED_PAUSE } else { LOOK_AGAIN_MIN }).await;
            let _ = tokio::time::timeout(pause, changes.changed()).await;
            self.view = self.gateway.view.load();
        }
    }

    /// The number of the version that takes the call: the same in each round, unless the traffic changed meanwhile.
    pub(super) fn chosen(&self, function: &Function) -> VersionNumber {
        choose(function, u64::try_from(self.invocation.get() >> 64).unwrap_or(0)).version
    }

    /// The version that takes the call.
    pub(super) fn version(&mut self, view: &View) -> Result<Arc<Version>, CallError> {
        let routing = &view.routing.content;
        let function = routing.functions().get(&self.function).ok_or_else(|| {
            CallError::new(Code::FunctionNotFound, format!("'{}': there is no such function", self.function))
        })?;
        let id = VersionId { function: self.function.clone(), number: self.chosen(function) };
        let version = routing
            .versions()
            .get(&id)
            .cloned()
            .ok_or_else(|| CallError::new(Code::NoReplica, format!("'{id}' is not in the view")))?;
        let named = self.parts.headers.contains_key("idempotency-key");
        let again = is_idempotent(&self.parts.method) || named;
        self.movable = again && version.spec.retry() != Retry::Never;
        Ok(version)
    }

    /// Tries each candidate at most once.
    async fn round(
        &mut self,
        view: &View,
        version: &Arc<Version>,
        begun: Instant,
    ) -> Result<Answered, Round> {
        let replicas = view.routing.content.replicas(&version.id);
        let mut candidates = self.candidates(view, &version.id);
        let mut told =
            CallError::new(Code::NoReplica, format!("'{}' has no replica that can be reached", version.id));
        for tried in 1..=ATTEMPTS_MAX {
            let gateway = self.gateway;
            let local = gateway.local.as_ref();
            let Some((picked, sent)) = gateway.driver.send(&candidates, &version.id, self.movable, local)
            else {
                break;
            };
            candidates.remove(picked.index);
            let Some(replica) = replicas.iter().find(|replica| replica.node == picked.node) else { continue };
            let Some(body) = self.body.next() else { return Err(Round::Over(told)) };
            let passed = clock::now().saturating_duration_since(begun);
            let place = Place {
                version: Arc::clone(version),
                node: picked.node,
                epoch: replica.epoch,
                attempt: self.attempts.saturating_add(1),
                head_timeout: version.spec.limits().timeout.saturating_sub(passed),
            };
            // Only what a worker may have begun to run is done twice, and may be one call too many for all of them.
            // A call that could go nowhere else may as well wait for this one.
            let elsewhere = || candidates.iter().any(|it| matches!(it.rank, Rank::Ready | Rank::Unknown));
            let moves = || {
                let can = self.movable && self.body.is_whole() && tried < ATTEMPTS_MAX && elsewhere();
                can && gateway.driver.retry()
            };
            let failed = match attempt(self, view, &place, body, &sent, moves).await {
                Ok(answer) => return Ok(Answered { answer, place, sent }),
                Err(failed) => failed,
            };
            drop(sent);
            let cause = self.moves_on(&failed)?;
            let error = failed.into_error();
            if error.code() != Code::NotReady {
                self.attempts = self.attempts.saturating_add(1);
                gateway.metrics.retried(cause);
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
    fn moves_on(&self, failed: &Failed) -> Result<&'static str, Round> {
        match failed {
            Failed::Refused(_) => Ok("refused"),
            Failed::Unreached(_) => Ok("unreached"),
            Failed::Left(_) => Ok("left"),
            Failed::Lost(_) if self.movable && self.body.is_whole() && self.gateway.driver.retry() => {
                Ok("lost")
            }
            Failed::Lost(error) | Failed::Ended(error) => Err(Round::Over(error.clone())),
        }
    }

    fn candidates(&self, view: &View, version: &VersionId) -> Vec<Candidate> {
        let own = self.gateway.local.as_ref().map(crate::worker::Executor::node);
        let rank = |node: NodeId, phase: Option<Phase>| match view.node(node).map(|node| node.state) {
            Some(NodeState::Dead | NodeState::Leaving) | None => Rank::Leaving,
            Some(NodeState::Alive) => match phase {
                Some(Phase::Ready) => Rank::Ready,
                None => Rank::Unknown,
                Some(Phase::Fetching | Phase::Compiling | Phase::Failed) => Rank::NotReady,
            },
        };
        let replicas = view.routing.content.replicas(version);
        let candidate = |replica: &crate::view::ReplicaAt| Candidate {
            node: replica.node,
            local: own == Some(replica.node),
            rank: rank(replica.node, view.phase(version, replica.node, replica.epoch)),
        };
        replicas.iter().map(candidate).collect()
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

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
