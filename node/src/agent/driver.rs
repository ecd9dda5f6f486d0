//! Performs what [`super::plan`] decides: one task that owns all state, and jobs that it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{Digest, Epoch, NodeId};
use coracle_proto::{attr, trace};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, info_span};

use super::plan::{Action, Facts, Failure, Plan, Step, plan};
use super::{Board, Orders, removal, sources};
use crate::artifact::{ArtifactMetrics, Fetcher, Prepare, Store, blocking};
use crate::clock;
use crate::view::{Held, ViewHandle};

/// Compiled code can vanish without a word: another node on the machine, or the runtime after it was damaged. So
/// it is looked for again this often.
const RESYNC: Duration = Duration::from_secs(5);

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
    /// Since which decision each artifact is wanted: a new one forgets the failures of the old.
    epochs: BTreeMap<Digest, Epoch>,
    failures: BTreeMap<Digest, Failure>,
    /// What of the wanted is compiled, as the disk said when it was looked at.
    prepared: BTreeSet<Digest>,
    /// When all of it is looked for again.
    resync_at: Duration,
    /// The assignments that were looked at: the view changes all the time, they do not.
    seen: Held,
    running: BTreeMap<Digest, (Step, AbortHandle)>,
    jobs: JoinSet<Result<(), String>>,
}

