//! The Wasm runtime: from an artifact to answers.
//!
//! An upload is checked ([`Runtime::check`]), compiled once in a child process ([`Runtime::prepare`]), and mapped when
//! it is called ([`Runtime::invoke`]). An instance serves one call at a time, and no other one unless its function asks for
//! that; one future owns it meanwhile, and dropping the future, or the response's body, ends it. This is the only
//! place that knows wasmtime.

mod after;
mod answer;
mod begin;
mod body;
mod bounds;
mod budget;
mod cache;
mod call;
mod cgi;
mod child;
mod command;
mod compile;
mod engine;
mod event;
mod failure;
mod handler;
mod host;
mod http;
mod inspect;
mod instance;
mod instances;
mod invoke;
mod lane;
mod log;
mod map;
mod pipe;
mod place;
mod probe;
mod program;
mod programs;
mod rest;
mod run;
mod scan;
mod service;
mod stage;
mod state;
mod stopwatch;
#[cfg(test)]
mod tests;
mod ticker;
mod usage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_ports::Files;
use coracle_proto::id::Digest;
use coracle_proto::record::Version;
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::sync::Mutex;

use self::engine::Built;
use self::host::Release;
use self::instances::{Bounds, Instances};
use self::invoke::{Invoker, Told};

pub use self::child::compile_child;
pub use self::engine::MemoryMode;
pub use self::inspect::Inspection;
pub use self::log::LogSink;
pub use self::programs::Prepared;
pub use self::rest::RestLimits;
pub use self::state::State;
pub use self::state::operation::{Came, Counts, Operation};
pub use self::usage::{Outcome, Usage, UsageSink};
use crate::artifact::{Checked, Prepare};
use crate::call::{Answer, Call, CallError};
use crate::os;
use crate::outbound::{Egress, Reach};
use crate::text::on_one_line;

/// Mappings that a mapped program needs.
const MAPPINGS_EACH: u64 = 3;
/// Part of the mappings which programs may have; the rest is for calls.
const MAPPINGS_PART: u64 = 2;
/// Programs mapped at once, whatever the system allows: each costs some tens of KiB.
const RESIDENT_MAX: u64 = 20_000;

/// What a runtime is made of.
pub struct RuntimeOptions {
    /// Folder of compiled code. Nodes on one machine may share it.
    pub cache_dir: PathBuf,
    /// How linear memories are given out.
    pub memory: MemoryMode,
    /// Whether functions may be made for WASI 0.3: an experiment, see docs/adr/0012.
    pub wasip3: bool,
    /// Bytes that guests may have together.
    pub guests_bytes: u64,
    /// Calls that are to run at once: the pools are made for them. The system may allow fewer, see [`RuntimeStats`].
    pub running_max: u32,
    /// The program whose run comes to [`compile_child`]: this one.
    pub compile_program: PathBuf,
    /// What stands before the arguments of [`compile_child`]: a hidden verb.
    pub compile_args: Vec<OsString>,
    /// Programs mapped at once; what the system allows if that is less.
    pub resident_max: Option<u64>,
    /// How far guests' own requests may go, whatever they were granted.
    pub reach: Reach,
    /// How many instances rest that may be used again, and for how long.
    pub rest: RestLimits,
    /// What answers for what functions keep.
    pub state: Arc<dyn State>,
    /// Where guests' lines go.
    pub logs: Arc<dyn LogSink>,
    /// Where is told what calls came to.
    pub usage: Arc<dyn UsageSink>,
}

impl std::fmt::Debug for RuntimeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeOptions").field("cache_dir", &self.cache_dir).finish_non_exhaustive()
    }
}

/// Why there is no runtime.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The engine does not work here.
    #[error("wasm engine: {0}")]
    Engine(String),
    /// The folder of compiled code cannot be used.
    #[error("compiled code in '{folder}': {error}")]
    Cache {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A thread could not be started.
    #[error("thread: {0}")]
    Thread(std::io::Error),
    /// What guests call others with cannot be set up.
    #[error("outgoing HTTP: {0}")]
    Outbound(String),
}

/// What a runtime holds, for load reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeStats {
    /// Programs that are mapped.
    pub resident: usize,
    /// Bytes of their mappings: the part that was touched is in memory.
    pub resident_bytes: usize,
    /// The most there may be.
    pub resident_max: usize,
    /// Calls that hold an instance.
    pub running: usize,
    /// Instances that rest until they are used again.
    pub resting: usize,
    /// Bytes of memory that all of them have.
    pub guests_bytes: u64,
    /// The most there may be: whoever admits calls must not admit more, for the pools hold no more.
    pub running_max: u32,
    /// How linear memories are given out.
    pub memory: MemoryMode,
}

/// The runtime; cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    invoker: Arc<Invoker>,
    memory: MemoryMode,
    running_max: u32,
    resident_max: usize,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Runtime").field(&self.stats()).finish()
    }
}

