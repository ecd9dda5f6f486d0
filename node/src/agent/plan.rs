//! What to do next so that everything wanted is fetched and compiled. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_proto::id::Digest;

/// Transfers at once: they share the network, and one may wait for a slow source.
pub const FETCHES_MAX: usize = 4;
/// Compilations that run or wait for their turn: whose turn it is, is decided among all that this node compiles
/// ([`crate::turns`]), and what is not there cannot be chosen.
pub const COMPILES_MAX: usize = 512;
/// The first pause after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a source that comes back is not waited for longer.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A step for one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Get it from a peer.
    Fetch(Digest),
    /// Compile what is here.
    Compile(Digest),
    /// Stop the step that runs: nobody wants its result any more.
    Cancel(Digest),
}

/// A step that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is being fetched.
    Fetch,
    /// It is being compiled.
    Compile,
}

/// What went wrong with an artifact, since it was last wanted anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Failed steps in a row.
    pub attempts: u32,
    /// Of the last one.
    pub reason: String,
    /// Not before, counted as `now` is.
    pub retry_at: Duration,
}

impl Failure {
    /// Adds a failure to those before it.
    #[must_use]
    pub fn after(earlier: Option<&Self>, reason: String, now: Duration) -> Self {
        let attempts = earlier.map_or(0, |failure| failure.attempts).saturating_add(1);
        Self { attempts, reason, retry_at: now + backoff(attempts) }
    }
}

/// The pause after a number of failures: it doubles from a second to a minute.
#[must_use]
pub fn backoff(attempts: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempts.saturating_sub(1));
    BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX)
}

/// What is known when it is decided.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Artifacts of assigned versions: calls wait for them.
    pub assigned: BTreeSet<Digest>,
    /// Artifacts to hold for others: they come after.
    pub hold: BTreeSet<Digest>,
    /// Artifacts that are here.
    pub held: BTreeSet<Digest>,
    /// Artifacts that are compiled.
    pub prepared: BTreeSet<Digest>,
    /// Steps that run.
    pub running: BTreeMap<Digest, Step>,
    /// Artifacts whose last step failed.
    pub failures: BTreeMap<Digest, Failure>,
}

impl Facts {
    /// Everything that is to be fetched and compiled.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<Digest> {
        self.assigned.union(&self.hold).copied().collect()
    }
}

/// What to do now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// When a pause ends; none when nothing waits for time.
    pub wake: Option<Duration>,
}

/// Decides. `now` is the time since any fixed moment.
#[must_use]
pub fn plan(facts: &Facts, now: Duration) -> Plan {
    let wanted = |digest: &Digest| facts.assigned.contains(digest) || facts.hold.contains(digest);
    let unwanted = facts.running.keys().filter(|digest| !wanted(digest));
    let mut plan = Plan { actions: unwanted.map(|digest| Action::Cancel(*digest)).collect(), wake: None };
    let running = |step| facts.running.iter().filter(|(digest, it)| **it == step && wanted(digest)).count();
    let mut fetches = FETCHES_MAX.saturating_sub(running(Step::Fetch));
    let mut compiles = COMPILES_MAX.saturating_sub(running(Step::Compile));
    for digest in facts.assigned.iter().chain(facts.hold.difference(&facts.assigned)) {
        let Some(action) = missing(facts, digest) else { continue };
        if let Some(retry_at) =
            facts.failures.get(digest).map(|failure| failure.retry_at).filter(|at| *at > now)
        {
            plan.wake = Some(plan.wake.map_or(retry_at, |wake| wake.min(retry_at)));
            continue;
        }
        let room = match action {
            Action::Fetch(_) => &mut fetches,
            // What is only held for others waits until nothing else is compiled here.
            Action::Compile(_) if !facts.assigned.contains(digest) && compiles < COMPILES_MAX => continue,
            Action::Compile(_) | Action::Cancel(_) => &mut compiles,
        };
        if *room > 0 {
            *room -= 1;
            plan.actions.push(action);
        }
    }
    plan
}

/// The next step of an artifact, unless one runs or none is needed.
fn missing(facts: &Facts, digest: &Digest) -> Option<Action> {
    if facts.running.contains_key(digest) {
        return None;
    }
    match (facts.held.contains(digest), facts.prepared.contains(digest)) {
        (false, _) => Some(Action::Fetch(*digest)),
        (true, false) => Some(Action::Compile(*digest)),
        (true, true) => None,
    }
}

/// How far an artifact is, for those who ask about its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is on its way, or waits for its turn.
    Fetching,
    /// It is here and is compiled, or waits for its turn.
    Compiling,
    /// Calls are taken.
    Ready,
    /// The last step failed; it is tried again.
    Failed,
}

/// Tells it. Compiled code alone makes it ready: the artifact may follow.
#[must_use]
pub fn phase(facts: &Facts, digest: &Digest) -> Phase {
    match facts.running.get(digest) {
        _ if facts.prepared.contains(digest) => Phase::Ready,
        Some(Step::Fetch) => Phase::Fetching,
        Some(Step::Compile) => Phase::Compiling,
        None if facts.failures.contains_key(digest) => Phase::Failed,
        None if facts.held.contains(digest) => Phase::Compiling,
        None => Phase::Fetching,
    }
}
