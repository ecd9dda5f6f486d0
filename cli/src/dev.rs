//! `coracle dev`: a cluster of real servers on this machine, until Ctrl-C.

mod demo;
mod nodes;
mod ports;
mod report;
mod screen;
mod watch;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::client::context::dev::{self, DevContext};
use crate::config::{self, DEFAULTS, DEV_NODES_MAX, Environment};
use crate::exit::Failure;
use crate::ground::Signals;
use crate::output::Talk;
use crate::say;
use crate::telemetry::{self, Log, Process};
use nodes::Nodes;

/// Which ports the nodes bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Ports {
    /// 7400 to 7403 and 8080 for the first node; 10 more, and 1 more for HTTP, for each further one.
    #[default]
    Fixed,
    /// Any free ones.
    Free,
}

/// Options of `coracle dev`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Deploy the functions of this manifest, and again whenever a component changes.
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: Option<PathBuf>,

    /// How many nodes.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(DEV_NODES_MAX)))]
    pub(crate) nodes: u16,

    /// Keep the data here, so that the same command brings the cluster back [default: a temporary folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Deploy the examples.
    #[arg(long)]
    pub(crate) demo: bool,

    /// Send traces to this OTLP collector (gRPC), such as Jaeger's http://127.0.0.1:4317.
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,

    /// Run functions made for WASI 0.3 too: an experiment.
    #[arg(long)]
    pub(crate) enable_wasip3: bool,

    /// Which ports to bind.
    #[arg(long, value_enum, default_value = "fixed")]
    pub(crate) ports: Ports,
}

/// Where the nodes keep their data, and what becomes of it.
#[derive(Debug)]
struct Base {
    folder: PathBuf,
    temporary: bool,
}

impl Base {
    fn open(wanted: Option<&Path>) -> Result<Self, Failure> {
        let (folder, temporary) = match wanted {
            Some(folder) => (folder.to_owned(), false),
            // A name that nobody can guess, in a folder where everybody may write.
            None => {
                let name = format!("coracle-dev-{:016x}", rand::random::<u64>());
                (config::temporary_folder().join(name), true)
            }
        };
        let named = |error| Failure::local(folder.display(), error);
        // One that is there already is taken only where it was asked for.
        DirBuilder::new().recursive(!temporary).mode(0o700).create(&folder).map_err(named)?;
        let folder = folder.canonicalize().map_err(named)?;
        Ok(Self { folder, temporary })
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            say(&format!("warning: {} could not be removed: {error}", self.folder.display()));
        }
    }
}

/// Runs the cluster until it is asked to end.
pub(crate) fn run(args: Args, environment: &Environment, log: Log) -> Result<ExitCode, Failure> {
    let flag = args.otlp.as_deref().map(config::otlp_endpoint).transpose();
    flag.map_err(|reason| Failure::usage(format!("--otlp: {reason}")))?;
    let otlp = environment.traces.otlp(args.otlp.as_deref());
    environment.traces.complaints.iter().for_each(|complaint| say(&format!("warning: {complaint}")));
    let args = Args { otlp: otlp.as_ref().map(|otlp| otlp.endpoint.clone()), ..args };
    // One thread, the process's first: servers follow the life of the thread that forked them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local("cannot start", error))?;
    runtime.block_on(async {
        let guard = telemetry::init(&telemetry::Settings {
            process: Process::Client,
            log: Log { filter: None, ..log.clone() },
            default_filter: DEFAULTS.client_log,
            otlp,
            instance: String::new(),
        });
        let guard = guard.map_err(|error| Failure::usage(error.to_string()))?;
        let done = dev(&args, environment, &log).await;
        guard.finish().await;
        done
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn dev(args: &Args, environment: &Environment, log: &Log) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let base = Base::open(args.data_dir.as_deref())?;
    let plans = ports::plan(args, &base.folder)?;
    let mut nodes = Nodes::new(&base.folder, args, log);
    let mut context = None;
    let ran = tokio::select! {
        ran = develop(args, environment, (&plans, &mut nodes, &base), &mut context) => ran,
        () = signals.next() => Ok(()),
    };
    say("ending the nodes");
    nodes.end(&mut signals).await;
    let given_back = context.map_or(Ok(()), DevContext::end);
    if let (Err(_), Err(failure)) = (&ran, &given_back) {
        say(&format!("warning: the former context is not the current one again: {failure}"));
    }
    ran.and(given_back)
}

/// Starts everything, then stays until every node has died.
async fn develop(
    args: &Args,
    environment: &Environment,
    (plans, nodes, base): (&[ports::Plan], &mut Nodes, &Base),
    context: &mut Option<DevContext>,
) -> Result<(), Failure> {
    say(&format!("starting {}", screen::count(plans.len(), "node")));
    let cluster = nodes.start(plans).await?;
    nodes.wait_ready(&cluster).await?;
    if let Some(folder) = &environment.config_folder {
        let bound = nodes.gateways();
        let gateways = bound.iter().map(|gateway| gateway.to_string().parse());
        let gateways: Vec<_> = gateways
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::local("a gateway's address", error))?;
        match DevContext::begin(folder, &cluster, &gateways) {
            Ok(begun) => *context = Some(begun),
            // The cluster is of use without it.
            Err(failure) => Talk::new(false, environment.no_color)
                .warn(&format!("other commands need --address, for the context is not kept: {failure}")),
        }
    }
    if let Some(name) = context.as_ref().map(DevContext::name).filter(|name| *name != dev::NAME) {
        say(&format!(
            "another cluster of 'coracle dev' runs: this one is the context '{name}', and the current one until it ends"
        ));
    }
    screen::show(nodes, args)?;
    let (gateways, talk) = (nodes.gateways(), Talk::new(false, environment.no_color));
    let work = async {
        if args.demo {
            demo::deploy(&base.folder.join("demo"), &cluster, &gateways, talk).await?;
        }
        say("ready; Ctrl-C ends the cluster");
        match &args.manifest {
            Some(manifest) => watch::watch(manifest, &cluster, talk).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        died = nodes.watch() => Err(died),
        failed = work => failed.map(|never| match never {}),
    }
}
