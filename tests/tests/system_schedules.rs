//! Goal: a thousand schedules tick once at each of their times and at no other, through twenty losses: killed and stopped
//! leaders, and clocks that jump by an hour.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use coracle_tests::{Cluster, Options, Process, guest, within};
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const SCHEDULES: usize = 1000;
/// Each fires once in so many seconds, and they take turns: fifty calls a second.
const EVERY: usize = 20;
const LOSSES: usize = 20;
const HOUR: i64 = 3600;
/// A stopped process is taken for dead before it goes on.
const STOPPED: Duration = Duration::from_secs(3);
/// Until a wrong clock is right again: some ticks of each kind of second.
const WRONG: Duration = Duration::from_secs(4);
/// From a loss to the next one: a leader, and what has come due meanwhile.
const BETWEEN: Duration = Duration::from_secs(5);
/// All that was called has ended by then.
const ENDED: Duration = Duration::from_secs(60);
/// How late a tick may be undisturbed, and where a leader was lost: the 99th of a hundred.
const LATE_GOAL_MS: u64 = 250;
const LOST_GOAL_MS: u64 = 3000;

/// All of them, by name; an error where nobody answers just now.
async fn list(cluster: &Cluster) -> Result<BTreeMap<String, Value>, String> {
    let listed = cluster.run(&["schedule", "list", "-o", "json", "--wait-timeout", "5s"]).await;
    let all: Vec<Value> = serde_json::from_str(&listed.stdout).map_err(|_| listed.stderr)?;
    Ok(all.into_iter().map(|row| (row["schedule"].as_str().expect("a name").to_owned(), row)).collect())
}

/// Ticks of all of them together.
fn sum(all: &BTreeMap<String, Value>) -> u64 {
    all.values().map(|row| row["ticks"].as_u64().expect("a count")).sum()
}

/// Waits until so many more have come.
async fn more(cluster: &Cluster, ticks: u64, goal: Duration) -> BTreeMap<String, Value> {
    let before = sum(&within(BETWEEN, "somebody answers", async || list(cluster).await).await);
    within(goal, &format!("{ticks} more ticks have come"), async || {
        let all = list(cluster).await?;
        let now = sum(&all);
        if now >= before + ticks { Ok(all) } else { Err(format!("{} have", now - before)) }
    })
    .await
}

/// The lateness of each one's last tick, in order.
fn lateness(all: &BTreeMap<String, Value>) -> Vec<u64> {
    let mut late: Vec<_> = all.values().filter_map(|row| row["late_ms"].as_u64()).collect();
    late.sort_unstable();
    late
}

fn p99(late: &[u64]) -> u64 {
    late.get(late.len() * 99 / 100).copied().unwrap_or_default()
}

/// A project of so many schedules of one function.
fn project(cluster: &Cluster) -> String {
    let folder = cluster.folder().join("project");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::copy(guest("c-wc.wasm"), folder.join("wc.wasm")).expect("a copy");
    let mut manifest = "[function.wc]\ncomponent = 'wc.wasm'\n".to_owned();
    for number in 0..SCHEDULES {
        let turn = number % EVERY;
        let seconds: Vec<_> = (turn..60).step_by(EVERY).map(|second| second.to_string()).collect();
        let cron = format!("{} * * * * *", seconds.join(","));
        write!(manifest, "[schedule.s-{number}]\ncron = '{cron}'\nfunction = 'wc'\nmissed = 'all'\n")
            .expect("a text takes it");
    }
    std::fs::write(folder.join("coracle.toml"), manifest).expect("written");
    folder.display().to_string()
}

/// When each fires first, as the deploy has told it: seconds of the day.
fn firsts(told: &str) -> BTreeMap<String, i64> {
    let first = |line: &str| {
        let (name, rest) = line.split_once("schedule ")?.1.split_once(' ')?;
        let at = rest.split_once("fires next at ")?.1;
        let name = name.rsplit('/').next().unwrap_or(name);
        Some((name.to_owned(), seconds(&at.trim().into())))
    };
    told.lines().filter_map(first).collect()
}

