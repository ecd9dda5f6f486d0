//! What is compiled, checked and mapped: from a digest to something that can be instantiated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use coracle_proto::attr;
use coracle_proto::id::Digest;
use coracle_proto::record::Kind;
use coracle_proto::status::{Code, Refusal};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{Instrument as _, Span, info_span};
use wasmtime::Engine;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::cache::{Cache, Verified};
use super::command::Command;
use super::compile::{Compiler, NotCompiled};
use super::guest::Guest;
use super::inspect::{self, Inspection};
use super::linkers::Linkers;
use super::map;
use crate::call::CallError;
use crate::clock;

/// How often a lock is tried that another process holds while it compiles the same artifact.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Code that no call has used for so long is given back when other code is mapped.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// How often that is looked at, where there is room.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// At the cap, one part in so many is given back.
const ROOM_PART: usize = 16;

/// Something that can be instantiated.
pub(super) enum Program {
    Http(ProxyPre<Guest>),
    Command(Command),
}

impl Program {
    /// Bytes of its mapping; those that were not touched cost no memory.
    fn bytes(&self) -> usize {
        let image = match self {
            Self::Http(pre) => pre.instance_pre().component().image_range(),
            Self::Command(Command::Component(pre)) => pre.instance_pre().component().image_range(),
            Self::Command(Command::Module(pre)) => pre.module().image_range(),
        };
        image.end.addr() - image.start.addr()
    }
}

/// What [`Programs::prepare`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Whether it had to be compiled, by this process.
    pub compiled: bool,
    /// How long it took, waiting for other compilations included.
    pub elapsed: Duration,
}

/// Everything known about artifacts on this node.
pub(super) struct Programs {
    engine: Engine,
    linkers: Linkers,
    cache: Arc<Cache>,
    compiler: Compiler,
    slots: RwLock<HashMap<Digest, Arc<Slot>>>,
    resident: Arc<Totals>,
    resident_max: usize,
    began: Instant,
    swept_ms: AtomicU64,
}

/// A mapped program, counted as long as anybody has it.
pub(super) struct Resident {
    pub(super) program: Program,
    bytes: usize,
    totals: Arc<Totals>,
}

/// What is mapped, all in all.
#[derive(Debug, Default)]
struct Totals {
    programs: AtomicUsize,
    bytes: AtomicUsize,
}

impl Resident {
    fn new(program: Program, totals: &Arc<Totals>) -> Arc<Self> {
        let bytes = program.bytes();
        totals.programs.fetch_add(1, Ordering::Relaxed);
        totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Self { program, bytes, totals: Arc::clone(totals) })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.totals.programs.fetch_sub(1, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Slot {
    program: ArcSwapOption<Resident>,
    used_ms: AtomicU64,
    /// Held while code is compiled, checked or mapped: the others wait and find it done.
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    /// Where the artifact lies, for compiling it anew.
    artifact: Option<PathBuf>,
    verified: Option<Verified>,
    /// Whether its use was noted on disk: once in a process, for it costs a quarter of the mapping.
    noted: bool,
}

impl Programs {
    pub(super) fn new(
        engine: Engine,
        cache: Cache,
        compiler: Compiler,
        resident_max: usize,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            linkers: Linkers::new(&engine)?,
            engine,
            cache: Arc::new(cache),
            compiler,
            slots: RwLock::default(),
            resident: Arc::default(),
            resident_max,
            began: clock::now(),
            swept_ms: AtomicU64::new(0),
        })
    }

    /// Checks an artifact before anything is made of it.
    pub(super) async fn check(&self, artifact: &Path) -> Result<Inspection, Refusal> {
        inspect::check(artifact, &self.linkers).await
    }

