//! What a function's `hosts` grant.

/// What is granted for a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// The host is named: it must be on the open Internet.
    Public,
    /// Host and port are named: wherever it is.
    Anywhere,
}

/// Looks a host (as in a URI, an IPv6 address in brackets) up in `hosts`.
pub(super) fn granted(hosts: &[String], host: &str, port: u16) -> Option<Granted> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let with_port = format!("{host}:{port}");
    if hosts.iter().any(|granted| granted.eq_ignore_ascii_case(&with_port)) {
        return Some(Granted::Anywhere);
    }
    hosts.iter().any(|granted| granted.eq_ignore_ascii_case(host)).then_some(Granted::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_whole_name() {
        let hosts = ["api.example.org".to_owned(), "localhost:8080".to_owned(), "[::1]:80".to_owned()];
        let granted = |host, port| granted(&hosts, host, port);
        assert_eq!(granted("api.example.org", 443), Some(Granted::Public));
        assert_eq!(granted("API.example.org.", 80), Some(Granted::Public));
        assert_eq!(granted("localhost", 8080), Some(Granted::Anywhere));
        assert_eq!(granted("[::1]", 80), Some(Granted::Anywhere));
        for (host, port) in
            [("localhost", 80), ("example.org", 443), ("xapi.example.org", 443), ("127.0.0.1", 8080)]
        {
            assert_eq!(granted(host, port), None, "{host}:{port}");
        }
    }
}
