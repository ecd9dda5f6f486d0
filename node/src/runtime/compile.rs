//! Compilation in a child process with limits, few at a time, and what its end means.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use coracle_proto::status::{Code, Refusal};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::turns::queue::PLACES;

use super::child::{ADDRESS_SPACE_MAX, CPU_SECONDS_MAX, EXIT_REFUSED, WASIP3};
use super::host::Release;

/// Twice the CPU time that is allowed would fit even on half a core; on a machine more loaded it is tried again.
const WALL_MAX: Duration = Duration::from_secs(180);
/// Children at once: as many as there are turns ([`crate::turns`]). A call that finds its code damaged takes no turn, and
/// waits here.
const CHILDREN_MAX: usize = PLACES;
/// Of those that are to be started, what may wait until the starter sees it: more than a moment never does.
const STARTS_MAX: usize = 64;
/// What is kept of the child's words.
const REASON_BYTES_MAX: u64 = 4 << 10;
/// Each thread costs address space, of which there is a limit.
const THREADS_MAX: usize = 8;

/// Why there is no code.
#[derive(Debug)]
pub(super) struct NotCompiled {
    /// For the user.
    pub(super) refusal: Refusal,
    /// Whether the same would happen again.
    pub(super) lasting: bool,
}

impl NotCompiled {
    fn new(code: Code, message: String, lasting: bool) -> Self {
        Self { refusal: Refusal::new(code, message), lasting }
    }

    /// A fault of this node.
    pub(super) fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(Code::Internal, format!("{what}: {error}"), false)
    }
}

impl From<Refusal> for NotCompiled {
    fn from(refusal: Refusal) -> Self {
        Self { lasting: refusal.code != Code::Internal, refusal }
    }
}

/// Starts compile children.
#[derive(Debug)]
pub(super) struct Compiler {
    program: PathBuf,
    args: Vec<OsString>,
    newest: Release,
    starter: SyncSender<Start>,
    children: Semaphore,
}

struct Start {
    command: Command,
    runtime: Handle,
    started: oneshot::Sender<std::io::Result<Child>>,
}

impl Compiler {
    /// `program` with `args` must come to [`super::compile_child`]. The code is for an engine with WASI's releases up to `newest`.
    pub(super) fn new(program: PathBuf, args: Vec<OsString>, newest: Release) -> std::io::Result<Self> {
        let (starter, starts) = sync_channel::<Start>(STARTS_MAX);
        // A death signal follows the thread that forked, so one thread that lives as long as the node starts them.
        std::thread::Builder::new().name("compile-start".into()).spawn(move || {
            for mut start in starts {
                let _guard = start.runtime.enter();
                // Nobody waits any more: dropping the child kills it.
                let _ = start.started.send(start.command.spawn());
            }
        })?;
        Ok(Self { program, args, newest, starter, children: Semaphore::new(CHILDREN_MAX) })
    }

    /// Compiles `wasm` into the new file `code`. Dropping the future kills the child.
    pub(super) async fn compile(&self, wasm: &Path, code: &Path) -> Result<(), NotCompiled> {
        let place = self.children.acquire().await;
        let _place = place.map_err(|error| NotCompiled::internal("compiler", &error))?;
        let mut child =
            self.start(wasm, code).await.map_err(|error| NotCompiled::internal("compile child", &error))?;
        let mut reason = Vec::new();
        let ended = tokio::time::timeout(WALL_MAX, async {
            if let Some(stderr) = child.stderr.take() {
                // What cannot be read is not told; the exit status is what counts.
                let _ = stderr.take(REASON_BYTES_MAX).read_to_end(&mut reason).await;
            }
            child.wait().await
        })
        .await;
        match ended {
            Ok(Ok(status)) => judge(status, String::from_utf8_lossy(&reason).trim()),
            Ok(Err(error)) => Err(NotCompiled::internal("compile child", &error)),
            Err(_elapsed) => {
                let message = format!("compilation took more than {} s", WALL_MAX.as_secs());
                Err(NotCompiled::new(Code::CompileLimit, message, false))
            }
        }
    }