impl Runtime {
    /// Makes the runtime, and begins to check the compiled code that is there.
    ///
    /// # Errors
    /// When the folder of compiled code is not this user's alone, or the engine does not work here.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let RuntimeOptions {
            cache_dir,
            memory,
            wasip3,
            guests_bytes,
            running_max,
            compile_program,
            compile_args,
            resident_max,
            reach,
            rest,
            state,
            logs,
            usage,
        } = options;
        let failed = |error: wasmtime::Error| RuntimeError::Engine(format!("{error:#}"));
        let newest = if wasip3 { Release::Wasip3 } else { Release::Wasip2 };
        let Built { engine, memory, running_max } =
            engine::build(memory, running_max, newest).map_err(failed)?;
        let cache = cache::Cache::open(&cache_dir, engine::code_hash(&engine))
            .map_err(|error| RuntimeError::Cache { folder: cache_dir, error })?;
        let compiler =
            compile::Compiler::new(compile_program, compile_args, newest).map_err(RuntimeError::Thread)?;
        let resident_max = resident_max_here(resident_max);
        let programs =
            programs::Programs::new(engine.clone(), cache, compiler, resident_max, newest).map_err(failed)?;
        let programs = Arc::new(programs);
        let ticker = ticker::Ticker::start(&engine).map_err(RuntimeError::Thread)?;
        let slow = lane::start().map_err(RuntimeError::Thread)?;
        let egress = Egress::new(reach).map_err(|error| RuntimeError::Outbound(error.to_string()))?;
        tracing::info!(%memory, running_max, resident_max, wasip3, "wasm runtime is ready");

        let checked = Arc::clone(&programs);
        std::thread::Builder::new()
            .name("cache-verify".into())
            .spawn(move || checked.verify_all())
            .map_err(RuntimeError::Thread)?;
        let bounds = Bounds { guests_bytes, running_max, rest };
        let instances = Instances::new(engine, ticker, (egress, state), bounds, slow.handle().clone());
        let (told, probing) = (Told { logs, usage, manners: None }, Mutex::default());
        let invoker = Arc::new(Invoker { programs, instances, slow, told, probing });
        Ok(Self(Arc::new(Shared { invoker, memory, running_max, resident_max })))
    }

    /// Checks an upload: what it is, what it imports, and what it would cost to compile.
    ///
    /// # Errors
    /// What is wrong with it, by name or number.
    pub async fn check(&self, artifact: &Path) -> Result<Inspection, Refusal> {
        self.0.invoker.programs.check(artifact).await.map_err(shown)
    }

    /// Compiles an artifact unless there is code for it: once on a machine, and never again after it failed.
    /// Dropping the future ends the compilation.
    ///
    /// # Errors
    /// Why it cannot be compiled or linked.
    pub async fn prepare(&self, digest: &Digest, artifact: &Path) -> Result<Prepared, Refusal> {
        self.0.invoker.programs.prepare(digest, artifact).await.map_err(shown)
    }

    /// Whether there is code for an artifact.
    #[must_use]
    pub fn is_prepared(&self, digest: &Digest) -> bool {
        self.0.invoker.programs.is_prepared(digest)
    }

    /// Removes the code of an artifact, and the memory of its failure. Calls that run are not disturbed.
    pub fn forget(&self, digest: &Digest) {
        self.0.invoker.programs.forget(digest);
    }

    /// Finds out, on threads of its own, whether a version takes one call after another, where it asks for that: by two calls that
    /// change nothing. Nobody waits for it, and its calls have fresh instances until it is known.
    pub fn probe(&self, version: &Arc<Version>) {
        self.0.invoker.probe(version);
    }

    /// Runs a call up to its response's head. The response's body is the rest of the run: dropping it, or this
    /// future, ends the guest and frees what it held. A guest ends with its response's body at the latest.
    ///
    /// # Errors
    /// What the call came to, if not to a response.
    pub async fn invoke(&self, call: Call) -> Result<Answer, CallError> {
        self.0.invoker.invoke(call).await
    }

    /// What it holds now.
    #[must_use]
    pub fn stats(&self) -> RuntimeStats {
        let (resident, resident_bytes) = self.0.invoker.programs.resident();
        RuntimeStats {
            resident,
            resident_bytes,
            resident_max: self.0.resident_max,
            running: self.0.invoker.instances.running(),
            resting: self.0.invoker.instances.resting(),
            guests_bytes: self.0.invoker.instances.given(),
            running_max: self.0.running_max,
            memory: self.0.memory,
        }
    }
}

impl Prepare for Runtime {
    fn check<'a>(&'a self, artifact: &'a Path) -> BoxFuture<'a, Result<Checked, Refusal>> {
        Box::pin(async {
            let Inspection { kind, memory_min, listens, wants, .. } = self.check(artifact).await?;
            Ok(Checked { kind, memory_min, listens, wants })
        })
    }

    fn prepare<'a>(&'a self, digest: &'a Digest, artifact: &'a Path) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { self.prepare(digest, artifact).await.map(|_| ()) })
    }

    fn is_prepared(&self, digest: &Digest) -> bool {
        self.is_prepared(digest)
    }

    fn made_ready(&self, version: &Arc<Version>) {
        self.probe(version);
    }

    fn forget(&self, digest: &Digest) {
        self.forget(digest);
    }
}

/// A refusal whose message is one line, whatever names the artifact has in it.
fn shown(refusal: Refusal) -> Refusal {
    Refusal { message: on_one_line(refusal.message), ..refusal }
}

/// How many programs may be mapped here: each has a file and some mappings, of which the system gives so many.
fn resident_max_here(wanted: Option<u64>) -> usize {
    let files = Files::Programs.of(os::raise_open_files()) as u64;
    let mappings = os::mappings_max() / MAPPINGS_PART / MAPPINGS_EACH;
    let max = wanted.unwrap_or(RESIDENT_MAX).min(files).min(mappings).max(1);
    usize::try_from(max).unwrap_or(usize::MAX)
}
