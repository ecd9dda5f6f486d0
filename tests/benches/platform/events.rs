//! Messages and values, durable before they are acknowledged, beside NATS `JetStream`, `RabbitMQ` and Redis: three nodes each (Redis: one) on
//! the same machine and disk in the same run, in turn; then what only we do: a message runs a function, and a schedule ticks.

use std::time::Duration;

mod calls;
mod figures;
pub(crate) mod load;
mod ours;
mod peers;
mod syncs;

use self::figures::{Contender, Row, compare, median, verdict};
use self::load::{Amount, Work};
use self::ours::Ours;
use crate::writes::file_system;

/// Of a message, and of a value.
const BYTES: usize = 256;
/// Messages of a stream that are under way at once.
const WINDOW: usize = 1024;
/// Messages of one of our requests, where a stream gathers them.
const GATHERED: usize = 16;
const SETTLE_GOAL: f64 = 2_000.0;
const GETS_GOAL: f64 = 30_000.0;
const START_GOALS_MS: [f64; 2] = [10.0, 50.0];

/// How much of each is measured.
struct Scale {
    rounds: usize,
    warm: Duration,
    measure: Duration,
    /// Messages a second, of which each one's run is timed.
    started: usize,
    /// Messages that are run in one round.
    settled: usize,
    ticks: Duration,
}

const FULL: Scale = Scale {
    rounds: 5,
    warm: Duration::from_millis(700),
    measure: Duration::from_secs(3),
    started: 500,
    settled: 10_000,
    ticks: Duration::from_secs(20),
};
/// To see that all of it works; figures of it mean nothing.
const QUICK: Scale = Scale {
    rounds: 1,
    warm: Duration::from_millis(200),
    measure: Duration::from_millis(800),
    started: 20,
    settled: 500,
    ticks: Duration::from_secs(4),
};

impl Scale {
    fn of(&self, clients: usize) -> Amount {
        Amount { clients, warm: self.warm, measure: self.measure }
    }
}

/// Parts that can be chosen by name, where not all of them are wanted.
const PARTS: [&str; 3] = ["messages", "values", "runs"];

pub(crate) async fn run(quick: bool, wanted: &[String]) {
    let all = !wanted.iter().any(|word| PARTS.contains(&word.as_str()));
    let [with_messages, with_values, with_runs] =
        PARTS.map(|part| all || wanted.iter().any(|word| word == part));
    let scale = if quick { QUICK } else { FULL };
    let folder = tempfile::TempDir::new().unwrap();
    println!(
        "\n== events: {BYTES} bytes each, synced before they are acknowledged; {}",
        file_system(folder.path())
    );
    println!("medians of {} rounds of {:?} (least to most), all in turn", scale.rounds, scale.measure);
    peers::check();
    let load = peers::load(folder.path());
    machine(folder.path());
    let ours = Ours::start().await;
    let own = ours.contender();
    if with_messages {
        let (_nats, nats) = peers::nats(folder.path(), &load);
        let (_rabbit, rabbit) = peers::rabbit(folder.path(), &load).await;
        messages(&scale, [&own, &nats, &rabbit]);
    }
    if with_values {
        let (_redis, redis) = peers::redis(folder.path(), &load).await;
        values(&scale, [&own, &redis]);
    }
    machine(folder.path());
    if with_runs {
        runs(&scale, &own);
        ticks(&scale, &ours).await;
        machine(folder.path());
    }
}

/// What else is going on.
fn machine(folder: &std::path::Path) {
    let (p50, p99) = syncs::disk(folder);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("the machine: a synced write of 4 KiB p50 {p50:.0?} p99 {p99:.0?}; load {}", load.trim());
}

fn messages(scale: &Scale, [own, nats, rabbit]: [&Contender; 3]) {
    // Looked at first: what follows is figures of systems that sync.
    println!(
        "syncs for a message, all processes of all nodes (strace -c -f), and files opened for synced writes"
    );
    for contender in [own, nats, rabbit] {
        synced(contender, Work::Publish, scale);
    }
    let row = |contender, work| Row { contender, how: "", work };
    for (clients, goal) in [(1, 1.0), (64, 1.3), (256, 1.3)] {
        let rows = [own, nats, rabbit].map(|contender| row(contender, Work::Publish));
        let what = format!("publish, {clients} clients");
        let _ = compare(&what, &rows, scale.of(clients), scale.rounds, Some(goal));
    }
    let gathered = Row { contender: own, how: ", 16 a request", work: Work::Stream(GATHERED) };
    let single = Row { contender: own, how: ", 1 a request", work: Work::Stream(1) };
    let rows = [gathered, row(nats, Work::Stream(1)), row(rabbit, Work::Stream(1)), single];
    let what = format!("publish, one stream, {WINDOW} under way");
    let _ = compare(&what, &rows, scale.of(WINDOW), scale.rounds, Some(1.5));
}

fn values(scale: &Scale, [own, redis]: [&Contender; 2]) {
    println!("syncs for a value that is set; Redis is one node");
    for contender in [own, redis] {
        synced(contender, Work::Set, scale);
    }
    let pairs =
        [(1, Work::Set, None), (64, Work::Set, Some(0.7)), (1, Work::Get, None), (64, Work::Get, None)];
    let mut rate = 0.0;
    for (clients, work, goal) in pairs {
        let rows = [own, redis].map(|contender| Row { contender, how: "", work });
        let what = format!("{}, {clients} clients", work.name());
        rate = compare(&what, &rows, scale.of(clients), scale.rounds, goal);
    }
    println!("  a second {}", verdict(rate, GETS_GOAL, rate >= GETS_GOAL));
}

fn synced(contender: &Contender, work: Work, scale: &Scale) {
    let one = syncs::count(contender, work, scale.of(1));
    let many = syncs::count(contender, work, scale.of(64));
    let files = syncs::synced_files(&contender.pids);
    assert!(one > 0.0 || files > 0, "{} acknowledges what it has not synced", contender.name);
    println!("  {:<24} 1 client {one:.2}, 64 clients {many:.3}, {files} files", contender.name);
}

/// A message runs a function.
fn runs(scale: &Scale, own: &Contender) {
    let began: Vec<_> =
        (0..scale.rounds).map(|_| own.measure(Work::Start, scale.of(scale.started))).collect();
    let of = |time: fn(&figures::Measured) -> Duration| {
        median(began.iter().map(|it| time(it).as_secs_f64() * 1e3))
    };
    let [p50, p99] = [of(|it| it.p50), of(|it| it.p99)];
    println!("publish to the function's begin, {} a second, ms", scale.started);
    println!("  p50 {}", verdict(p50, START_GOALS_MS[0], p50 <= START_GOALS_MS[0]));
    println!("  p99 {}", verdict(p99, START_GOALS_MS[1], p99 <= START_GOALS_MS[1]));
    let settled: Vec<_> =
        (0..scale.rounds).map(|_| own.measure(Work::Settle, scale.of(scale.settled))).collect();
    let rate = median(settled.iter().map(|it| it.rate));
    println!("publish, run and settle {} messages, a second", scale.settled);
    println!("  {}", verdict(rate, SETTLE_GOAL, rate >= SETTLE_GOAL));
}

async fn ticks(scale: &Scale, ours: &Ours) {
    let (late, ticks) = ours.ticks(scale.ticks).await;
    assert!(!late.is_empty(), "no schedule has ticked");
    let at = |part: usize| late[(late.len() - 1) * part / 100];
    println!("a hundred schedules of each second: {ticks} ticks, of {} the lateness is known", late.len());
    println!("  ms late: p50 {}, p99 {}, most {}", at(50), at(99), at(100));
}
