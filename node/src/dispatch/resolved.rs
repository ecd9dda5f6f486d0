//! A function as its calls find it: looked up once for each view, and not by each call.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use coracle_proto::id::{FunctionId, InvocationId, NodeId, VersionId, VersionNumber};
use coracle_proto::record::{Function, NodeState, Version};
use coracle_proto::status::Code;

use crate::balance::{Candidate, Rank};
use crate::call::CallError;
use crate::metrics::{Metrics, Series};
use crate::view::{Phase, ReplicaAt, View};

/// Functions that are kept so. Where more are called they are looked up by each call, as everything once was.
const KEPT_MAX: usize = 10_000;

/// A function as one view shows it.
#[derive(Debug)]
pub(super) struct Resolved {
    function: Arc<Function>,
    /// In the order of the function's traffic.
    callees: Box<[Callee]>,
}

/// A version that takes calls.
#[derive(Debug)]
pub(super) struct Callee {
    pub(super) version: Arc<Version>,
    pub(super) series: Arc<Series>,
    pub(super) candidates: Box<[Candidate]>,
}

impl Resolved {
    fn new(view: &View, function: &Arc<Function>, own: Option<NodeId>, metrics: &Metrics) -> Self {
        let main = function.traffic.is_empty().then(|| function.main_version());
        let numbers = function.traffic.iter().map(|part| part.version).chain(main);
        let mut callees: Vec<Callee> = Vec::new();
        for number in numbers {
            let id = VersionId { function: function.id.clone(), number };
            if callees.iter().all(|callee| callee.version.id != id)
                && let Some(version) = view.routing.content.versions().get(&id)
            {
                let (candidates, series) = (candidates(view, &id, own), metrics.series(&id));
                callees.push(Callee { version: Arc::clone(version), series, candidates });
            }
        }
        Self { function: Arc::clone(function), callees: callees.into() }
    }

    /// The version that takes an invocation: the same in each round, unless the traffic changed meanwhile.
    pub(super) fn chosen(&self, id: InvocationId) -> Result<&Callee, CallError> {
        let number = self.number(id);
        self.callees.iter().find(|callee| callee.version.id.number == number).ok_or_else(|| {
            let id = VersionId { function: self.function.id.clone(), number };
            CallError::new(Code::NoReplica, format!("'{id}' is not in the view"))
        })
    }

    /// Its number, be it in the view or not.
    pub(super) fn number(&self, id: InvocationId) -> VersionNumber {
        choose(&self.function, u64::try_from(id.get() >> 64).unwrap_or(0))
    }
}

/// Where a version may be called, as far as the view says.
fn candidates(view: &View, version: &VersionId, own: Option<NodeId>) -> Box<[Candidate]> {
    let rank = |node: NodeId, phase: Option<Phase>| match view.node(node).map(|node| node.state) {
        Some(NodeState::Dead | NodeState::Leaving) | None => Rank::Leaving,
        Some(NodeState::Alive) => match phase {
            Some(Phase::Ready) => Rank::Ready,
            None => Rank::Unknown,
            Some(Phase::Fetching | Phase::Compiling | Phase::Failed) => Rank::NotReady,
        },
    };
    let candidate = |replica: &ReplicaAt| Candidate {
        node: replica.node,
        local: own == Some(replica.node),
        epoch: replica.epoch,
        rank: rank(replica.node, view.phase(version, replica.node, replica.epoch)),
    };
    view.routing.content.replicas(version).iter().map(candidate).collect()
}

/// The version that takes a call, by the weights of the function's traffic.
fn choose(function: &Function, random: u64) -> VersionNumber {
    let total: u64 = function.traffic.iter().map(|part| u64::from(part.weight)).sum();
    let mut at = if total == 0 { 0 } else { random % total };
    for part in &function.traffic {
        let weight = u64::from(part.weight);
        if at < weight {
            return part.version;
        }
        at -= weight;
    }
    function.main_version()
}

/// What was looked up in the newest view, of the functions that were called since.
#[derive(Debug)]
pub(super) struct Resolutions {
    /// This node, if it is a worker.
    own: Option<NodeId>,
    metrics: Arc<Metrics>,
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the view.
    of: u64,
    functions: HashMap<FunctionId, Arc<Resolved>>,
}

impl Kept {
    fn has_room(&self, view: u64) -> bool {
        self.of < view || (self.of == view && self.functions.len() < KEPT_MAX)
    }
}

impl Resolutions {
    pub(super) fn new(own: Option<NodeId>, metrics: Arc<Metrics>) -> Self {
        Self { own, metrics, kept: RwLock::default() }
    }

    /// The function as this view shows it.
    pub(super) fn get(&self, view: &View, function: &FunctionId) -> Result<Arc<Resolved>, CallError> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if kept.of == view.number
            && let Some(known) = kept.functions.get(function)
        {
            return Ok(Arc::clone(known));
        }
        let has_room = kept.has_room(view.number);
        drop(kept);
        let Some(found) = view.routing.content.functions().get(function) else {
            let said = format!("'{function}': there is no such function");
            return Err(CallError::new(Code::FunctionNotFound, said));
        };
        let resolved = Arc::new(Resolved::new(view, found, self.own, &self.metrics));
        if has_room {
            self.keep(view.number, &resolved);
        }
        Ok(resolved)
    }

    fn keep(&self, view: u64, resolved: &Arc<Resolved>) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let old = if kept.of < view {
            std::mem::replace(&mut *kept, Kept { of: view, ..Kept::default() })
        } else {
            Kept::default()
        };
        if kept.has_room(view) {
            kept.functions.insert(resolved.function.id.clone(), Arc::clone(resolved));
        }
        drop(kept);
        // What an older view showed may be much: it goes without the lock.
        drop(old);
    }

    /// Has everything looked up anew.
    pub(super) fn clear(&self) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut kept.functions);
        drop(kept);
        drop(old);
    }
}