/// Seconds of the day of a moment in RFC 3339.
fn seconds(moment: &Value) -> i64 {
    let text = moment.as_str().unwrap_or_else(|| panic!("{moment} is no moment"));
    let part = |from: usize| text[from..from + 2].parse::<i64>().expect("two digits");
    part(11) * HOUR + part(14) * 60 + part(17)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_schedules_tick_once_through_twenty_losses() {
    let options = Options { nodes: 3, stores: true, clocks: true, ..Options::default() };
    let cluster = Cluster::with(PROGRAM, options).await;
    let _ = cluster.leading_store(3).await;
    let made = cluster.run(&["deploy", &project(&cluster), "--wait-timeout", "5m"]).await.ok();
    let first = firsts(&made.stderr);
    assert_eq!(first.len(), SCHEDULES, "{}", made.stderr);
    let quiet = more(&cluster, SCHEDULES as u64, Duration::from_secs(30)).await;
    println!("undisturbed: lateness p99 {} ms (goal {LATE_GOAL_MS})", p99(&lateness(&quiet)));

    let mut lost = Vec::new();
    for loss in 0..LOSSES {
        let leader = cluster.leading_store(3).await;
        let kind = match loss % 5 {
            0 | 3 => {
                cluster.nodes[leader].signal(Process::Store, Signal::KILL);
                "killed"
            }
            1 => {
                cluster.nodes[leader].signal(Process::Store, Signal::STOP);
                tokio::time::sleep(STOPPED).await; // a bounded poll: it is how long the process stands still
                cluster.nodes[leader].signal(Process::Store, Signal::CONT);
                "stopped"
            }
            turn => {
                let (node, hours) = if turn == 2 { (leader, 1) } else { ((leader + 1 + loss % 2) % 3, -1) };
                cluster.nodes[node].shift_clock(hours * HOUR);
                tokio::time::sleep(WRONG).await; // a bounded poll: it is how long the clock is wrong
                cluster.nodes[node].shift_clock(0);
                "an hour wrong"
            }
        };
        let all = more(&cluster, 50, BETWEEN).await;
        println!("loss {loss}: {kind}");
        lost.extend(all.values().filter_map(|row| row["late_ms"].as_u64()));
    }
    lost.sort_unstable();
    println!("through {LOSSES} losses: lateness p99 {} ms (goal {LOST_GOAL_MS})", p99(&lost));
    // Those that have had their turn since: what was late has come.
    let _ = more(&cluster, SCHEDULES as u64, Duration::from_secs(30)).await;
    let paused = cluster.run(&["schedule", "list", "-o", "name"]).await.ok().stdout;
    for names in paused.lines().collect::<Vec<_>>().chunks(50) {
        let pause = names.iter().map(|name| async { cluster.run(&["schedule", "pause", name]).await.ok() });
        let _ = futures::future::join_all(pause).await;
    }

    let all = list(&cluster).await.expect("a list");
    assert_eq!(all.len(), SCHEDULES);
    for (name, row) in &all {
        let expected = (seconds(&row["last"]) - first[name]).rem_euclid(24 * HOUR) / EVERY as i64 + 1;
        assert_eq!(row["ticks"].as_i64(), Some(expected), "{name}, second {} at first: {row}", first[name]);
        assert_eq!((&row["missed_ticks"], &row["skipped"]), (&0.into(), &0.into()), "{name}: {row}");
    }
    let ticks = sum(&all);
    let called = within(ENDED, "all that was called has succeeded", async || {
        let list = ["invocation", "list", "--function", "wc", "--limit", "100000", "-o", "json"];
        let all = cluster.run(&list).await.ok().json().as_array().expect("a list").clone();
        let open = all.iter().filter(|it| it["state"] != "succeeded").count();
        if open == 0 { Ok(all) } else { Err(format!("{open} of {} have not", all.len())) }
    })
    .await;
    println!("{ticks} ticks, {} calls", called.len());
    assert_eq!(called.len() as u64, ticks, "each tick was one call");
}