/// What came of a job, or why nothing did.
type Done = Result<(Id, Result<(), String>), JoinError>;

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
            epochs: BTreeMap::new(),
            failures: BTreeMap::new(),
            prepared: BTreeSet::new(),
            resync_at: RESYNC,
            seen: Held::default(),
            running: BTreeMap::new(),
            jobs: JoinSet::new(),
        };
        let wanted = agent.facts().wanted();
        agent.prepared = wanted.into_iter().filter(|it| agent.options.prepare.is_prepared(it)).collect();
        agent.publish();
        agent
    }

    /// How far it is.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Works until it is stopped; what runs then is given up.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut view = self.options.view.subscribe();
        let mut held = self.options.store.changes();
        let mut orders = self.options.orders.clone();
        loop {
            self.look().await;
            let facts = self.facts();
            // What is told below may be of a newer view, which was not planned for.
            let planned = self.seen.clone();
            let Plan { actions, wake } = plan(&facts, self.now());
            for action in actions {
                self.start(action);
            }
            // What was started shows at once.
            self.publish();
            let wake = wake.map_or(self.resync_at, |at| at.min(self.resync_at));
            let pause = wake.saturating_sub(self.now());
            let handle = self.options.view.clone();
            // What nodes say about themselves comes several times a second: it is nothing to look at the disk for.
            let assigned = view.wait_for(|_| !handle.load().held.content.assigns_the_same(&planned));
            let event = tokio::select! {
                () = stop.cancelled() => Event::Stop,
                Some(done) = self.jobs.join_next_with_id() => Event::Done(done),
                changed = orders.changed() => if changed.is_ok() { Event::Ordered } else { Event::Stop },
                Ok(_) = assigned => Event::Changed,
                Ok(()) = held.changed() => Event::Changed,
                () = tokio::time::sleep(pause) => Event::Changed,
            };
            match event {
                Event::Changed => {}
                Event::Ordered => self.remove().await,
                Event::Done(done) => self.finished(done),
                Event::Stop => return,
            }
        }
    }

    /// Looks at the disk, where it holds up no call: for what is wanted and was not compiled each time, for the rest
    /// once in [`RESYNC`].
    async fn look(&mut self) {
        let wanted = self.facts().wanted();
        let all = self.now() >= self.resync_at;
        if all {
            self.resync_at = self.now() + RESYNC;
        }
        self.prepared.retain(|digest| wanted.contains(digest));
        let asked: Vec<Digest> =
            wanted.into_iter().filter(|digest| all || !self.prepared.contains(digest)).collect();
        if asked.is_empty() {
            return;
        }
        let prepare = Arc::clone(&self.options.prepare);
        let looking = blocking(move || {
            Ok(asked.into_iter().partition::<BTreeSet<_>, _>(|digest| prepare.is_prepared(digest)))
        });
        // An error means that the process is ending.
        if let Ok((there, gone)) = looking.await {
            self.prepared.extend(there);
            self.prepared.retain(|digest| !gone.contains(digest));
        }
    }

    /// Tells how far each assignment is.
    fn publish(&mut self) {
        let facts = self.facts();
        self.board.publish(&self.seen, &facts);
    }

    /// Takes everything together, and forgets what is not wanted any more.
    fn facts(&mut self) -> Facts {
        let view = self.options.view.load();
        let mut epochs: BTreeMap<Digest, Epoch> = BTreeMap::new();
        for assignment in view.held.content.assignments() {
            let newest = epochs.entry(assignment.version.digest).or_default();
            *newest = assignment.epoch.max(*newest);
        }
        let hold = self.options.orders.borrow().hold.clone();
        let wanted = |digest: &Digest| epochs.contains_key(digest) || hold.contains(digest);
        let known = &self.epochs;
        self.failures.retain(|digest, _| wanted(digest) && known.get(digest) >= epochs.get(digest));
        let held: BTreeSet<Digest> = self.options.store.held().into_keys().collect();
        let facts = Facts {
            prepared: self.prepared.clone(),
            assigned: epochs.keys().copied().collect(),
            hold,
            held,
            running: self.running.iter().map(|(digest, (step, _))| (*digest, *step)).collect(),
            failures: self.failures.clone(),
        };
        self.epochs = epochs;
        self.seen = view.held.content.clone();
        facts
    }

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.origin)
    }

    fn start(&mut self, action: Action) {
        let options = self.options.clone();
        let (digest, step, handle) = match action {
            Action::Cancel(digest) => {
                if let Some((_, job)) = self.running.remove(&digest) {
                    job.abort();
                }
                return;
            }
            Action::Fetch(digest) => {
                let job = async move { fetch(&options, digest).await }.instrument(self.span(&digest));
                (digest, Step::Fetch, self.jobs.spawn(job))
            }
            Action::Compile(digest) => {
                let job = async move { compile(&options, digest).await }.instrument(self.span(&digest));
                (digest, Step::Compile, self.jobs.spawn(job))
            }
        };
        self.running.insert(digest, (step, handle));
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
        let Some(digest) =
            self.running.iter().find(|(_, (_, job))| job.id() == id).map(|(digest, _)| *digest)
        else {
            return;
        };
        let step = self.running.remove(&digest).map(|(step, _)| step);
        match result {
            Ok(()) => drop(self.failures.remove(&digest)),
            Err(reason) => {
                tracing::warn!(%digest, ?step, "artifact not ready: {reason}");
                let failure = Failure::after(self.failures.get(&digest), reason, self.now());
                self.failures.insert(digest, failure);
            }
        }
    }

    /// Carries out the orders to remove. They are repeated until they are done, so that failures need no memory here.
    async fn remove(&mut self) {
        let orders = self.options.orders.borrow_and_update().clone();
        let facts = self.facts();
        let view = self.options.view.load();
        for order in &orders.remove {
            if let Err(kept) = removal::permitted(order, &facts, &view) {
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

async fn fetch(options: &Options, digest: Digest) -> Result<(), String> {
    let named = options.orders.borrow().sources.clone();
    let sources = sources::sources(&options.view.load(), options.node, &digest, &named);
    options.fetcher.fetch(digest, &sources).await.map(drop).map_err(|error| error.to_string())
}

async fn compile(options: &Options, digest: Digest) -> Result<(), String> {
    let store = Arc::clone(&options.store);
    blocking(move || store.verify(&digest)).await.map_err(|error| error.to_string())?;
    let started = clock::now();
    let compiled = options.prepare.prepare(&digest, &options.store.path(&digest)).await;
    options.metrics.compile.observe(clock::now().saturating_duration_since(started).as_secs_f64());
    compiled.map_err(|refusal| format!("{}: {refusal}", refusal.code))
}
