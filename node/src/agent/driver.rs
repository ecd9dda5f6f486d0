//! Performs what [`super::plan`] decides: one task that owns all state, and jobs that it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{Digest, Epoch, NodeId};
use coracle_proto::record::Version;
use coracle_proto::{attr, trace};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, info_span};

use super::plan::{Action, Facts, Failure, Plan, Step, plan};
use super::{Board, Orders, removal, sources};
use crate::artifact::{ArtifactMetrics, Fetcher, Index, Prepare, Store, blocking};
use crate::clock;
use crate::turns::{Turn, Turns};
use crate::view::{Held, ViewHandle};

/// Compiled code can vanish without a word: another node on the machine, or the runtime after it was damaged. So
/// it is looked for again this often,
const RESYNC: Duration = Duration::from_secs(5);
/// and less often where there is so much that looking takes longer than a thousandth of the time.
const LOOKS_A_SECOND: u64 = 200;

/// What the agent works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose agent it is.
    pub node: NodeId,
    /// Tells the assignments.
    pub view: ViewHandle,
    /// Where artifacts lie.
    pub store: Arc<Store>,
    /// Who gets them.
    pub fetcher: Fetcher,
    /// Who compiles them.
    pub prepare: Arc<dyn Prepare>,
    /// What the leader wants.
    pub orders: watch::Receiver<Arc<Orders>>,
    /// Whose turn it is to be compiled, among all that this node compiles.
    pub turns: Turns,
    /// Where compilations are counted.
    pub metrics: ArtifactMetrics,
}

/// The task.
#[derive(Debug)]
pub struct Agent {
    options: Options,
    board: Arc<Board>,
    /// What the plan's times count from.
    origin: Instant,
    /// What is known. Kept from round to round, for most rounds change little of it.
    facts: Facts,
    /// Since which decision each artifact is wanted: a new one forgets the failures of the old.
    epochs: BTreeMap<Digest, Epoch>,
    /// When all of it is looked for again.
    resync_at: Duration,
    /// The assignments and artifacts that the facts are of: the view changes all the time, they do not.
    seen: Held,
    held: Arc<Index>,
    running: BTreeMap<Digest, AbortHandle>,
    /// The turns of compilations that run or wait, by [`Turn::number`].
    turns: BTreeMap<Digest, u64>,
    /// When this process began, Unix milliseconds,
    began_ms: u64,
    /// and what it has compiled for assignments and orders since.
    compiled: BTreeSet<Digest>,
    jobs: JoinSet<Result<(), String>>,
}

/// What came of a job, or why nothing did.
type Done = Result<(Id, Result<(), String>), JoinError>;

/// Where news comes from.
struct Sources {
    view: watch::Receiver<u64>,
    held: watch::Receiver<u64>,
    orders: watch::Receiver<Arc<Orders>>,
    turns: watch::Receiver<u64>,
    stop: CancellationToken,
}

enum Event {
    Changed,
    Ordered,
    Done(Done),
    Stop,
}

