//! Goal: schedules fire at their times and at no others, each once, whoever dies; and what could never fire is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_tests::{Cluster, Options, Process, guest, within};
use futures::future::join_all;
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// Schedules of every second.
const SCHEDULES: usize = 50;
/// How often the leading store is lost, in turns killed and stopped for a while.
const LOSSES: usize = 4;
/// Without a leader: an election, and a process that begins again.
const LOSS: Duration = Duration::from_secs(5);
/// A stopped process is taken for dead before it goes on.
const STOPPED: Duration = Duration::from_secs(3);
/// All that was called has ended by then.
const ENDED: Duration = Duration::from_secs(30);

async fn cluster(nodes: usize) -> Cluster {
    let cluster = Cluster::with(PROGRAM, Options { nodes, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(nodes.min(3)).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    cluster
}

/// `coracle schedule create NAME --function wc -o json`.
async fn create(cluster: &Cluster, name: &str, cron: &str, more: &[&str]) -> Value {
    let command = ["schedule", "create", name, "--cron", cron, "--function", "wc", "-o", "json"];
    cluster.run(&[&command[..], more].concat()).await.ok().json()
}

async fn get(cluster: &Cluster, name: &str) -> Value {
    cluster.run(&["schedule", "get", name, "-o", "json"]).await.ok().json()
}

/// All of them, by name; an error where nobody answers just now.
async fn list(cluster: &Cluster) -> Result<BTreeMap<String, Value>, String> {
    let listed = cluster.run(&["schedule", "list", "-o", "json", "--wait-timeout", "5s"]).await;
    let all: Vec<Value> = serde_json::from_str(&listed.stdout).map_err(|_| listed.stderr)?;
    Ok(all.into_iter().map(|row| (row["schedule"].as_str().unwrap().to_owned(), row)).collect())
}

/// Invocations of the function, as many as there are.
async fn invocations(cluster: &Cluster) -> Vec<Value> {
    let list = ["invocation", "list", "--function", "wc", "--limit", "100000", "-o", "json"];
    cluster.run(&list).await.ok().json().as_array().unwrap().clone()
}

/// Seconds of the day of a moment in RFC 3339.
fn seconds(moment: &Value) -> i64 {
    let text = moment.as_str().unwrap_or_else(|| panic!("{moment} is no moment"));
    let part = |from: usize| text[from..from + 2].parse::<i64>().unwrap();
    part(11) * 3600 + part(14) * 60 + part(17)
}

/// From one moment to a later one, within a day.
fn between(from: &Value, to: &Value) -> i64 {
    (seconds(to) - seconds(from)).rem_euclid(24 * 60 * 60)
}

/// Waits until each has fired at least so often.
async fn ticks(cluster: &Cluster, goal: Duration, least: impl Fn(&str) -> u64) -> BTreeMap<String, Value> {
    within(goal, "each schedule has fired", async || {
        let all = list(cluster).await?;
        let behind = all.iter().find(|(name, row)| row["ticks"].as_u64() < Some(least(name)));
        match behind {
            None => Ok(all),
            Some((_, row)) => Err(row.to_string()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_second_has_one_tick_of_each_whoever_is_lost() {
    let cluster = cluster(3).await;
    let names: Vec<_> = (0..SCHEDULES).map(|number| format!("s-{number}")).collect();
    let mut first = BTreeMap::new();
    for some in names.chunks(10) {
        let made =
            join_all(some.iter().map(|name| create(&cluster, name, "* * * * * *", &["--missed", "all"])));
        first.extend(some.iter().cloned().zip(made.await.into_iter().map(|made| made["next"][0].clone())));
    }
    let mut last = ticks(&cluster, LOSS, |_| 3).await;
    for loss in 0..LOSSES {
        let leader = cluster.leading_store(3).await;
        let node = &cluster.nodes[leader];
        let stops = loss % 2 == 1;
        node.signal(Process::Store, if stops { Signal::STOP } else { Signal::KILL });
        if stops {
            tokio::time::sleep(STOPPED).await; // a bounded poll: it is how long the process stands still
            node.signal(Process::Store, Signal::CONT);
        }
        // Some of these are of the time without a leader.
        last = ticks(&cluster, LOSS * 2, |name| last[name]["ticks"].as_u64().unwrap() + 5).await;
    }
    for some in names.chunks(10) {
        let paused = some.iter().map(|name| async { cluster.run(&["schedule", "pause", name]).await.ok() });
        let _ = join_all(paused).await;
    }
    let all = list(&cluster).await.unwrap();
    assert_eq!(all.len(), SCHEDULES);
    let mut sum = 0;
    for (name, row) in &all {
        let expected = between(&first[name], &row["last"]) + 1;
        assert_eq!(row["ticks"].as_i64(), Some(expected), "since {}: {row}", first[name]);
        assert_eq!((&row["missed_ticks"], &row["skipped"]), (&0.into(), &0.into()), "{row}");
        sum += usize::try_from(expected).unwrap();
    }
    println!("{sum} ticks through {LOSSES} losses");
    let called = within(ENDED, "all that was called has succeeded", async || {
        let all = invocations(&cluster).await;
        let open = all.iter().filter(|it| it["state"] != "succeeded").count();
        if open == 0 { Ok(all) } else { Err(format!("{open} of {} have not", all.len())) }
    })
    .await;
    assert!(called.iter().all(|it| it["kind"] == "schedule"), "nothing else was called");
    assert_eq!(called.len(), sum, "each tick was one call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_paused_resumed_triggered_and_deleted() {
    let cluster = cluster(3).await;
    let more =
        ["--zone", "Europe/Berlin", "--data", "one two three", "--missed", "skip", "--overlap", "forbid"];
    let made = create(&cluster, "nightly", "0 3 * * *", &more).await;
    let told =
        ["cron", "zone", "function", "data", "missed", "overlap"].map(|field| made[field].as_str().unwrap());
    assert_eq!(told, ["0 3 * * *", "Europe/Berlin", "wc", "one two three", "skip", "forbid"]);
    assert_eq!(made["next"].as_array().unwrap().len(), 3, "{made}");
    assert_eq!((&made["ticks"], &made["last"], &made["paused"]), (&0.into(), &Value::Null, &false.into()));

    let fired = cluster.run(&["schedule", "trigger", "nightly", "-o", "name"]).await.ok();
    let done = cluster.run(&["invocation", "wait", fired.stdout.trim()]).await.ok();
    assert!(done.stdout.contains("\"words\":3"), "{done:?}");
    let shown = get(&cluster, "nightly").await;
    assert_eq!((&shown["invocation"], &shown["ticks"]), (&fired.stdout.trim().into(), &0.into()), "{shown}");

    // Another one, which fires: without a call nothing of its function is kept running.
    create(&cluster, "often", "* * * * * *", &[]).await;
    let rows = within(LOSS, "it fires", async || {
        let rows = list(&cluster).await?;
        if rows["often"]["ticks"].as_u64() >= Some(2) { Ok(rows) } else { Err(rows["often"].to_string()) }
    })
    .await;
    assert!(rows["often"]["late_ms"].as_u64() < Some(3000), "{}", rows["often"]);
    let _ = cluster.run(&["schedule", "pause", "often"]).await.ok();
    let paused = get(&cluster, "often").await;
    let _ = cluster.run(&["schedule", "trigger", "often"]).await.ok();
    let later = get(&cluster, "often").await;
    assert_eq!((&later["ticks"], &later["paused"]), (&paused["ticks"], &true.into()), "{later}");
    let _ = cluster.run(&["schedule", "resume", "often"]).await.ok();
    let resumed = within(LOSS, "it fires again", async || {
        let shown = get(&cluster, "often").await;
        if shown["ticks"].as_u64() > paused["ticks"].as_u64() { Ok(shown) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(resumed["missed_ticks"], 0, "the time of the pause is no loss: {resumed}");
    // It is told anew, and goes on as the same one.
    let told = create(&cluster, "often", "* * * * * *", &["--data", "other"]).await;
    assert!(told["ticks"].as_u64() >= resumed["ticks"].as_u64(), "{told}");

    let asked = cluster.run(&["schedule", "delete", "often"]).await.failed_with(1);
    assert!(asked.stderr.contains("give -y"), "{asked:?}");
    for name in ["often", "nightly"] {
        let _ = cluster.run(&["schedule", "delete", name, "-y"]).await.ok();
    }
    assert_eq!(cluster.run(&["schedule", "list", "-o", "json"]).await.ok().stdout.trim(), "[]");
    for verb in ["get", "pause", "resume", "trigger"] {
        let gone = cluster.run(&["schedule", verb, "often"]).await.failed_with(6);
        assert!(gone.stderr.contains("schedule-not-found"), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_fire_is_refused_by_name() {
    let cluster = cluster(3).await;
    for (cron, zone, function, code, sentence) in [
        ("0 0 30 2 *", "UTC", "wc", 4, "'0 0 30 2 *' never fires"),
        ("* * * *", "UTC", "wc", 4, "'* * * *' is no cron expression"),
        ("* * * * *", "Europe/Atlantis", "wc", 4, "there is no time zone 'Europe/Atlantis'"),
        ("* * * * *", "UTC", "nobody", 6, "function-not-found"),
    ] {
        let command = ["schedule", "create", "x", "--cron", cron, "--zone", zone, "--function", function];
        let refused = cluster.run(&command).await.failed_with(code);
        assert!(refused.stderr.contains(sentence) && refused.stdout.is_empty(), "{refused:?}");
    }
    assert_eq!(cluster.run(&["schedule", "list", "-o", "json"]).await.ok().stdout.trim(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_makes_and_changes_schedules() {
    let cluster = cluster(3).await;
    let project = cluster.folder().join("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::copy(guest("c-wc.wasm"), project.join("wc.wasm")).unwrap();
    let deploy = async |schedules: &str| {
        let manifest = format!("[function.wc]\ncomponent = 'wc.wasm'\n{schedules}");
        std::fs::write(project.join("coracle.toml"), manifest).unwrap();
        cluster.run(&["deploy", project.to_str().unwrap()]).await
    };
    let nightly = |cron: &str| format!("[schedule.nightly]\ncron = '{cron}'\nfunction = 'wc'\n");
    let refused = deploy(&nightly("0 0 31 2 *")).await.failed_with(4);
    assert!(refused.stderr.contains("never fires"), "{refused:?}");
    let made = deploy(&nightly("0 3 * * *")).await.ok();
    assert!(made.stderr.contains("schedule nightly is made; it fires next at "), "{made:?}");
    let same = deploy(&nightly("0 3 * * *")).await.ok();
    assert!(same.stderr.contains("schedule nightly is unchanged"), "{same:?}");
    let other = deploy(&nightly("0 4 * * *")).await.ok();
    assert!(other.stderr.contains("schedule nightly is changed: cron; it fires next at "), "{other:?}");
    let second = "[schedule.weekly]\ncron = '@weekly'\nfunction = 'wc'\n";
    let kept = deploy(second).await.ok();
    assert!(kept.stderr.contains("note: schedule nightly is not named here, and stays"), "{kept:?}");
    assert_eq!(list(&cluster).await.unwrap().len(), 2);
}
