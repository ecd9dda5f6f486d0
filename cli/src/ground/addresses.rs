//! Which addresses a node binds: flag, then what it bound last time, then the default; kept in its data folder.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::DEFAULTS;
use crate::exit::{Exit, Failure};
use crate::os;

/// The file in the data folder.
pub(crate) const FILE: &str = "addresses";

/// One of a node's five ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// API, Raft, watch.
    Grpc,
    /// Metrics, health.
    Admin,
    /// Calls, artifacts, logs between nodes.
    Data,
    /// The gateway.
    Http,
    /// Data groups.
    Store,
}

impl Port {
    /// The flag that sets it.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::Grpc => "--grpc",
            Self::Admin => "--admin",
            Self::Data => "--data",
            Self::Http => "--http",
            Self::Store => "--store",
        }
    }

    const fn default(self) -> u16 {
        match self {
            Self::Grpc => DEFAULTS.grpc_port,
            Self::Admin => DEFAULTS.admin_port,
            Self::Data => DEFAULTS.data_port,
            Self::Http => DEFAULTS.http_port,
            Self::Store => DEFAULTS.store_port,
        }
    }
}

/// An address for each port that the node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addresses {
    /// See [`Port::Grpc`].
    pub(crate) grpc: Option<SocketAddr>,
    /// See [`Port::Admin`].
    pub(crate) admin: Option<SocketAddr>,
    /// See [`Port::Data`].
    pub(crate) data: Option<SocketAddr>,
    /// See [`Port::Http`].
    pub(crate) http: Option<SocketAddr>,
    /// See [`Port::Store`]. Files of older programs lack it.
    #[serde(default)]
    pub(crate) store: Option<SocketAddr>,
}

impl Addresses {
    /// The address of one port.
    pub(crate) const fn get(&self, port: Port) -> Option<SocketAddr> {
        match port {
            Port::Grpc => self.grpc,
            Port::Admin => self.admin,
            Port::Data => self.data,
            Port::Http => self.http,
            Port::Store => self.store,
        }
    }

    /// Which address to bind for a port that the node serves.
    pub(crate) fn choose(
        port: Port,
        flag: &Self,
        stored: &Self,
        insecure: bool,
    ) -> Result<SocketAddr, Failure> {
        let stored = stored.get(port);
        let address = match flag.get(port) {
            // Port 0 is any port, but a node that has one keeps it: others know it by that.
            Some(flag) if flag.port() == 0 => stored.filter(|kept| kept.ip() == flag.ip()).unwrap_or(flag),
            Some(flag) => flag,
            // A node that is opened to others keeps its port; the address that only it could reach would be of no use.
            None => match stored {
                Some(kept) if insecure && kept.ip().is_loopback() => {
                    SocketAddr::new(default_ip(insecure), kept.port())
                }
                Some(kept) => kept,
                None => SocketAddr::new(default_ip(insecure), port.default()),
            },
        };
        if insecure || address.ip().is_loopback() {
            return Ok(address);
        }
        Err(Failure::usage(format!(
            "{} {address}: other machines could reach it, and nothing is encrypted or checked yet; \
             give --insecure if your network protects it, or use a loopback address",
            port.flag()
        )))
    }

    /// Reads what was bound last time; nothing where the node never ran.
    pub(crate) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| damaged(&path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(damaged(&path, &error)),
            Err(error) => Err(Failure::local(path.display(), error)),
        }
    }

    /// Keeps what was bound.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(FILE);
        let text = toml::to_string(self).map_err(|error| Failure::local(path.display(), error))?;
        os::replace_file(&path, text.as_bytes()).map_err(|error| Failure::local(path.display(), error))
    }
}

/// Other ports than the last ones would be a surprise to whoever calls the node there: somebody must say which.
fn damaged(path: &Path, error: &impl std::fmt::Display) -> Failure {
    let sentence = format!(
        "{} is damaged: {}; remove it and start the node once with --grpc, --admin, --data, --http and --store as they were, \
         or without them for the default ports",
        path.display(),
        error.to_string().trim_end()
    );
    Failure::new(Exit::Config, sentence)
}

const fn default_ip(insecure: bool) -> IpAddr {
    IpAddr::V4(if insecure { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST })
}

/// Parses `HOST:PORT` where the host is an address or `localhost`, or a port alone.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(default_ip(false), port));
    }
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "expected ADDRESS:PORT, as in 127.0.0.1:7400".to_owned())
}

/// How others reach `bound`: the host that was said, or the address itself, or, where every address is
/// bound, the one from which `peer` is reached.
pub(crate) fn advertised(bound: SocketAddr, host: Option<&str>, peer: Option<&str>) -> String {
    match host {
        Some(host) => match host.parse() {
            Ok(ip) => SocketAddr::new(ip, bound.port()).to_string(),
            Err(_) => format!("{host}:{}", bound.port()),
        },
        None if bound.ip().is_unspecified() => SocketAddr::new(outward(peer), bound.port()).to_string(),
        None => bound.to_string(),
    }
}

