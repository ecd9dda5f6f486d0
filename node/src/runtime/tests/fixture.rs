//! A runtime in a temporary folder, and calls to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{Digest, Epoch, FunctionId, InvocationId, VersionId, VersionNumber};
use coracle_proto::record::Version;
use coracle_proto::spec::{Draft, FunctionSpec};
use coracle_proto::status::Refusal;
use http_body_util::{BodyExt as _, Full};
use sha2::Digest as _;
use tempfile::TempDir;

use super::state::NoState;
use crate::call::{Answer, Body, Call, CallError, Lease, Receipt, Trigger};
use crate::logs::Line;
use crate::outbound::Reach;
use crate::runtime::after::Manners;
use crate::runtime::state::State;
use crate::runtime::{LogSink, MemoryMode, RestLimits, Runtime, RuntimeOptions, Usage, UsageSink};

/// Lines kept: what a guest prints beyond them it may not.
const LINES_MAX: usize = 10_000;
/// Calls at once where a test does not say: those of two cores.
const RUNNING_MAX: u32 = 128;

/// Memory of all guests: enough.
const GUESTS_BYTES: u64 = 64 << 30;

/// Whose a line is: a call, and its trace.
pub(super) type Whose = (InvocationId, Option<[u8; 16]>);

/// Lines of all guests.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Lines {
    lines: Mutex<Vec<String>>,
    whose: Mutex<Vec<Whose>>,
}

impl Lines {
    pub(in crate::runtime) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Whose each of them is.
    pub(super) fn whose(&self) -> Vec<Whose> {
        self.whose.lock().unwrap().clone()
    }
}

impl LogSink for Lines {
    fn line(&self, line: Line<'_>) -> bool {
        assert!(line.text.len() <= 8 << 10);
        let mut lines = self.lines.lock().unwrap();
        if lines.len() < LINES_MAX {
            self.whose.lock().unwrap().push((line.invocation, line.trace));
            lines.push(format!("{}: {}", line.version, String::from_utf8_lossy(line.text)));
        }
        lines.len() < LINES_MAX
    }

    fn lost(&self, _: &VersionId, _: u64) {}
}

/// What all calls came to.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Usages(Mutex<Vec<Usage>>);

impl Usages {
    /// Those since the last time.
    pub(in crate::runtime) fn take(&self) -> Vec<Usage> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(in crate::runtime) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl UsageSink for Usages {
    fn used(&self, usage: Usage) {
        self.0.lock().unwrap().push(usage);
    }
}

/// What a runtime is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making {
    pub(super) memory: MemoryMode,
    pub(super) running_max: u32,
    pub(super) resident_max: Option<u64>,
    pub(super) guests_bytes: u64,
    pub(super) rest: RestLimits,
    pub(super) wasip3: bool,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            memory: MemoryMode::Auto,
            running_max: RUNNING_MAX,
            resident_max: None,
            guests_bytes: GUESTS_BYTES,
            rest: RestLimits::DEFAULT,
            wasip3: false,
        }
    }
}

pub(super) struct Fixture {
    pub(super) runtime: Runtime,
    pub(super) lines: Arc<Lines>,
    pub(super) usages: Arc<Usages>,
    pub(super) folder: TempDir,
}