    async fn start(&self, wasm: &Path, code: &Path) -> std::io::Result<Child> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .args([wasm, code])
            .arg(std::process::id().to_string())
            .args((self.newest >= Release::Wasip3).then_some(WASIP3))
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let (started, child) = oneshot::channel();
        let start = Start { command, runtime: Handle::current(), started };
        // Those that may run have places in the channel, and so have some that were given up before they were started.
        self.starter.try_send(start).map_err(|error| std::io::Error::other(error.to_string()))?;
        child.await.map_err(std::io::Error::other)?
    }
}

fn judge(status: ExitStatus, reason: &str) -> Result<(), NotCompiled> {
    const SIGXCPU: i32 = 24;
    const SIGKILL: i32 = 9;
    let out_of_memory = reason.contains("memory allocation of") || reason.contains("Cannot allocate memory");
    if status.success() {
        return Ok(());
    }
    if out_of_memory {
        let message = format!("compilation needs more than {} GiB of memory", ADDRESS_SPACE_MAX >> 30);
        return Err(NotCompiled::new(Code::CompileLimit, message, true));
    }
    if status.signal() == Some(SIGXCPU) {
        let message = format!("compilation needs more than {CPU_SECONDS_MAX} s of CPU time");
        return Err(NotCompiled::new(Code::CompileLimit, message, true));
    }
    if status.signal() == Some(SIGKILL) {
        let message = "compilation was killed: the machine may be out of memory".to_owned();
        return Err(NotCompiled::new(Code::CompileLimit, message, false));
    }
    if status.code() == Some(EXIT_REFUSED.into()) {
        return Err(NotCompiled::new(Code::CompileFailed, reason.to_owned(), true));
    }
    if status.signal().is_some() {
        let message = format!("the compiler crashed ({status}): {reason}");
        return Err(NotCompiled::new(Code::CompileFailed, message, true));
    }
    Err(NotCompiled::internal("compile child", &format!("{status}: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child that runs this script comes to.
    async fn outcome(script: &str) -> Result<(), (Code, bool)> {
        let args = ["-c", script, "child"].map(OsString::from).to_vec();
        let compiler = Compiler::new("/bin/sh".into(), args, Release::Wasip2).unwrap();
        let done = compiler.compile(Path::new("in"), Path::new("out")).await;
        done.map_err(|error| {
            println!("{}: {}", error.refusal.code, error.refusal.message);
            (error.refusal.code, error.lasting)
        })
    }

    #[tokio::test]
    async fn each_end_of_a_child_has_its_meaning() {
        assert_eq!(outcome("test $1 = in && test $2 = out && test $3 = $PPID").await, Ok(()));
        assert_eq!(outcome("echo 'no good' >&2; exit 65").await, Err((Code::CompileFailed, true)));
        assert_eq!(outcome("kill -XCPU $$").await, Err((Code::CompileLimit, true)));
        let out_of_memory = "echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$";
        assert_eq!(outcome(out_of_memory).await, Err((Code::CompileLimit, true)));
        assert_eq!(outcome("kill -SEGV $$").await, Err((Code::CompileFailed, true)));
        assert_eq!(outcome("kill -KILL $$").await, Err((Code::CompileLimit, false)));
        assert_eq!(outcome("exit 70").await, Err((Code::Internal, false)));
        let missing = Compiler::new("/nonexistent".into(), Vec::new(), Release::Wasip2).unwrap();
        let error = missing.compile(Path::new("in"), Path::new("out")).await.unwrap_err();
        assert_eq!((error.refusal.code, error.lasting), (Code::Internal, false));
    }

    #[tokio::test]
    async fn the_child_inherits_no_environment() {
        assert_eq!(
            outcome("test -z \"$HOME$CARGO_MANIFEST_DIR\" && test -n \"$RAYON_NUM_THREADS\"").await,
            Ok(())
        );
    }
}
