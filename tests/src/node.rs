//! One real node: a supervisor with its children, in a folder of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// One of a node's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The parent of the others.
    Supervisor,
    /// API, Raft, watch.
    Controller,
    /// Gateway and worker.
    DataPlane,
    /// Data groups.
    Store,
}

impl Process {
    const ALL: [Self; 4] = [Self::Supervisor, Self::Controller, Self::DataPlane, Self::Store];
}

/// A node and how it is reached. Its ports are kept over a restart.
#[derive(Debug)]
pub struct Node {
    /// Counted from 0.
    pub index: usize,
    /// `HOST:PORT` of the API.
    pub grpc: String,
    /// `HOST:PORT` of metrics and health.
    pub admin: String,
    /// `HOST:PORT` between data planes.
    pub data: String,
    /// `HOST:PORT` of the gateway.
    pub http: String,
    /// `HOST:PORT` of the store, where it has one.
    pub store: String,
    /// Its data folder.
    pub folder: PathBuf,
    /// What comes before the program in a command, where something does.
    before: Vec<String>,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    roles: &'static str,
    child: Option<Child>,
    starts: usize,
}

/// How long processes that were killed, or asked to end, may take: a data plane drains its calls for 30 s.
const END_MAX: Duration = Duration::from_secs(120);

/// A port that is free, that this process gives out once, and that lies below the range from which the kernel gives
/// out others: so it is free again when a node restarts. Test binaries run one after the other.
///
/// # Panics
/// When another thread panicked in the middle of it.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = 10_000 + rand::random::<u16>() % 20_000;
        let new = GIVEN.lock().expect("no thread panics while it holds it").insert(port);
        if new && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether a process has ended. One that nobody has waited for yet has, when its last thread has: its first one may go before
/// the others, and until then its ports are open.
#[must_use]
pub fn is_gone(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The name stands in brackets and may hold anything.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    matches!(state, None | Some('Z' | 'X')) && threads <= 1
}

/// Waits, as a test does that is not async, until something is so.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < END_MAX, "gave up after {END_MAX:?} waiting until {what}");
        std::thread::sleep(Duration::from_millis(5)); // a bounded poll
    }
}

/// What moves the clock of a process (<https://github.com/wolfcw/libfaketime>).
fn clock_library() -> String {
    let found = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library =
        found.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("Debian's package faketime is installed").display().to_string()
}

impl Node {
    pub(crate) fn new(
        program: &Path,
        base: &Path,
        index: usize,
        first: Option<&str>,
        extra: &[String],
        host: &str,
    ) -> Self {
        let address = || format!("{host}:{}", free_port());
        let (grpc, admin, data, http, store) = (address(), address(), address(), address(), address());
        let folder = base.join(format!("n{}", index + 1));
        let mut arguments: Vec<String> =
            vec!["server".into(), "--data-dir".into(), folder.display().to_string()];
        let ports = [
            ("--grpc", &grpc),
            ("--admin", &admin),
            ("--data", &data),
            ("--http", &http),
            ("--store", &store),
        ];
        for (flag, value) in ports {
            arguments.extend([flag.to_owned(), value.clone()]);
        }
        arguments.extend(["--name".into(), format!("n{}", index + 1)]);
        match first {
            None => arguments.push("--bootstrap".into()),
            Some(first) => arguments.extend(["--join".into(), first.to_owned()]),
        }
        arguments.extend(extra.iter().cloned());
        let program = program.to_owned();
        Self {
            index,
            grpc,
            admin,
            data,
            http,
            store,
            folder,
            before: Vec::new(),
            program,
            arguments,
            environment: Vec::new(),
            roles: "",
            child: None,
            starts: 0,
        }
    }

    pub(crate) fn set_roles(&mut self, roles: &'static str) {
        self.roles = roles;
        self.arguments.extend(["--role".to_owned(), roles.to_owned()]);
    }

    /// Whether it serves the API.
    #[must_use]
    pub fn is_controller(&self) -> bool {
        self.roles.contains("controller")
    }

    /// It is started by this command, which becomes it.
    pub(crate) fn set_before(&mut self, before: Vec<String>) {
        self.before = before;
    }