/// A function that can be called.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) version: Arc<Version>,
    pub(super) artifact: PathBuf,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::made(Making::default())
    }

    pub(super) fn with(memory: MemoryMode) -> Self {
        Self::made(Making { memory, ..Making::default() })
    }

    pub(super) fn with_running_max(memory: MemoryMode, running_max: u32) -> Self {
        Self::made(Making { memory, running_max, ..Making::default() })
    }

    pub(super) fn with_resident_max(max: u64) -> Self {
        Self::made(Making { resident_max: Some(max), ..Making::default() })
    }

    pub(super) fn with_guests_bytes(guests_bytes: u64) -> Self {
        Self::made(Making { guests_bytes, ..Making::default() })
    }

    pub(super) fn with_rest(rest: RestLimits) -> Self {
        Self::made(Making { rest, ..Making::default() })
    }

    pub(super) fn with_wasip3() -> Self {
        Self::made(Making { wasip3: true, ..Making::default() })
    }

    pub(super) fn made(making: Making) -> Self {
        Self::made_with(making, Arc::new(NoState))
    }

    pub(super) fn with_state(state: Arc<dyn State>) -> Self {
        Self::made_with(Making::default(), state)
    }

    pub(super) fn made_with(making: Making, state: Arc<dyn State>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (lines, usages) = (Arc::<Lines>::default(), Arc::<Usages>::default());
        let runtime = runtime(folder.path(), making, state, (&lines, &usages));
        Self { runtime, lines, usages, folder }
    }

    /// The same folder, as another process would see it.
    pub(super) fn restarted(&self) -> Runtime {
        let state = Arc::new(NoState);
        runtime(self.folder.path(), Making::default(), state, (&self.lines, &self.usages))
    }

    pub(super) fn write(&self, wasm: &[u8]) -> (Digest, PathBuf) {
        let digest = Digest::new(sha2::Sha256::digest(wasm).into());
        let path = self.folder.path().join(digest.hex());
        std::fs::write(&path, wasm).unwrap();
        (digest, path)
    }

    /// Checks and compiles one of which nobody has to find out whether it serves again.
    pub(super) async fn deploy(&self, name: &str, wasm: &[u8], draft: Draft) -> Result<Function, Refusal> {
        let function = self.deploy_unknown(name, wasm, draft).await?;
        let manners = self.manners(&function);
        manners.ask();
        manners.learn(&Manners::default());
        Ok(function)
    }

    /// How instances of it take one call after another.
    pub(super) fn manners(&self, function: &Function) -> Arc<Manners> {
        self.runtime.0.invoker.programs.manners(&function.version.digest)
    }

    /// Checks and compiles.
    pub(super) async fn deploy_unknown(
        &self,
        name: &str,
        wasm: &[u8],
        draft: Draft,
    ) -> Result<Function, Refusal> {
        let (digest, artifact) = self.write(wasm);
        let found = self.runtime.check(&artifact).await?;
        self.runtime.prepare(&digest, &artifact).await?;
        let function = FunctionId::parse("", name).unwrap();
        let version = Version {
            id: VersionId { function, number: VersionNumber::new(1) },
            digest,
            size: found.size,
            kind: found.kind,
            spec: FunctionSpec::new(draft).unwrap(),
            created_ms: 0,
            trace: String::new(),
        };
        Ok(Function { version: Arc::new(version), artifact })
    }

    /// One of `tests/guests`.
    pub(super) async fn guest(&self, file: &str, draft: Draft) -> Function {
        self.deploy("guest", &guest(file), draft).await.unwrap()
    }

    pub(super) async fn call(
        &self,
        function: &Function,
        request: http::Request<Body>,
    ) -> Result<Answer, CallError> {
        self.runtime.invoke(call(function, request)).await
    }

    /// Status and body of an answer to a GET.
    pub(super) async fn get(&self, function: &Function, uri: &str) -> Result<(u16, String), CallError> {
        collect(self.call(function, get(uri)).await?).await
    }

    /// As [`Self::get`], and waits until nothing of the call is left: its answer may be whole a moment before its guest has ended.
    pub(super) async fn get_to_the_end(
        &self,
        function: &Function,
        uri: &str,
    ) -> Result<(u16, String), CallError> {
        let held = Arc::new(());
        let call = Call { lease: Lease::of(Arc::clone(&held) as _), ..call(function, get(uri)) };
        let answered = match self.runtime.invoke(call).await {
            Ok(answer) => collect(answer).await,
            Err(error) => Err(error),
        };
        eventually("its guest has ended", || Arc::strong_count(&held) == 1).await;
        answered
    }
}

fn runtime(
    folder: &Path,
    making: Making,
    state: Arc<dyn State>,
    (lines, usages): (&Arc<Lines>, &Arc<Usages>),
) -> Runtime {
    let Making { memory, running_max, resident_max, guests_bytes, rest, wasip3 } = making;
    Runtime::new(RuntimeOptions {
        cache_dir: folder.join("cache"),
        memory,
        wasip3,
        guests_bytes,
        running_max,
        compile_program: std::env::current_exe().unwrap(),
        compile_args: super::child::ARGS.map(Into::into).to_vec(),
        resident_max,
        reach: Reach::default(),
        rest,
        state,
        logs: Arc::clone(lines) as Arc<dyn LogSink>,
        usage: Arc::clone(usages) as Arc<dyn UsageSink>,
    })
    .unwrap()
}

pub(super) fn guest(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn call(function: &Function, request: http::Request<Body>) -> Call {
    Call {
        version: Arc::clone(&function.version),
        epoch: Epoch::new(1),
        invocation: InvocationId::new(7),
        attempt: 1,
        trigger: Trigger::Http { route: "/".into(), remote: Some("192.0.2.1:999".parse().unwrap()) },
        head_timeout: function.version.spec.limits().timeout,
        request,
        lease: Lease::default(),
        receipt: Receipt::default(),
    }
}

pub(super) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn get(uri: &str) -> http::Request<Body> {
    http::Request::get(uri).header("host", "example.org").body(body("")).unwrap()
}

pub(super) fn post(uri: &str, bytes: impl Into<Bytes>) -> http::Request<Body> {
    http::Request::post(uri).header("host", "example.org").body(body(bytes)).unwrap()
}

pub(super) async fn collect(answer: Answer) -> Result<(u16, String), CallError> {
    let status = answer.response.status().as_u16();
    let body = answer.response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

pub(super) fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Waits until it is so; gives up after ten seconds with the reason.
pub(super) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        let mut every = tokio::time::interval(Duration::from_millis(1));
        while !is() {
            every.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
