//! A network namespace for each node, joined by a bridge, so that what passes between two of them can be cut. Needs root and `ip`
//! (Debian: iproute2).

use std::process::Command;

/// Namespaces, and the bridge that this process is at too. All of it ends with this.
#[derive(Debug)]
pub struct Network {
    name: String,
    /// The first three numbers of all addresses.
    prefix: String,
    nodes: usize,
}

/// The last number of this process's own address.
const SELF: usize = 254;

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        let number: u16 = rand::random();
        let prefix = format!("10.{}.{}", 64 + number / 256 % 64, number % 256);
        let network = Self { name: format!("ct{number:04x}"), prefix, nodes };
        let bridge = &network.name;
        ip(&["link", "add", bridge, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", network.address(SELF)), "dev", bridge]);
        ip(&["link", "set", bridge, "up"]);
        for node in 0..nodes {
            let (space, port) = (network.space(node), format!("{bridge}v{node}"));
            ip(&["netns", "add", &space]);
            ip(&["link", "add", &port, "type", "veth", "peer", "name", "e0", "netns", &space]);
            ip(&["link", "set", &port, "master", bridge, "up"]);
            ip(&["-n", &space, "addr", "add", &format!("{}/24", network.address(node)), "dev", "e0"]);
            ip(&["-n", &space, "link", "set", "e0", "up"]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        network
    }

    fn space(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: usize) -> String {
        let last = if node == SELF { SELF } else { node + 1 };
        format!("{}.{last}", self.prefix)
    }

    /// What comes before a command that a node is to run.
    pub(crate) fn within(&self, node: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(node)].map(str::to_owned).to_vec()
    }

    /// Nothing passes between these two, either way, until all is healed; others and this process reach both.
    ///
    /// # Panics
    /// When that cannot be told the kernel.
    pub fn cut(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            let to = format!("{}/32", self.address(to));
            ip(&["-n", &self.space(from), "route", "replace", "blackhole", &to]);
        }
    }

    /// Everything passes again.
    ///
    /// # Panics
    /// When that cannot be told the kernel.
    pub fn heal(&self) {
        for node in 0..self.nodes {
            ip(&["-n", &self.space(node), "route", "flush", "type", "blackhole"]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Whatever of it was made.
        for node in 0..self.nodes {
            let _ = Command::new("ip").args(["netns", "del", &self.space(node)]).output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("ip (Debian: iproute2) runs");
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {wrong} (it takes root)", words.join(" "));
}
