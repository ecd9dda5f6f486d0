//! From a child's order to the options of what it runs.

use std::ffi::OsString;
use std::process::ExitCode;

use coracle_controller::RunError;
use coracle_controller::identity::{self, Identity};

use crate::config::DEFAULTS;
use crate::exit::{Exit, Failure};
use crate::ground::{Handed, Signals};
use crate::telemetry::Process;

/// Runs the child's service until a signal asks it to end. A second one is the supervisor's business.
pub(super) async fn serve(process: Process, handed: Handed) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    match process {
        Process::Controller => controller(&handed, signals.next()).await,
        Process::DataPlane => data_plane(handed, signals.next()).await,
        Process::Store => store(&handed, signals.next()).await,
        Process::Client | Process::Supervisor => Err(config("no child is of this kind")),
    }
}

/// Holds the folder's lock, a part of what was handed on, until it has ended.
async fn controller(handed: &Handed, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let order = &handed.order;
    #[cfg(feature = "faults")]
    if let Some(point) = crate::config::fault_point() {
        coracle_controller::faults::arm(point, order.folder.join("fault"));
    }
    let identity = identity::load(&order.folder).map_err(|error| config(error.to_string()))?;
    let identity = identity.ok_or_else(|| config("the node has no identity"))?;
    let options = coracle_controller::Options {
        data_dir: order.folder.clone(),
        identity: Identity { controllers: order.controllers.clone(), ..identity },
        node: order.record().map_err(|error| config(error.to_string()))?,
        incarnation: order.incarnation,
        voters_wanted: order.voters_wanted,
        listen: order.grpc.ok_or_else(|| config("a controller needs an address"))?,
        timing: coracle_controller::TIMING,
        artifact_grace: coracle_controller::ARTIFACT_GRACE,
        accept_failed_sync: order.accept_failed_sync,
    };
    coracle_controller::run(options, shutdown).await.map_err(|error| ended(&error))
}

fn ended(error: &RunError) -> Failure {
    let exit = if matches!(error, RunError::Removed { .. }) {
        Exit::Removed
    } else if error.is_configuration() {
        Exit::Config
    } else {
        Exit::Server
    };
    match error.code() {
        Some(code) => Failure::coded(exit, code, error),
        None => Failure::new(exit, error.to_string()),
    }
}

fn config(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Config, message)
}

/// Holds the folder's lock as the controller does.
async fn store(handed: &Handed, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let order = &handed.order;
    let options = coracle_store::Options {
        data_dir: order.folder.clone(),
        cluster: order.cluster().map_err(|error| config(error.to_string()))?,
        node: order.node(),
        listen: order.store.ok_or_else(|| config("a store needs an address"))?,
        accept_failed_sync: order.accept_failed_sync,
    };
    coracle_store::run(options, shutdown).await.map_err(|error| {
        let exit = if error.is_configuration() { Exit::Config } else { Exit::Server };
        match error.code() {
            Some(code) => Failure::coded(exit, code, error),
            None => Failure::new(exit, error.to_string()),
        }
    })
}

async fn data_plane(handed: Handed, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let Handed { order, lock, listeners } = handed;
    let wrong = |error: &dyn std::fmt::Display| config(error.to_string());
    let mut listeners = listeners.into_iter();
    let options = coracle_node::Options {
        cluster: order.cluster().map_err(|error| wrong(&error))?,
        node: order.node(),
        incarnation: order.incarnation,
        roles: order.roles().map_err(|error| wrong(&error))?,
        data: listeners.next().ok_or_else(|| config("a data plane needs a listener"))?,
        http: listeners.next(),
        controllers: order.controllers,
        slots: order.slots,
        data_dir: order.folder,
        cache_dir: order.cache,
        // The link leads to this very program even when its file was replaced meanwhile.
        compile_program: "/proc/self/exe".into(),
        compile_args: vec![super::COMPILE.into()],
        guests_bytes: order.memory_bytes,
        memory: order.runtime_memory.parse().map_err(|error| wrong(&error))?,
        wasip3: order.wasip3,
        reach: order.guests_reach.parse().map_err(|error| wrong(&error))?,
        drain_timeout: DEFAULTS.drain_timeout,
    };
    let ended = coracle_node::run(options, shutdown).await;
    drop(lock);
    ended.map_err(|error| {
        let exit = if error.is_configuration() { Exit::Config } else { Exit::Server };
        Failure::new(exit, error.to_string())
    })
}

/// Compiles one artifact.
pub(super) fn compile(arguments: Vec<OsString>) -> ExitCode {
    coracle_node::compile_child(arguments)
}
