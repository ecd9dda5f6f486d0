//! The client's verbs: one file each.

mod blob;
mod cluster;
mod completion;
mod context;
pub(crate) mod deploy;
mod dlq;
mod event;
mod event_types;
mod events;
mod function;
mod gateway;
mod granted;
mod input;
mod invocation;
mod invoke;
mod kv;
mod logs;
mod node;
mod queue;
mod replies;
mod route;
mod schedule;
mod secret;
mod settings;
mod status;
mod topic;
mod trace;
mod version;
mod webhook;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::client::{Client, Deadline, Targets};
use crate::config::{DEFAULTS, Environment};
use crate::exit::Failure;
use crate::manifest;
use crate::output::{Format, Output, Talk};
use crate::say;
use crate::telemetry::{self, Log, Process, Settings};
use crate::units;

/// How long a command tries, unless it was told: longer than an election and a restart together.
const WAIT: Duration = Duration::from_secs(60);
/// A person's command does one thing at a time; the second thread is the exporter's.
const THREADS: usize = 2;

/// What a client can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Deploy the functions of a manifest, or one file.
    Deploy(Box<deploy::Args>),
    /// Call a function.
    Invoke(Box<invoke::Args>),
    /// Look at asynchronous calls: list, show, wait for, cancel, retry them.
    Invocation(invocation::Args),
    /// Look at dead letters, run them again, or give them up.
    Dlq(dlq::Args),
    /// Make queues, publish to them, look into them.
    Queue(queue::Args),
    /// Make topics, and say which functions get what is published to them.
    Topic(topic::Args),
    /// Send an event to a function, as the platform would.
    Event(event::Args),
    /// List the events that the platform makes.
    EventTypes(event_types::Args),
    /// Have functions called at times.
    Schedule(schedule::Args),
    /// Let others call functions by HTTP: GitHub, Stripe, Slack.
    Webhook(webhook::Args),
    /// Keep what webhooks are checked by; it is never shown again.
    Secret(secret::Args),
    /// List, show, delete functions; go back to an earlier version.
    #[command(alias = "fn")]
    Function(function::Args),
    /// Show what a function wrote, on all nodes.
    Logs(logs::Args),
    /// Show the cluster at a glance.
    Status(status::Args),
    /// List, show, remove nodes.
    Node(node::Args),
    /// Keep values in the cluster, and look at those that functions keep.
    Kv(kv::Args),
    /// Put files into buckets, get them, list them, give out links to them.
    Blob(blob::Args),
    /// Look into the cluster: its data groups.
    Cluster(cluster::Args),
    /// List routes.
    Route(route::Args),
    /// List the clusters that are known by a name; choose one.
    Context(context::Args),
    /// Draw a trace as a tree.
    Trace(trace::Args),
    /// Write the completion script of a shell.
    Completion(completion::Args),
    /// Show the version.
    Version(version::Args),
}

/// What all of them understand, before the verb and after it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster and output")]
pub(crate) struct Shared {
    /// A node of the cluster; repeated, the next one is tried when one does not answer [env: CORACLE_ADDRESS].
    #[arg(long = "address", global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    addresses: Vec<String>,
    /// A cluster by its name in contexts.toml [env: CORACLE_CONTEXT].
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// How results are written.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Do not wait until a change has taken effect.
    #[arg(long, global = true)]
    no_wait: bool,
    /// How long to wait and retry at most, such as 90s.
    #[arg(long, global = true, value_name = "DURATION", value_parser = units::duration)]
    wait_timeout: Option<Duration>,
    /// Do not ask before something is removed.
    #[arg(short = 'y', long = "yes", global = true)]
    yes: bool,
    /// Say only what is wrong.
    #[arg(long, global = true)]
    quiet: bool,
}

/// A read may be answered by a node without the leader's word.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Read {
    /// Take what the node last saw, also where the cluster has no quorum.
    #[arg(long)]
    stale: bool,
}

/// One command's surroundings.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    environment: &'a Environment,
    output: Output,
    talk: Talk,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, environment: &'a Environment) -> Self {
        let output = Output::new(shared.output);
        Self { shared, environment, output, talk: Talk::new(shared.quiet, environment.no_color) }
    }

    /// How long the command may take.
    fn wait(&self, unless_told: Duration) -> Duration {
        self.shared.wait_timeout.unwrap_or(unless_told)
    }

    fn targets(&self) -> Result<Targets, Failure> {
        self.targets_of(Path::new(manifest::FILE_NAME))
    }

    /// Where the project is another one than this folder's.
    fn targets_of(&self, manifest: &Path) -> Result<Targets, Failure> {
        Targets::find(&self.shared.addresses, self.shared.context.as_deref(), manifest, self.environment)
    }

    async fn connect(&self) -> Result<Client, Failure> {
        self.connect_for(WAIT).await
    }

    async fn connect_for(&self, unless_told: Duration) -> Result<Client, Failure> {
        Client::connect(self.targets()?, Deadline::after(self.wait(unless_told)), self.talk).await
    }
}

/// Does it, and sends the last spans before the process ends. `definition` is of the whole command line.
pub(crate) fn run(
    verb: Verb,
    shared: &Shared,
    environment: &Environment,
    log: Log,
    definition: fn() -> clap::Command,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::local("the runtime cannot be started", error))?;
    let done = runtime.block_on(async {
        let settings = Settings {
            process: Process::Client,
            log,
            default_filter: DEFAULTS.client_log,
            otlp: environment.traces.otlp(None),
            instance: String::new(),
        };
        let local =
            matches!(verb, Verb::Completion(_) | Verb::Version(_) | Verb::Context(_) | Verb::EventTypes(_));
        for complaint in environment.traces.complaints.iter().filter(|_| !local && !shared.quiet) {
            say(&format!("warning: {complaint}"));
        }
        let guard = telemetry::init(&settings).map_err(|error| Failure::usage(error.to_string()))?;
        let done = dispatch(verb, &Session::new(shared, environment), definition).await;
        guard.finish().await;
        done
    });
    // A read of stdin cannot be interrupted: it would hold the process.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

async fn dispatch(
    verb: Verb,
    session: &Session<'_>,
    definition: fn() -> clap::Command,
) -> Result<(), Failure> {
    match &verb {
        Verb::Deploy(args) => deploy::run(args, session).await,
        Verb::Invoke(args) => invoke::run(args, session).await,
        Verb::Invocation(args) => invocation::run(args, session).await,
        Verb::Dlq(args) => dlq::run(args, session).await,
        Verb::Queue(args) => queue::run(args, session).await,
        Verb::Topic(args) => topic::run(args, session).await,
        Verb::Event(args) => event::run(args, session).await,
        Verb::EventTypes(args) => event_types::run(args, session),
        Verb::Schedule(args) => schedule::run(args, session).await,
        Verb::Webhook(args) => webhook::run(args, session).await,
        Verb::Secret(args) => secret::run(args, session).await,
        Verb::Function(args) => function::run(args, session).await,
        Verb::Logs(args) => logs::run(args, session).await,
        Verb::Status(args) => status::run(args, session).await,
        Verb::Node(args) => node::run(args, session).await,
        Verb::Kv(args) => kv::run(args, session).await,
        Verb::Blob(args) => blob::run(args, session).await,
        Verb::Cluster(args) => cluster::run(args, session).await,
        Verb::Route(args) => route::run(args, session).await,
        Verb::Context(args) => context::run(args, session),
        Verb::Trace(args) => trace::run(args, session).await,
        Verb::Completion(args) => completion::run(args, &definition()),
        Verb::Version(args) => version::run(args, session),
    }
}
