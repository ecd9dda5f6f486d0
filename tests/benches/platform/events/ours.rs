//! Ourselves: three nodes with stores, the queues and the bucket that are loaded, and schedules that tick.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::queues_client::QueuesClient;
use coracle_tests::{Cluster, Options, Process, guest, wat};
use serde_json::Value;

use super::figures::Contender;
use super::load::{Amount, Target, Work};
use super::{BYTES, calls};

/// As many as a queue may have: nobody takes what is published.
const MESSAGES_MAX: u64 = 10_000_000;
const BYTES_MAX: u64 = 64 << 30;
/// Bucket, and the queue that nobody takes from.
const NAME: &str = "bench";
/// Schedules that fire each second.
const SCHEDULES: u64 = 100;
/// A tick is told of until the next one: twice a second none is missed.
const LOOK: Duration = Duration::from_millis(500);

/// A running cluster.
pub(crate) struct Ours {
    cluster: Cluster,
    target: Target,
    pids: Vec<i32>,
}

impl Ours {
    /// Starts it, with a queue that nobody takes from, one whose function tells when it began, and one whose function says hello.
    pub(crate) async fn start() -> Self {
        let options = Options { nodes: 3, stores: true, ..Options::default() };
        let cluster = Cluster::with(crate::PROGRAM, options).await;
        let clock = wat::write(cluster.folder(), "clock", calls::CLOCK);
        cluster.deploy("clock", &clock, &["--concurrency", "100"]).await;
        cluster.deploy("hello", &guest("hello-min.component.wasm"), &["--concurrency", "100"]).await;
        let _ = cluster.run(&["kv", "create", &format!("default/{NAME}")]).await.ok();
        let leader = cluster.leading_store(3).await;
        let groups = cluster.run(&["cluster", "groups", "-o", "json"]).await.ok().json();
        let mut admin = AdminClient::connect(format!("http://{}", cluster.nodes[0].grpc)).await.unwrap();
        let info = admin.info(pb::InfoRequest {}).await.unwrap().into_inner();
        let target = Target {
            store: cluster.nodes[leader].store.clone(),
            cluster_id: info.cluster_id,
            group: groups[0]["group"].as_u64().and_then(|it| u32::try_from(it).ok()).expect("a group"),
            name: NAME.into(),
        };
        for (name, function) in [(NAME, ""), ("start", "clock"), ("settle", "hello")] {
            queue(&target, name, function).await;
        }
        let all = [Process::Supervisor, Process::Controller, Process::DataPlane, Process::Store];
        let of = |node: &coracle_tests::Node| all.map(|process| node.pid(process).expect("it runs"));
        let pids = cluster.nodes.iter().flat_map(of).collect();
        Self { cluster, target, pids }
    }

    /// As one that is loaded at its leading store: its queue or bucket, or the queue of what is run.
    pub(crate) fn contender(&self) -> Contender {
        let target = self.target.clone();
        let command = move |work: Work, amount: Amount| {
            let name = match work {
                Work::Start | Work::Settle => work.name(),
                Work::Publish | Work::Stream(_) | Work::Set | Work::Get => NAME.to_owned(),
            };
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            let target = Target { name, ..target.clone() };
            command.arg(crate::EVENTS).args(target.arguments(work, amount, BYTES));
            command
        };
        Contender { name: "coracle", pids: self.pids.clone(), command: Box::new(command) }
    }

    /// How late each tick of a hundred schedules of each second was, for so long; and how many there were.
    pub(crate) async fn ticks(&self, duration: Duration) -> (Vec<u64>, u64) {
        let made = self.cluster.run(&["deploy", &self.project(), "--wait-timeout", "5m"]).await.ok();
        assert!(made.stderr.contains("schedule"), "{}", made.stderr);
        let mut last = self.schedules().await;
        let before = sum(&last);
        let mut late = Vec::new();
        let mut looks = tokio::time::interval(LOOK);
        for _ in 0..duration.as_millis() / LOOK.as_millis() {
            let _ = looks.tick().await;
            let now = self.schedules().await;
            let moved = now.iter().filter(|(name, row)| row["last"] != last[*name]["last"]);
            late.extend(moved.filter_map(|(_, row)| row["late_ms"].as_u64()));
            last = now;
        }
        late.sort_unstable();
        (late, sum(&last) - before)
    }

    fn project(&self) -> String {
        let folder = self.cluster.folder().join("project");
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::copy(guest("hello-min.component.wasm"), folder.join("hello.wasm")).expect("a copy");
        let mut manifest = "[function.ticked]\ncomponent = 'hello.wasm'\n".to_owned();
        for number in 0..SCHEDULES {
            write!(manifest, "[schedule.s-{number}]\ncron = '* * * * * *'\nfunction = 'ticked'\n")
                .expect("a text takes it");
        }
        std::fs::write(folder.join("coracle.toml"), manifest).expect("written");
        folder.display().to_string()
    }

    async fn schedules(&self) -> BTreeMap<String, Value> {
        let listed = self.cluster.run(&["schedule", "list", "-o", "json"]).await.ok().json();
        let rows = listed.as_array().expect("a list").iter();
        rows.map(|row| (row["schedule"].as_str().expect("a name").to_owned(), row.clone())).collect()
    }
}

fn sum(all: &BTreeMap<String, Value>) -> u64 {
    all.values().filter_map(|row| row["ticks"].as_u64()).sum()
}

async fn queue(target: &Target, name: &str, function: &str) {
    let spec = pb::QueueSpec {
        function: function.into(),
        messages_max: MESSAGES_MAX,
        bytes_max: BYTES_MAX,
        ..pb::QueueSpec::default()
    };
    let asked = pb::PutQueueRequest {
        place: target.place(),
        request: None,
        queue: name.into(),
        spec: Some(spec),
        dry_run: false,
    };
    let _ = QueuesClient::new(target.connect().await).put(asked).await.expect("a queue");
}