impl Agent {
    /// An agent that has looked at the view once: what is assigned and compiled is served from the first moment.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut agent = Self {
            options,
            board: Arc::default(),
            origin: clock::now(),
            facts: Facts::default(),
            epochs: BTreeMap::new(),
            resync_at: RESYNC,
            seen: Held::default(),
            held: Arc::default(),
            running: BTreeMap::new(),
            turns: BTreeMap::new(),
            began_ms: clock::unix_ms(),
            compiled: BTreeSet::new(),
            jobs: JoinSet::new(),
        };
        agent.learn();
        let wanted = agent.facts.wanted();
        agent.facts.prepared =
            wanted.into_iter().filter(|it| agent.options.prepare.is_prepared(it)).collect();
        // What is ready already is not made so.
        drop(agent.tell());
        agent
    }

    /// How far it is.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Works until it is stopped; what runs then is given up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sources = Sources {
            view: self.options.view.subscribe(),
            held: self.options.store.changes(),
            orders: self.options.orders.clone(),
            turns: self.options.turns.changes(),
            stop,
        };
        loop {
            self.learn();
            self.look().await;
            let Plan { actions, wake } = plan(&self.facts, self.now());
            for action in actions {
                self.start(action);
            }
            // What was started shows at once.
            self.publish();
            let wake = wake.map_or(self.resync_at, |at| at.min(self.resync_at));
            match self.wait(&mut sources, wake).await {
                Event::Changed => {}
                Event::Ordered => self.remove().await,
                Event::Done(done) => self.finished(done),
                Event::Stop => return,
            }
        }
    }

    /// Waits for something to do, until `wake` at the longest. What nodes say about themselves, and orders that say the
    /// same again, come several times a second: they are nothing to look at everything for.
    async fn wait(&mut self, sources: &mut Sources, wake: Duration) -> Event {
        let Sources { view, held, orders, turns, stop } = sources;
        let handle = self.options.view.clone();
        let pause = wake.saturating_sub(self.now());
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            let (handle, seen, waits) = (&handle, &self.seen, !self.turns.is_empty());
            let assigned = view.wait_for(|_| !handle.load().held.content.assigns_the_same(seen));
            return tokio::select! {
                () = stop.cancelled() => Event::Stop,
                Some(done) = self.jobs.join_next_with_id() => Event::Done(done),
                changed = orders.changed() => match changed {
                    Err(_) => Event::Stop,
                    Ok(()) if !orders.borrow_and_update().is_news(&self.facts.hold) => continue,
                    Ok(()) => Event::Ordered,
                },
                Ok(_) = assigned => Event::Changed,
                Ok(()) = held.changed() => Event::Changed,
                // Nothing to do: only who waits for what is another.
                Ok(()) = turns.changed(), if waits => {
                    self.publish();
                    continue;
                }
                () = &mut over => Event::Changed,
            };
        }
    }

    /// Looks at the disk, where it holds up no call: for what is wanted and was not compiled each time, for the rest
    /// once in [`RESYNC`].
    async fn look(&mut self) {
        let all = self.now() >= self.resync_at;
        let wanted = self.facts.wanted();
        if all {
            self.resync_at = self.now() + resync(wanted.len());
        }
        let facts = &mut self.facts;
        facts.prepared.retain(|digest| wanted.contains(digest));
        let asked: Vec<Digest> =
            wanted.into_iter().filter(|digest| all || !facts.prepared.contains(digest)).collect();
        if asked.is_empty() {
            return;
        }
        let prepare = Arc::clone(&self.options.prepare);
        let looking = blocking(move || {
            Ok(asked.into_iter().partition::<BTreeSet<_>, _>(|digest| prepare.is_prepared(digest)))
        });
        // An error means that the process is ending.
        if let Ok((there, gone)) = looking.await {
            self.facts.prepared.extend(there);
            self.facts.prepared.retain(|digest| !gone.contains(digest));
        }
    }

    /// Tells how far each assignment is.
    fn publish(&self) {
        for version in self.tell() {
            if self.is_new(&version) {
                self.options.prepare.made_ready(&version);
            }
        }
    }

    /// Whether the version, or its code here, was made since this process began. What was there before is found out when it is
    /// called, whenever the view tells of it: a node that starts loads no code in advance.
    fn is_new(&self, version: &Version) -> bool {
        version.created_ms >= self.began_ms || self.compiled.contains(&version.digest)
    }

    fn tell(&self) -> Vec<Arc<Version>> {
        let ahead = if self.turns.is_empty() { BTreeMap::new() } else { self.options.turns.ahead() };
        let of = |(digest, number): (&Digest, &u64)| Some((*digest, *ahead.get(number)?));
        self.board.publish(&self.seen, &self.facts, &self.turns.iter().filter_map(of).collect())
    }

    /// Takes over what changed outside, and forgets what is not wanted any more.
    fn learn(&mut self) {
        let view = self.options.view.load();
        let content = &view.held.content;
        let assigned_anew = !content.assigns_the_same(&self.seen) || self.epochs.is_empty();
        if assigned_anew {
            let mut epochs: BTreeMap<Digest, Epoch> = BTreeMap::new();
            for assignment in content.assignments() {
                let newest = epochs.entry(assignment.version.digest).or_default();
                *newest = assignment.epoch.max(*newest);
            }
            let known = std::mem::replace(&mut self.epochs, epochs);
            let (epochs, failures) = (&self.epochs, &mut self.facts.failures);
            failures.retain(|digest, _| known.get(digest) >= epochs.get(digest));
            self.facts.assigned = epochs.keys().copied().collect();
        }
        self.seen = content.clone();
        let orders = Arc::clone(&self.options.orders.borrow());
        if orders.hold != self.facts.hold {
            self.facts.hold.clone_from(&orders.hold);
        }
        let held = self.options.store.held();
        if !Arc::ptr_eq(&held, &self.held) {
            self.facts.held = held.keys().copied().collect();
            self.held = held;
        }
        let Facts { assigned, hold, failures, .. } = &mut self.facts;
        failures.retain(|digest, _| assigned.contains(digest) || hold.contains(digest));
        self.compiled.retain(|digest| assigned.contains(digest) || hold.contains(digest));
    }

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.origin)
    }

    fn start(&mut self, action: Action) {
        let options = self.options.clone();
        let (digest, step, handle) = match action {
            Action::Cancel(digest) => {
                self.facts.running.remove(&digest);
                self.turns.remove(&digest);
                if let Some(job) = self.running.remove(&digest) {
                    job.abort();
                }
                return;
            }
            Action::Fetch(digest) => {
                let job = async move { fetch(&options, digest).await }.instrument(self.span(&digest));
                (digest, Step::Fetch, self.jobs.spawn(job))
            }
            Action::Compile(digest) => {
                let turn = self.turn(&digest);
                self.turns.insert(digest, turn.number());
                let job = async move { compile(&options, digest, turn).await }.instrument(self.span(&digest));
                (digest, Step::Compile, self.jobs.spawn(job))
            }
        };
        self.facts.running.insert(digest, step);
        self.running.insert(digest, handle);
    }

    /// Compilations are taken in turns by namespace; what is only held for others is of the default one.
    fn turn(&self, digest: &Digest) -> Turn {
        let mut versions = self.seen.assignments().map(|assignment| assignment.version);
        let version = versions.find(|version| version.digest == *digest);
        let namespace = version.map(|version| version.id.function.namespace.clone());
        let bytes = self.held.get(digest).map_or(0, |held| held.size);
        self.options.turns.announce(namespace.unwrap_or_default(), bytes)
    }

    /// What is done for a version while it is deployed is a part of that trace.
    fn span(&self, digest: &Digest) -> Span {
        let (view, now_ms) = (self.options.view.load(), clock::unix_ms());
        let versions = view.held.content.assignments().map(|assignment| assignment.version);
        let mut versions = versions.filter(|version| version.digest == *digest);
        let deploy = versions.find_map(|version| version.deploy_trace(now_ms).map(str::to_owned));
        let Some(deploy) = deploy else { return Span::none() };
        let span = info_span!(
            attr::SPAN_DEPLOY,
            { attr::SERVICE } = attr::SERVICE_WORKER,
            { attr::DIGEST } = %digest,
        );
        trace::join_from_text(&span, &deploy);
        span
    }

    fn finished(&mut self, done: Done) {
        let (id, result) = match done {
            Ok(done) => done,
            Err(error) => (error.id(), Err(format!("the job was lost: {error}"))),
        };
        // One that was cancelled is not looked for any more.
        let Some(digest) = self.running.iter().find(|(_, job)| job.id() == id).map(|(digest, _)| *digest)
        else {
            return;
        };
        self.running.remove(&digest);
        self.turns.remove(&digest);
        let step = self.facts.running.remove(&digest);
        match result {
            Ok(()) => {
                self.facts.failures.remove(&digest);
                if step == Some(Step::Compile) {
                    self.compiled.insert(digest);
                }
            }
            Err(reason) => {
                tracing::warn!(%digest, ?step, "artifact not ready: {reason}");
                let failure = Failure::after(self.facts.failures.get(&digest), reason, self.now());
                self.facts.failures.insert(digest, failure);
            }
        }
    }

    /// Carries out the orders to remove. They are repeated until they are done, so that failures need no memory here.
    async fn remove(&mut self) {
        let orders = Arc::clone(&self.options.orders.borrow_and_update());
        self.learn();
        let view = self.options.view.load();
        for order in &orders.remove {
            if let Err(kept) = removal::permitted(order, &self.facts, &view) {
                tracing::debug!(digest = %order.digest, ?kept, "artifact kept");
                continue;
            }
            let (store, prepare, order) =
                (Arc::clone(&self.options.store), Arc::clone(&self.options.prepare), *order);
            if let Err(error) = blocking(move || removal::remove(&store, &prepare, &order)).await {
                tracing::warn!("artifact not removed: {error}");
            }
        }
    }
}

/// How long after a look at the compiled code of so many artifacts the next one is due.
fn resync(artifacts: usize) -> Duration {
    let artifacts = u64::try_from(artifacts).unwrap_or(u64::MAX);
    RESYNC.max(Duration::from_secs(artifacts / LOOKS_A_SECOND))
}

async fn fetch(options: &Options, digest: Digest) -> Result<(), String> {
    let named = options.orders.borrow().sources.clone();
    let sources = sources::sources(&options.view.load(), options.node, &digest, &named);
    options.fetcher.fetch(digest, &sources).await.map(drop).map_err(|error| error.to_string())
}

async fn compile(options: &Options, digest: Digest, turn: Turn) -> Result<(), String> {
    turn.begin().await;
    let store = Arc::clone(&options.store);
    blocking(move || store.verify(&digest)).await.map_err(|error| error.to_string())?;
    let started = clock::now();
    let compiled = options.prepare.prepare(&digest, &options.store.path(&digest)).await;
    options.metrics.compile.observe(clock::now().saturating_duration_since(started).as_secs_f64());
    compiled.map_err(|refusal| format!("{}: {refusal}", refusal.code))
}
