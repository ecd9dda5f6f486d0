//! What a function's `hosts` grant.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is granted for a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// The host is named: it must be on the open Internet.
    Public,
    /// An address, or this machine, is named with its port: wherever it is.
    Anywhere,
}

/// Those that a host without a port grants: of http and of https.
const USUAL_PORTS: [u16; 2] = [80, 443];

/// Looks a host (as in a URI, an IPv6 address in brackets) up in `hosts`.
pub(super) fn granted(hosts: &[String], host: &str, port: u16) -> Option<Granted> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let with_port = format!("{host}:{port}");
    if hosts.iter().any(|granted| granted.eq_ignore_ascii_case(&with_port)) {
        return Some(if is_fixed(host) { Granted::Anywhere } else { Granted::Public });
    }
    let usual = USUAL_PORTS.contains(&port);
    (usual && hosts.iter().any(|granted| granted.eq_ignore_ascii_case(host))).then_some(Granted::Public)
}

/// Whether the grant itself says where it leads. Where any other name leads, whoever runs its zone decides.
fn is_fixed(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_whole_name() {
        let hosts = ["api.example.org", "localhost:8080", "[::1]:80", "10.0.0.1:80", "db.example.org:5432"];
        let hosts = hosts.map(str::to_owned);
        let granted = |host, port| granted(&hosts, host, port);
        assert_eq!(granted("api.example.org", 443), Some(Granted::Public));
        assert_eq!(granted("API.example.org.", 80), Some(Granted::Public));
        assert_eq!(granted("localhost", 8080), Some(Granted::Anywhere));
        assert_eq!(granted("[::1]", 80), Some(Granted::Anywhere));
        assert_eq!(granted("10.0.0.1", 80), Some(Granted::Anywhere));
        assert_eq!(
            granted("db.example.org", 5432),
            Some(Granted::Public),
            "its zone may say 169.254.169.254"
        );
        for (host, port) in [
            ("api.example.org", 22),
            ("api.example.org", 8080),
            ("localhost", 80),
            ("example.org", 443),
            ("xapi.example.org", 443),
            ("127.0.0.1", 8080),
        ] {
            assert_eq!(granted(host, port), None, "{host}:{port}");
        }
    }
}
