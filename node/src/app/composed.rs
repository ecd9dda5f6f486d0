//! The parts of a data plane and how they hang together.

use std::sync::Arc;

use coracle_proto::record::Role;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ending::Stops;
use super::ground::Ground;
use super::sample::Sampler;
use super::service::{ProcessService, Watched};
use super::{AppError, Options, Stop};
use crate::agent::{self, Agent, Orders, workers};
use crate::artifact::{ArtifactMetrics, Pace, Patrol, PeerList, Uploads};
use crate::call::{Answer, Call, CallError};
use crate::dispatch::Dispatcher;
use crate::events::{self, Events};
use crate::front::{self, Front};
use crate::logs::{LogService, Logs};
use crate::metrics::Metrics;
use crate::os;
use crate::report::{self, Reporter};
use crate::runtime::Runtime;
use crate::view::Follower;
use crate::worker::{self, Executor, Invoke, WorkerService};

/// Everything, opened and not yet running.
pub(super) struct Composed {
    pub(super) executor: Executor,
    pub(super) front: Front,
    /// Of a node that has calls run.
    pub(super) events: Option<Events>,
    pub(super) logs: Logs,
    pub(super) services: Services,
    pub(super) background: Background,
}

/// What other processes are served, at 7402.
pub(super) struct Services {
    pub(super) process: ProcessService,
    /// If this node is a worker.
    pub(super) worker: Option<(WorkerService, Arc<Uploads>, LogService)>,
    /// Calls that may come on one connection, and as many again for everything else.
    pub(super) streams_max: u32,
}

/// What runs beside the servers.
pub(super) struct Background {
    follower: Follower,
    dispatcher: Dispatcher,
    agent: Agent,
    reporter: Reporter,
    sampler: Sampler,
    patrol: Patrol,
}

impl Invoke for Runtime {
    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        Box::pin(Self::invoke(self, call))
    }
}

impl Composed {
    /// Opens everything. Calls run on the threads of `calls`; `stops` tells the parts when they are to end.
    pub(super) async fn new(options: &Options, calls: &Handle, stops: &Stops) -> Result<Self, AppError> {
        let slots = worker::Options::new(options.node, options.slots);
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let ground = Ground::open(options, slots.running_max, metrics.usage(), &stops.readers).await?;
        let slots = slots.within(ground.runtime.stats().running_max);
        let view = ground.follower.view();
        let artifact_metrics = ArtifactMetrics::default();
        let uploads = uploads(options, &ground, &artifact_metrics);
        let orders = watch::Sender::new(Arc::new(Orders::default()));
        let agent = Agent::new(agent::Options {
            node: options.node,
            view: view.clone(),
            store: Arc::clone(&ground.store),
            fetcher: uploads.fetcher(),
            turns: uploads.turns(),
            prepare: Arc::new(ground.runtime.clone()),
            orders: orders.subscribe(),
            metrics: artifact_metrics.clone(),
        });
        artifact_metrics.register(&mut registry);
        ground.log_metrics.register(&mut registry);
        let invoke = Arc::new(ground.runtime.clone());
        let executor = Executor::new(slots, invoke, agent.board(), Arc::clone(&metrics));
        let reporter = reporter(options, &ground, &agent, &executor, orders);
        let sampler = Sampler::new(executor.clone(), ground.runtime.clone());
        let patrol = Patrol::new(Arc::clone(&ground.store), Pace::DEFAULT);
        let is_worker = options.roles.contains(&Role::Worker);
        let local = is_worker.then(|| executor.clone());
        let bounds = front::Options { drain_timeout: options.drain_timeout, ..front::Options::DEFAULTS };
        let bounds = bounds.within(os::raise_open_files());
        let dispatcher = Dispatcher::new(view.clone(), local, Arc::clone(&metrics));
        let stores = ground.stores.clone();
        let (node, of_front) = (options.node, Arc::clone(&metrics));
        let front = Front::new(bounds, node, view.clone(), dispatcher.clone(), stores.clone(), of_front);
        let taken = events::Options::new(node, slots.running_max, options.drain_timeout);
        let events = Events::new(taken, view.clone(), stores, dispatcher.clone(), metrics, calls.clone());

        let process = ProcessService::new(
            registry,
            Watched {
                view,
                stopping: stops.gateway.clone(),
                store: Arc::clone(&ground.store),
                artifacts: artifact_metrics,
                runtime: ground.runtime,
                front: front.clone(),
                cache: options.cache_dir.clone(),
            },
        );
        let service = WorkerService::new(options.cluster, executor.clone(), calls.clone());
        let worker = is_worker.then_some((service, uploads, ground.log_service));
        let streams_max = slots.running_max.saturating_add(slots.queue_max).saturating_mul(2);
        Ok(Self {
            executor,
            front,
            events: options.has_calls_run().then_some(events),
            logs: ground.logs,
            services: Services { process, worker, streams_max },
            background: Background {
                follower: ground.follower,
                dispatcher,
                agent,
                reporter,
                sampler,
                patrol,
            },
        })
    }
}

fn uploads(options: &Options, ground: &Ground, metrics: &ArtifactMetrics) -> Arc<Uploads> {
    let (view, node) = (ground.follower.view(), options.node);
    let peers = PeerList::new(move || workers(&view.load(), node));
    let (store, prepare) = (Arc::clone(&ground.store), Arc::new(ground.runtime.clone()));
    Arc::new(Uploads::new(node, store, prepare, peers, metrics.clone()))
}

fn reporter(
    options: &Options,
    ground: &Ground,
    agent: &Agent,
    executor: &Executor,
    orders: watch::Sender<Arc<Orders>>,
) -> Reporter {
    Reporter::new(report::Options {
        cluster: options.cluster,
        node: options.node,
        controllers: options.controllers.clone(),
        view: ground.follower.view(),
        board: agent.board(),
        store: Arc::clone(&ground.store),
        executor: executor.clone(),
        orders,
        incarnation: options.incarnation,
        runtime: ground.runtime.stats().memory.to_string(),
    })
}

impl Background {
    /// Each with its name; none ends before `stop`.
    pub(super) fn tasks(self, stop: &Stop) -> [(&'static str, BoxFuture<'static, ()>); 6] {
        let Self { follower, dispatcher, agent, reporter, sampler, patrol } = self;
        [
            ("view", Box::pin(follower.run(stop.clone()))),
            ("dispatch", Box::pin(dispatcher.run(stop.clone()))),
            ("agent", Box::pin(agent.run(stop.clone()))),
            ("reports", Box::pin(reporter.run(stop.clone()))),
            ("load", Box::pin(sampler.run(stop.clone()))),
            ("patrol", Box::pin(patrol.run(stop.clone()))),
        ]
    }
}
