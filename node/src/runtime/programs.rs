//! What is compiled, checked and mapped: from a digest to something that can be instantiated.

mod room;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use coracle_proto::attr;
use coracle_proto::id::Digest;
use coracle_proto::record::Kind;
use coracle_proto::status::{Code, Refusal};
use tokio::task::spawn_blocking;
use tracing::{Instrument as _, Span, info_span};
use wasmtime::Engine;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

pub(super) use self::room::Resident;
use self::room::{Room, Work};
use super::after::Manners;
use super::cache::{Cache, Verified};
use super::compile::{Compiler, NotCompiled};
use super::handler::taker::Taker;
use super::host::{HANDLER, Linkers, Release};
use super::inspect::{self, Inspection};
use super::map;
use super::program::{Command, Program};
use crate::call::CallError;
use crate::{clock, os};

/// How often a lock is tried that another process holds while it compiles the same artifact.
const LOCK_POLL: Duration = Duration::from_millis(50);
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
    room: Arc<Room>,
}

impl Programs {
    pub(super) fn new(
        engine: Engine,
        cache: Cache,
        compiler: Compiler,
        resident_max: usize,
        newest: Release,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            linkers: Linkers::new(&engine, newest)?,
            engine,
            cache: Arc::new(cache),
            compiler,
            room: Room::new(resident_max),
        })
    }

    /// Checks an artifact before anything is made of it.
    pub(super) async fn check(&self, artifact: &Path) -> Result<Inspection, Refusal> {
        let found = inspect::check(artifact, &self.linkers).await?;
        found.runnable.map(|()| found.inspection)
    }

    /// The program, and whether it had to be mapped.
    pub(super) async fn get(&self, digest: &Digest, kind: Kind) -> Result<(Arc<Resident>, bool), CallError> {
        let slot = self.room.slot(digest);
        self.room.used(&slot);
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
        self.room.make();
        let program = match self.map(&verified, kind) {
            // Others have what is missing, and have not used it for longest.
            Err(refusal) if refusal.code == Code::Overloaded => {
                self.room.make_for(refusal, || self.map(&verified, kind)).await
            }
            mapped => mapped,
        };
        let program = self.room.resident(program.map_err(cold)?, &slot);
        slot.program.store(Some(Arc::clone(&program)));
        Ok((program, true))
    }

    /// Makes sure that there is code, and that it can be linked.
    pub(super) async fn prepare(&self, digest: &Digest, artifact: &Path) -> Result<Prepared, Refusal> {
        let began = clock::now();
        let slot = self.room.slot(digest);
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

    /// How instances of a program take one call after another, mapped or not; `None` where nothing is known of it.
    pub(super) fn known_manners(&self, digest: &Digest) -> Option<Arc<Manners>> {
        self.room.known(digest).map(|slot| Arc::clone(&slot.manners))
    }

    /// Removes the code. Calls that run keep it until they end.
    pub(super) fn forget(&self, digest: &Digest) {
        self.room.forget(digest);
        self.cache.remove(digest);
    }

    /// Programs that are mapped, and their bytes.
    pub(super) fn resident(&self) -> (usize, usize) {
        self.room.resident_now()
    }

    /// Checks all code there is, most recently used first. A call for code not yet checked waits for its own only.
    pub(super) fn verify_all(&self) {
        let digests = self.cache.by_use().unwrap_or_else(|error| {
            tracing::warn!(%error, "compiled code could not be listed");
            Vec::new()
        });
        for digest in digests {
            let slot = self.room.slot(&digest);
            let mut work = slot.work.blocking_lock();
            if work.verified.is_none() {
                work.verified = self.cache.verify(&digest).unwrap_or_else(|error| {
                    tracing::warn!(%digest, %error, "compiled code could not be read");
                    None
                });
            }
        }
    }

    /// Checked code: what is damaged is compiled anew if the artifact is known.
    async fn verified(&self, digest: &Digest, work: &mut Work) -> Result<Verified, Refusal> {
        if let Some(verified) = work.verified.as_ref().filter(|verified| verified.is_current()) {
            return Ok(verified.clone());
        }
        let (cache, whose) = (Arc::clone(&self.cache), *digest);
        let checking = spawn_blocking(move || cache.verify(&whose)).instrument(verify_span());
        let verified = flatten(checking.await).map_err(|error| unread(&error))?;
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
        let inspection = inspect::check(artifact, &self.linkers).await?.inspection;
        let code = TmpFile(self.cache.tmp());
        self.compiler.compile(artifact, &code.0).await?;
        let (cache, whose) = (Arc::clone(&self.cache), *digest);
        let storing = spawn_blocking(move || cache.store(&whose, &code.0));
        let verified =
            flatten(storing.await).map_err(|error| NotCompiled::internal("compiled code", &error))?;
        if let Err(refusal) = self.map(&verified, inspection.kind) {
            if refusal.code != Code::Overloaded {
                self.cache.remove(digest);
            }
            return Err(NotCompiled { lasting: refusal.code == Code::UnsatisfiedImport, refusal });
        }
        Ok(verified)
    }

    /// Maps code and links it, which finds the imports that have the right name and the wrong type.
    fn map(&self, code: &Verified, kind: Kind) -> Result<Program, Refusal> {
        let mapped = |error: wasmtime::Error| unmapped(&error);
        let linked = |error: wasmtime::Error| Refusal::new(Code::UnsatisfiedImport, format!("{error:#}"));
        if kind == Kind::CommandModule {
            let module = map::module(&self.engine, code).map_err(mapped)?;
            let pre = self.linkers.module.instantiate_pre(&module).map_err(linked)?;
            return Ok(Program::Command(Command::Module(pre)));
        }
        let component = map::component(&self.engine, code).map_err(mapped)?;
        let pre = self.linkers.component.instantiate_pre(&component).map_err(linked)?;
        let taker = Taker::new(&pre);
        let program = match kind {
            // The check takes no other component of 0.3 than one that has this.
            Kind::HttpComponent if component.get_export_index(None, HANDLER).is_some() => {
                Some(Program::Service(ServicePre::new(pre).map_err(linked)?))
            }
            Kind::HttpComponent => Some(Program::Http(ProxyPre::new(pre).map_err(linked)?)),
            Kind::CommandComponent => {
                Some(Program::Command(Command::Component(CommandPre::new(pre).map_err(linked)?)))
            }
            Kind::EventComponent | Kind::CommandModule => None,
        };
        match (taker, program) {
            (Some(taker), program) => Ok(Program::Events(taker, program.map(Box::new))),
            (None, Some(program)) => Ok(program),
            (None, None) => Err(internal("compiled code", &"nothing can call it")),
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

/// Code that cannot be mapped. Where the process is short of something, another node may not be.
fn unmapped(error: &wasmtime::Error) -> Refusal {
    if os::shortage_behind(error.chain()) {
        no_room(&format!("{error:#}"))
    } else {
        internal("compiled code", &format!("{error:#}"))
    }
}

/// Code that cannot be read.
fn unread(error: &std::io::Error) -> Refusal {
    if os::tells_shortage(error) { no_room(&error.to_string()) } else { internal("compiled code", error) }
}

fn no_room(why: &str) -> Refusal {
    Refusal::new(Code::Overloaded, format!("the node has no room to load the function's code: {why}"))
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    impl Programs {
        /// How instances of a program take one call after another.
        pub(in crate::runtime) fn manners(&self, digest: &Digest) -> Arc<Manners> {
            Arc::clone(&self.room.slot(digest).manners)
        }
    }

    #[test]
    fn a_node_that_is_short_of_something_did_not_begin_the_call() {
        // ENOMEM, EMFILE, ENFILE; and ENOENT, EIO.
        for (errno, code) in [
            (12, Code::Overloaded),
            (24, Code::Overloaded),
            (23, Code::Overloaded),
            (2, Code::Internal),
            (5, Code::Internal),
        ] {
            let error = || io::Error::from_raw_os_error(errno);
            let mapped = wasmtime::Error::from(error()).context("failed to map the file");
            assert_eq!(unmapped(&mapped).code, code, "{errno}: {}", unmapped(&mapped));
            assert_eq!(unread(&error()).code, code, "{errno}");
        }
        assert_eq!(unmapped(&wasmtime::Error::msg("bad magic")).code, Code::Internal);
    }
}