    pub(crate) fn set_environment(&mut self, environment: &[(String, String)]) {
        self.environment = environment.to_vec();
    }

    /// A wall clock that is the machine's until it is shifted; the steady clock stays as it is.
    pub(crate) fn give_clock(&mut self) {
        self.shift_clock(0);
        let file = self.clock().display().to_string();
        let variables = [
            ("LD_PRELOAD", clock_library()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        self.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    }

    fn clock(&self) -> PathBuf {
        self.folder.with_extension("clock")
    }

    /// From now on the clock of all its processes is wrong by so many seconds.
    ///
    /// # Panics
    /// When that cannot be written down.
    pub fn shift_clock(&self, seconds: i64) {
        // Whoever looks meanwhile finds one of the two.
        let new = self.folder.with_extension("clock.new");
        fs::write(&new, format!("{seconds:+}s\n")).expect("written");
        fs::rename(new, self.clock()).expect("renamed");
    }

    /// Starts it; its log goes to `n1.0.log` and so on beside its folder.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.index);
        let log = self.folder.with_extension(format!("{}.log", self.starts));
        self.starts += 1;
        let file = File::create(&log).expect("a log file");
        let words = self.before.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut words = words.chain(self.arguments.iter().map(OsStr::new));
        let child = Command::new(words.next().expect("a program"))
            .args(words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("CORACLE_LOG", std::env::var("CORACLE_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the program under test starts");
        self.child = Some(child);
    }

    /// The process id, as the node's `pids` file has it.
    ///
    /// # Errors
    /// When it does not run, or the file does not say.
    pub fn pid(&self, process: Process) -> Result<i32, String> {
        if process == Process::Supervisor {
            let child = self.child.as_ref().ok_or("the node does not run")?;
            return Ok(i32::try_from(child.id()).expect("a process id"));
        }
        let wanted = match process {
            Process::Controller => "controller",
            Process::Store => "store",
            Process::DataPlane | Process::Supervisor => "data",
        };
        let text = fs::read_to_string(self.folder.join("pids")).map_err(|error| format!("pids: {error}"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(wanted)?.trim().strip_prefix('='))
            .ok_or_else(|| format!("pids has no {wanted}: {text}"))?;
        line.trim().parse().map_err(|error| format!("pids: {error}"))
    }

    /// Sends a signal to one process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, process: Process, signal: Signal) {
        let pid = self.pid(process).expect("a running process");
        kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("the signal is sent");
    }

    /// Sends a signal to all its processes.
    pub fn signal_all(&self, signal: Signal) {
        for process in Process::ALL {
            if let Ok(pid) = self.pid(process) {
                // One that ended by itself is as good as killed.
                let _ = kill_process(Pid::from_raw(pid).expect("a process id"), signal);
            }
        }
    }

    /// Kills all its processes at once, as a power cut does, and waits until they are gone.
    pub fn kill(&mut self) {
        let pids: Vec<_> = Process::ALL.iter().filter_map(|process| self.pid(*process).ok()).collect();
        self.signal_all(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
            // A child that was being started when the supervisor died ends by itself: its lock is waited for.
            wait_until("killed processes are gone", || pids.iter().all(|pid| is_gone(*pid)));
        }
    }

    /// Asks it to end and waits for it.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself was waited for: its number may be another's by now.
            if child.try_wait().expect("a status").is_some() {
                return;
            }
            let pid = i32::try_from(child.id()).expect("a process id");
            let _ = kill_process(Pid::from_raw(pid).expect("a process id"), Signal::TERM);
            wait_until("the node has ended", || child.try_wait().expect("a status").is_some());
        }
    }

    /// Whether its supervisor was started and not killed.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// The exit code of a node that ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.as_mut()?.try_wait().ok()??.code()
    }

    /// The log of its last start.
    #[must_use]
    pub fn log(&self) -> String {
        let last = self.starts.saturating_sub(1);
        fs::read_to_string(self.folder.with_extension(format!("{last}.log"))).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.signal_all(Signal::CONT);
        self.kill();
    }
}
