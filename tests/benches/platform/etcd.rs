//! The peer of the control plane: three nodes of etcd on the same machine and disk, loaded by etcd's own `benchmark`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coracle_tests::{Client, free_port, within};

use crate::writes::{Figures, To, counted};

/// Bytes of a value: about what a change of traffic has.
const VALUE_BYTES: &str = "64";

/// A put that has no answer by then is tried again: etcd keeps one for seconds whose leader is gone.
const TRY: Duration = Duration::from_millis(300);

/// A running cluster.
pub(crate) struct Etcd {
    nodes: Vec<Child>,
    commands: Vec<Vec<String>>,
    endpoints: Vec<String>,
    programs: PathBuf,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Etcd {
    /// Starts three nodes of the `etcd` in the folder that `CORACLE_ETCD` names, if it names one.
    pub(crate) async fn start(folder: &Path) -> Option<Self> {
        let programs = PathBuf::from(std::env::var("CORACLE_ETCD").ok()?);
        let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port())).collect();
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let members: Vec<_> =
            ports.iter().enumerate().map(|(index, (_, peer))| format!("e{index}={}", url(peer))).collect();
        let command = |(index, (client, peer)): (usize, &(u16, u16))| {
            let data = folder.join(format!("e{index}")).display().to_string();
            let name = format!("e{index}");
            let arguments = [
                ["--name", &name],
                ["--log-level", "error"],
                ["--data-dir", &data],
                ["--listen-client-urls", &url(client)],
                ["--advertise-client-urls", &url(client)],
                ["--listen-peer-urls", &url(peer)],
                ["--initial-advertise-peer-urls", &url(peer)],
                ["--initial-cluster", &members.join(",")],
            ];
            arguments.iter().flatten().map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        let commands: Vec<_> = ports.iter().enumerate().map(command).collect();
        let nodes = commands.iter().map(|command| spawn(&programs, command)).collect();
        let endpoints: Vec<_> = ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect();
        let etcd = Self { nodes, commands, endpoints, programs };
        let client = Client::new(Duration::from_secs(1));
        for endpoint in &etcd.endpoints {
            within(Duration::from_secs(20), "etcd is healthy", async || {
                let answer = client.get(&format!("http://{endpoint}/health")).await?;
                if answer.text().contains("true") { Ok(()) } else { Err(answer.text()) }
            })
            .await;
        }
        Some(etcd)
    }

    /// Which node leads.
    async fn leader(&self) -> usize {
        let pages: Vec<_> =
            self.endpoints.iter().map(|endpoint| format!("http://{endpoint}/metrics")).collect();
        within(Duration::from_secs(20), "etcd has a leader", async || {
            for (node, page) in pages.iter().enumerate() {
                if counted(std::slice::from_ref(page), "etcd_server_is_leader ").await > 0.0 {
                    return Ok(node);
                }
            }
            Err("nobody leads".to_owned())
        })
        .await
    }

    /// Puts of its own load generator, for about as long as `duration` if it is about as fast as `expected`.
    pub(crate) async fn put(&self, to: To, clients: usize, expected: f64, duration: Duration) -> Figures {
        let leader = self.leader().await;
        let node = if to == To::Leader { leader } else { (leader + 1) % 3 };
        let pages: Vec<_> =
            self.endpoints.iter().map(|endpoint| format!("http://{endpoint}/metrics")).collect();
        let name = "etcd_disk_wal_fsync_duration_seconds_count";
        let before = counted(&pages, name).await;
        let total = expected * duration.as_secs_f64();
        let (clients, count) = (clients.to_string(), format!("{total:.0}"));
        let output = Command::new(self.programs.join("benchmark"))
            .args(["--endpoints", &self.endpoints[node], "--conns", &clients, "--clients", &clients])
            .args(["put", "--val-size", VALUE_BYTES, "--key-space-size", "1000", "--total", &count])
            .output()
            .expect("etcd's benchmark runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let syncs = (counted(&pages, name).await - before) / total;
        let word = |line: &str| -> Option<f64> { line.split_whitespace().next()?.parse().ok() };
        let after = |what: &str| {
            let found = said.lines().find_map(|line| word(line.trim().strip_prefix(what)?));
            found.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        };
        let time = |what: &str| Duration::from_secs_f64(after(what));
        Figures { rate: after("Requests/sec:"), p50: time("50% in"), p99: time("99% in"), syncs }
    }

    /// How long nobody takes a put after the leader was killed.
    pub(crate) async fn gap(&mut self) -> Duration {
        let leader = self.leader().await;
        let others = [(leader + 1) % 3, (leader + 2) % 3].map(|node| self.endpoints[node].clone());
        let _ = self.nodes[leader].kill();
        let begin = Instant::now();
        let mut tries = tokio::task::JoinSet::new();
        for endpoint in others {
            tries.spawn(async move {
                let client = Client::new(TRY);
                let put = r#"{"key":"a2V5","value":"dmFsdWU="}"#;
                while client
                    .post(&format!("http://{endpoint}/v3/kv/put"), put)
                    .await
                    .map_or(true, |it| it.status != 200)
                {}
            });
        }
        tries.join_next().await.expect("a task").expect("its end");
        let gap = begin.elapsed();
        let _ = self.nodes[leader].wait();
        self.nodes[leader] = spawn(&self.programs, &self.commands[leader]);
        let client = Client::new(Duration::from_secs(1));
        within(Duration::from_secs(20), "etcd is whole again", async || {
            let answer = client.get(&format!("http://{}/health", self.endpoints[leader])).await?;
            if answer.text().contains("true") { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        gap
    }
}

fn spawn(programs: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(programs.join("etcd"));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts")
}