    /// The program, and whether it had to be mapped.
    pub(super) async fn get(&self, digest: &Digest, kind: Kind) -> Result<(Arc<Resident>, bool), CallError> {
        let slot = self.slot(digest);
        slot.used_ms.store(clock::millis(self.began.elapsed()), Ordering::Relaxed);
        if let Some(program) = slot.program.load_full() {
            return Ok((program, false));
        }
        let cold = |refusal| CallError { refusal, cold: true };
        let mut work = match slot.work.try_lock() {
            Ok(work) => work,
            // The pass over all code is checking it, or another call checks or maps it.
            Err(_) => slot.work.lock().instrument(verify_span()).await,
        };
        if let Some(program) = slot.program.load_full() {
            return Ok((program, true));
        }
        let verified = self.verified(digest, &mut work).await.map_err(cold)?;
        if !std::mem::replace(&mut work.noted, true) {
            self.cache.touch(digest, UNIX_EPOCH + Duration::from_millis(clock::unix_ms()));
        }
        self.make_room();
        let program = Resident::new(self.map(&verified, kind).map_err(cold)?, &self.resident);
        slot.program.store(Some(Arc::clone(&program)));
        Ok((program, true))
    }

    /// Makes sure that there is code, and that it can be linked.
    pub(super) async fn prepare(&self, digest: &Digest, artifact: &Path) -> Result<Prepared, Refusal> {
        let began = clock::now();
        let slot = self.slot(digest);
        let mut work = slot.work.lock().await;
        work.artifact = Some(artifact.to_owned());
        let compiled = !self.cache.holds(digest) && {
            let (verified, by_us) = self.compile(digest, artifact).await?;
            work.verified = verified;
            by_us
        };
        Ok(Prepared { compiled, elapsed: began.elapsed() })
    }

    /// Whether there is code for it.
    pub(super) fn is_prepared(&self, digest: &Digest) -> bool {
        self.cache.holds(digest)
    }

