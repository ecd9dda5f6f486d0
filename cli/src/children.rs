//! The supervisor's children: this same program, called by hidden verbs.
//!
//! A child first ties itself to its supervisor and sets its limits, then takes its order from stdin, then
//! runs. An end that a restart would repeat has the exit code 78 and a last message for the supervisor.

mod service;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::{debug, info};

use crate::config::DEFAULTS;
use crate::exit::{Exit, Failure};
use crate::ground::ParentLine;
use crate::os::{self, ParentDeath};
use crate::telemetry::{self, Process};

/// Verb of the controller.
pub(crate) const CONTROLLER: &str = "__controller";
/// Verb of the store.
pub(crate) const STORE: &str = "__store";
/// Verb of the data plane.
pub(crate) const DATA_PLANE: &str = "__data-plane";
/// Verb of one compilation, a child of the data plane.
pub(crate) const COMPILE: &str = "__compile";

/// The controller goes before guests: a late heartbeat costs an election. Needs a permission; without it
/// the next constant still tells them apart.
const CONTROLLER_NICE: i32 = -5;
/// About two thirds of the controller's share when every core is busy, and full speed otherwise.
const DATA_PLANE_NICE: i32 = 2;
/// Traces are flushed by a thread of the runtime while another one waits for it.
const THREADS_MIN: usize = 2;

/// Options of a child.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The supervisor.
    #[arg(long)]
    parent: u32,
}

/// Options of a compilation: the data plane's own, passed on.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompileArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the controller until it is asked to end.
pub(crate) fn controller(args: &Args) -> ExitCode {
    run(args, Process::Controller)
}

/// Runs the store until it is asked to end.
pub(crate) fn store(args: &Args) -> ExitCode {
    run(args, Process::Store)
}

/// Runs gateway and worker until they are asked to end.
pub(crate) fn data_plane(args: &Args) -> ExitCode {
    run(args, Process::DataPlane)
}

/// Compiles one artifact, for the data plane that called it.
pub(crate) fn compile(args: CompileArgs) -> ExitCode {
    service::compile(args.arguments)
}

fn run(args: &Args, process: Process) -> ExitCode {
    match os::follow_parent(args.parent, ParentDeath::Kill) {
        Ok(true) => {}
        // The supervisor died before this line: nobody wants this process.
        Ok(false) => return ExitCode::SUCCESS,
        Err(error) => return last_words(None, &Failure::local("cannot follow the supervisor", error)),
    }
    let line = match ParentLine::from_stdin() {
        Ok(line) => Arc::new(line),
        Err(error) => {
            return last_words(None, &Failure::local("no order: is this a supervisor's child?", error));
        }
    };
    leave_panics(Arc::clone(&line));
    match obey(process, &line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => last_words(Some(&line), &failure),
    }
}

/// Says why the process ends: to people, and to the supervisor, which shows it where people look later.
fn last_words(line: Option<&ParentLine>, failure: &Failure) -> ExitCode {
    crate::say(&format!("error: {failure}"));
    if let Some(line) = line {
        line.leave(&failure.message);
    }
    failure.exit.into()
}

/// A panic of the main thread ends the process; others end their task and are handled there.
fn leave_panics(line: Arc<ParentLine>) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            line.leave(&panic.to_string());
        }
        usual(panic);
    }));
}

const fn nice(process: Process) -> i32 {
    match process {
        Process::Controller => CONTROLLER_NICE,
        Process::DataPlane => DATA_PLANE_NICE,
        // What is kept waits for the disk more than for a core.
        Process::Store | Process::Client | Process::Supervisor => 0,
    }
}

fn obey(process: Process, line: &ParentLine) -> Result<(), Failure> {
    let niceness = os::be_nice(nice(process));
    let files = os::raise_open_files()
        .map_err(|error| Failure::local("cannot raise the limit of open files", error))?;
    let handed = line.receive().map_err(|error| Failure::local("no order from the supervisor", error))?;
    let threads =
        std::thread::available_parallelism().map_or(THREADS_MIN, |cores| cores.get().max(THREADS_MIN));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local("cannot start", error))?;
    runtime.block_on(async {
        let order = &handed.order;
        let guard = telemetry::init(&telemetry::Settings {
            process,
            log: order.log.clone(),
            default_filter: DEFAULTS.server_log,
            otlp: order.otlp.clone(),
            instance: order.node.to_string(),
        });
        let guard = guard.map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        if let Err(error) = niceness {
            debug!(%error, "runs with the usual priority");
        }
        info!(node = order.node, open_files = files, "starts");
        let done = service::serve(process, handed).await;
        guard.finish().await;
        done
    })
}
