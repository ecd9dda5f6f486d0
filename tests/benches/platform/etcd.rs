//! The peer of the control plane: three nodes of etcd on the same machine and disk, loaded by etcd's own `benchmark`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::{Client, free_port, within};

/// Bytes of a value: about what a change of traffic has.
const VALUE_BYTES: &str = "64";

/// A running cluster.
pub(crate) struct Etcd {
    nodes: Vec<Child>,
    endpoints: String,
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
        let start = |(index, (client, peer)): (usize, &(u16, u16))| {
            Command::new(programs.join("etcd"))
                .args(["--name", &format!("e{index}"), "--log-level", "error"])
                .arg("--data-dir")
                .arg(folder.join(format!("e{index}")))
                .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
                .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
                .args(["--initial-cluster", &members.join(",")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts")
        };
        let nodes = ports.iter().enumerate().map(start).collect();
        let endpoints: Vec<_> = ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect();
        let etcd = Self { nodes, endpoints: endpoints.join(","), programs };
        let client = Client::new(Duration::from_secs(1));
        for endpoint in &endpoints {
            within(Duration::from_secs(20), "etcd is healthy", async || {
                let answer = client.get(&format!("http://{endpoint}/health")).await?;
                if answer.text().contains("true") { Ok(()) } else { Err(answer.text()) }
            })
            .await;
        }
        Some(etcd)
    }

    /// Puts a second at the leader, for about as long as `duration` if it is about as fast as `expected`.
    pub(crate) fn put(&self, clients: usize, expected: f64, duration: Duration) -> f64 {
        let clients = clients.to_string();
        let total = format!("{:.0}", expected * duration.as_secs_f64());
        let output = Command::new(self.programs.join("benchmark"))
            .args([
                "--endpoints",
                &self.endpoints,
                "--target-leader",
                "--conns",
                &clients,
                "--clients",
                &clients,
            ])
            .args(["put", "--val-size", VALUE_BYTES, "--key-space-size", "1000", "--total", &total])
            .output()
            .expect("etcd's benchmark runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        rate.and_then(|rate| rate.trim().parse().ok())
            .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}