    /// Removes the code. Calls that run keep it until they end.
    pub(super) fn forget(&self, digest: &Digest) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
        self.cache.remove(digest);
    }

    /// Programs that are mapped, and their bytes.
    pub(super) fn resident(&self) -> (usize, usize) {
        (self.resident.programs.load(Ordering::Relaxed), self.resident.bytes.load(Ordering::Relaxed))
    }

    /// Checks all code there is, most recently used first. A call for code not yet checked waits for its own only.
    pub(super) fn verify_all(&self) {
        let digests = self.cache.by_use().unwrap_or_else(|error| {
            tracing::warn!(%error, "compiled code could not be listed");
            Vec::new()
        });
        for digest in digests {
            let slot = self.slot(&digest);
            let mut work = slot.work.blocking_lock();
            if work.verified.is_none() {
                work.verified = self.cache.verify(&digest).unwrap_or_else(|error| {
                    tracing::warn!(%digest, %error, "compiled code could not be read");
                    None
                });
            }
        }
    }

    fn slot(&self, digest: &Digest) -> Arc<Slot> {
        if let Some(slot) = self.slots.read().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Arc::clone(slot);
        }
        Arc::clone(self.slots.write().unwrap_or_else(PoisonError::into_inner).entry(*digest).or_default())
    }

    /// Checked code: what is damaged is compiled anew if the artifact is known.
    async fn verified(&self, digest: &Digest, work: &mut Work) -> Result<Verified, Refusal> {
        if let Some(verified) = work.verified.as_ref().filter(|verified| verified.is_current()) {
            return Ok(verified.clone());
        }
        let (cache, whose) = (Arc::clone(&self.cache), *digest);
        let checking = spawn_blocking(move || cache.verify(&whose)).instrument(verify_span());
        let verified = flatten(checking.await).map_err(|error| internal("compiled code", &error))?;
        let verified = match (verified, &work.artifact) {
            (Some(verified), _) => Some(verified),
            (None, Some(artifact)) => self.compile(digest, artifact).await?.0,
            (None, None) => None,
        };
        work.verified = verified;
        work.verified.clone().ok_or_else(|| Refusal::new(Code::NotReady, "it is not compiled here yet"))
    }

    /// Compiles unless another process did while its lock was waited for. Code of another process is not checked yet.
    async fn compile(&self, digest: &Digest, artifact: &Path) -> Result<(Option<Verified>, bool), Refusal> {
        let lock = self.cache.lock_file(digest).map_err(|error| internal("lock", &error))?;
        while let Err(error) = lock.try_lock() {
            if let std::fs::TryLockError::Error(error) = error {
                return Err(internal("lock", &error));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        if let Some(refusal) = self.cache.failure(digest) {
            return Err(refusal);
        }
        if self.cache.holds(digest) {
            return Ok((None, false));
        }
        let span = info_span!(attr::SPAN_COMPILE, { attr::SERVICE } = attr::SERVICE_WORKER);
        match self.compile_here(digest, artifact).instrument(span).await {
            Ok(verified) => Ok((Some(verified), true)),
            Err(NotCompiled { refusal, lasting }) => {
                if lasting {
                    self.cache.remember_failure(digest, &refusal);
                }
                Err(refusal)
            }
        }
    }

    async fn compile_here(&self, digest: &Digest, artifact: &Path) -> Result<Verified, NotCompiled> {
        // Nothing is compiled that was not looked at: the artifact may have come from another node.
        let inspection = inspect::check(artifact, &self.linkers).await?;
        let code = TmpFile(self.cache.tmp());
        self.compiler.compile(artifact, &code.0).await?;
        let (cache, whose) = (Arc::clone(&self.cache), *digest);
        let storing = spawn_blocking(move || cache.store(&whose, &code.0));
        let verified =
            flatten(storing.await).map_err(|error| NotCompiled::internal("compiled code", &error))?;
        if let Err(refusal) = self.map(&verified, inspection.kind) {
            self.cache.remove(digest);
            return Err(NotCompiled { lasting: refusal.code == Code::UnsatisfiedImport, refusal });
        }
        Ok(verified)
    }

    /// Maps code and links it, which finds the imports that have the right name and the wrong type.
    fn map(&self, code: &Verified, kind: Kind) -> Result<Program, Refusal> {
        let mapped = |error: wasmtime::Error| internal("compiled code", &format!("{error:#}"));
        let linked = |error: wasmtime::Error| Refusal::new(Code::UnsatisfiedImport, format!("{error:#}"));
        match kind {
            Kind::HttpComponent => {
                let component = map::component(&self.engine, code).map_err(mapped)?;
                let pre = self.linkers.component.instantiate_pre(&component).map_err(linked)?;
                Ok(Program::Http(ProxyPre::new(pre).map_err(linked)?))
            }
            Kind::CommandComponent => {
                let component = map::component(&self.engine, code).map_err(mapped)?;
                let pre = self.linkers.component.instantiate_pre(&component).map_err(linked)?;
                Ok(Program::Command(Command::Component(CommandPre::new(pre).map_err(linked)?)))
            }
            Kind::CommandModule => {
                let module = map::module(&self.engine, code).map_err(mapped)?;
                let pre = self.linkers.module.instantiate_pre(&module).map_err(linked)?;
                Ok(Program::Command(Command::Module(pre)))
            }
        }
    }

    /// Gives back what was not used for long, and at the cap what was not used for longest.
    fn make_room(&self) {
        let now_ms = clock::millis(self.began.elapsed());
        let full = self.resident().0 >= self.resident_max;
        if !full && now_ms - self.swept_ms.load(Ordering::Relaxed).min(now_ms) < clock::millis(SWEEP_EVERY) {
            return;
        }
        self.swept_ms.store(now_ms, Ordering::Relaxed);
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let used = |slot: &Arc<Slot>| slot.used_ms.load(Ordering::Relaxed);
        let mut mapped: Vec<_> = slots.values().filter(|slot| slot.program.load().is_some()).collect();
        mapped.sort_unstable_by_key(|slot| used(slot));
        // More than one at once, so that a node at its cap does not sort for each cold start.
        let over = if full { mapped.len() / ROOM_PART + 1 } else { 0 };
        for (index, slot) in mapped.into_iter().enumerate() {
            if index < over || now_ms.saturating_sub(used(slot)) > clock::millis(IDLE_MAX) {
                slot.program.store(None);
            }
        }
    }
}

/// Of a call that waits until its code was checked.
fn verify_span() -> Span {
    info_span!(attr::SPAN_VERIFY, { attr::SERVICE } = attr::SERVICE_WORKER)
}

fn flatten<T>(joined: Result<std::io::Result<T>, tokio::task::JoinError>) -> std::io::Result<T> {
    joined.map_err(std::io::Error::other)?
}

fn internal(what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, format!("{what}: {error}"))
}

/// Deleted when it was not renamed.
struct TmpFile(PathBuf);

impl Drop for TmpFile {
    fn drop(&mut self) {
        // It is there only after a failure; what stays is swept at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}