/// Whether `text` names a host, without a port.
pub(crate) fn is_host(text: &str) -> bool {
    let named = |text: &str| {
        text.parse::<http::uri::Authority>()
            .is_ok_and(|it| it.port().is_none() && it.host() == text && !text.contains(':'))
    };
    text.parse::<IpAddr>().is_ok() || named(text)
}

/// Whether `HOST:PORT` leads to this machine only. A name that nobody knows yet is somewhere else.
pub(crate) fn is_here(peer: &str) -> bool {
    let mut found = peer.to_socket_addrs().into_iter().flatten().peekable();
    found.peek().is_some() && found.all(|address| address.ip().is_loopback())
}

/// Where this process itself reaches `bound`.
pub(crate) fn local(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), bound.port())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => bound,
    }
}

/// Any public address does: connecting a UDP socket sends nothing, it only asks the routing table.
const SOMEWHERE: &str = "192.0.2.1:9";

fn outward(peer: Option<&str>) -> IpAddr {
    let source = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(peer.unwrap_or(SOMEWHERE)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    source().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grpc(text: &str) -> Addresses {
        Addresses { grpc: Some(text.parse().unwrap()), ..Addresses::default() }
    }

    fn choose(flag: &Addresses, stored: &Addresses) -> String {
        Addresses::choose(Port::Grpc, flag, stored, false).unwrap().to_string()
    }

    #[test]
    fn what_was_bound_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Addresses::load(folder.path()).unwrap(), Addresses::default());
        let bound = grpc("127.0.0.1:41000");
        bound.save(folder.path()).unwrap();
        assert_eq!(Addresses::load(folder.path()).unwrap(), bound);
    }

    #[test]
    fn a_flag_wins_then_what_was_bound_then_the_default() {
        let (none, stored) = (Addresses::default(), grpc("127.0.0.1:41000"));
        assert_eq!(choose(&none, &none), "127.0.0.1:7400");
        assert_eq!(choose(&none, &stored), "127.0.0.1:41000");
        assert_eq!(choose(&grpc("127.0.0.1:5"), &stored), "127.0.0.1:5");
        assert_eq!(choose(&grpc("127.0.0.1:0"), &stored), "127.0.0.1:41000", "any port is the one it had");
        assert_eq!(choose(&grpc("127.0.0.1:0"), &none), "127.0.0.1:0");
    }

    #[test]
    fn a_node_that_is_opened_keeps_its_port() {
        let open = |stored| Addresses::choose(Port::Grpc, &Addresses::default(), &stored, true).unwrap();
        assert_eq!(open(grpc("127.0.0.1:41000")).to_string(), "0.0.0.0:41000");
        assert_eq!(open(grpc("10.0.0.5:41000")).to_string(), "10.0.0.5:41000");
    }

    #[test]
    fn hosts_and_places() {
        assert!(is_host("box") && is_host("10.0.0.1") && is_host("::1") && is_host("a.internal"));
        assert!(!is_host("box:7400") && !is_host("") && !is_host("a b") && !is_host("http://box"));
        assert!(is_here("127.0.0.1:1") && is_here("localhost:1") && is_here("[::1]:1"));
        assert!(!is_here("10.0.0.1:1") && !is_here("nowhere.invalid:1"));
        assert_eq!(advertised("0.0.0.0:5".parse().unwrap(), Some("fd00::1"), None), "[fd00::1]:5");
    }

    #[test]
    fn other_machines_reach_it_only_when_asked() {
        let none = Addresses::default();
        let error = Addresses::choose(Port::Grpc, &grpc("10.0.0.1:1"), &none, false).unwrap_err();
        assert!(error.message.contains("--grpc") && error.message.contains("--insecure"), "{error}");
        let open = Addresses::choose(Port::Http, &none, &none, true).unwrap();
        assert_eq!(open.to_string(), "0.0.0.0:8080");
    }

    #[test]
    fn a_damaged_file_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "grpc = 7").unwrap();
        assert!(Addresses::load(folder.path()).unwrap_err().message.contains("remove it and start"));
    }

    #[test]
    fn texts_of_people_are_understood() {
        assert_eq!(parse("7400").unwrap().to_string(), "127.0.0.1:7400");
        assert_eq!(parse("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(parse("[::1]:1").unwrap().to_string(), "[::1]:1");
        assert!(parse("nowhere").is_err());
        assert_eq!(advertised("0.0.0.0:5".parse().unwrap(), Some("box"), None), "box:5");
        assert_eq!(advertised("127.0.0.1:5".parse().unwrap(), None, None), "127.0.0.1:5");
    }
}
