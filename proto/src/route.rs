//! Routes: which host and path belong to a function; the most specific one wins.

mod grant;

use std::fmt;
use std::str::FromStr;

pub use grant::RouteGrant;

use crate::spec::{ROUTE_HOST_MAX, ROUTE_PATH_MAX, SpecError};

/// Paths below it are the platform's own.
pub const RESERVED_PREFIX: &str = "/.coracle";

/// How a route's path is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// The whole path is the same.
    Exact,
    /// The path is the same or continues with '/'.
    Prefix,
}

/// A host and a path. Text form: `[HOST]/PATH` is exact, `[HOST]/PATH/*` is the path and all below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteSpec {
    host: String,
    path: String,
    matching: Match,
}

impl RouteSpec {
    /// A route of `host` (empty: every host) and `path`. A prefix is kept without any '/' at its end, so that
    /// a stored route that is read again, as often as may be, stays the same.
    ///
    /// # Errors
    /// When the path does not begin with '/', holds what no path holds, or is reserved.
    pub fn new(host: &str, path: &str, matching: Match) -> Result<Self, SpecError> {
        let wrong = |reason: &str| Err(SpecError::new("routes", format!("'{host}{path}': {reason}")));
        if host.len() > ROUTE_HOST_MAX
            || host.bytes().any(|byte| byte <= b' ' || matches!(byte, b':' | b'/' | b'*'))
        {
            return wrong("the host is a plain name without port");
        }
        if !path.starts_with('/') || path.len() > ROUTE_PATH_MAX {
            return wrong("the path begins with '/' and has at most 1024 bytes");
        }
        if path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || matches!(byte, b'?' | b'#' | b'*')) {
            return wrong("the path is percent-encoded, and '*' stands only at the end, after '/'");
        }
        if path == RESERVED_PREFIX || path.starts_with("/.coracle/") {
            return wrong("paths below /.coracle belong to the platform");
        }
        let path = match matching {
            Match::Exact => path,
            Match::Prefix => path.trim_end_matches('/'),
        };
        Ok(Self { host: host.to_ascii_lowercase(), path: path.to_owned(), matching })
    }

    /// One that was let in before: asked of it is only that its text can be read back, as in the key under which it stands.
    ///
    /// # Errors
    /// When it cannot.
    pub fn stored(host: &str, path: &str, matching: Match) -> Result<Self, SpecError> {
        let path = match matching {
            Match::Exact => path,
            Match::Prefix => path.trim_end_matches('/'),
        };
        let rooted = path.starts_with('/') || (path.is_empty() && matching == Match::Prefix);
        let as_prefix = matching == Match::Exact && path.ends_with("/*");
        if host.contains('/') || !rooted || as_prefix {
            return Err(SpecError::new("routes", format!("'{host}{path}' is no route")));
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned(), matching })
    }

    /// The host in lower case; empty for every host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path; of a prefix without any '/' at its end, so that the prefix of everything is empty.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How the path is compared.
    #[must_use]
    pub fn matching(&self) -> Match {
        self.matching
    }

    /// Whether a request of this host (lower case, no port) and path is meant.
    #[must_use]
    pub fn matches(&self, host: &str, path: &str) -> bool {
        if !self.host.is_empty() && self.host != host {
            return false;
        }
        match self.matching {
            Match::Exact => path == self.path,
            Match::Prefix => path
                .strip_prefix(self.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Orders routes by how specific they are, the greatest first choice: a host before none, the
    /// longer path before the shorter, exact before prefix.
    #[must_use]
    pub fn specificity(&self) -> (bool, usize, bool) {
        (!self.host.is_empty(), self.path.len(), self.matching == Match::Exact)
    }

    /// The same path of another host; of an empty one: of every host.
    #[must_use]
    pub fn at_host(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// The prefixes of the same host that have all of it, the most specific one first. A prefix is none of its own.
    pub fn above(&self) -> impl Iterator<Item = Self> + '_ {
        let own = (self.matching == Match::Exact).then_some(self.path.as_str());
        let slashes = self.path.rmatch_indices('/').map(|(at, _)| at);
        let above = slashes.filter_map(|at| self.path.get(..at));
        let prefix =
            |path: &str| Self { path: path.to_owned(), matching: Match::Prefix, host: self.host.clone() };
        // A path that ends with '/' is below what stands before that.
        let own = own.filter(|path| !path.ends_with('/'));
        own.into_iter().chain(above).map(prefix)
    }

    /// Whether some request is meant by both, and this one is the more specific: it gets calls that the other one would
    /// get without it.
    #[must_use]
    pub fn takes_from(&self, other: &Self) -> bool {
        let hosts = self.host == other.host || self.host.is_empty() || other.host.is_empty();
        hosts && self.specificity() > other.specificity() && (other.reaches(self) || self.reaches(other))
    }

    /// Whether the other one's path is the same or lies below this one's.
    fn reaches(&self, other: &Self) -> bool {
        self.at_host("").matches("", &other.path)
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matching {
            Match::Exact => write!(f, "{}{}", self.host, self.path),
            Match::Prefix => write!(f, "{}{}/*", self.host, self.path),
        }
    }
}

impl FromStr for RouteSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::read(text, Self::new)
    }
}

impl RouteSpec {
    /// The text of a route that was let in before.
    pub(crate) fn from_stored(text: &str) -> Result<Self, SpecError> {
        Self::read(text, Self::stored)
    }

    fn read(
        text: &str,
        make: impl Fn(&str, &str, Match) -> Result<Self, SpecError>,
    ) -> Result<Self, SpecError> {
        let slash = text.find('/').ok_or_else(|| {
            SpecError::new("routes", format!("'{text}': expected [HOST]/PATH or [HOST]/PATH/*"))
        })?;
        let (host, path) = text.split_at(slash);
        match path.strip_suffix("/*") {
            Some("") => make(host, "/", Match::Prefix),
            Some(prefix) => make(host, prefix, Match::Prefix),
            None => make(host, path, Match::Exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> RouteSpec {
        text.parse().unwrap()
    }

    #[test]
    fn texts_round_trip() {
        for text in ["/a", "/a/*", "/*", "/", "shop.example/a/b/*", "shop.example/"] {
            assert_eq!(route(text).to_string(), text);
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        assert!(route("/a/*").matches("x", "/a"));
        assert!(route("/a/*").matches("x", "/a/b"));
        assert!(!route("/a/*").matches("x", "/ab"));
        assert!(route("/*").matches("x", "/"));
        assert!(route("/a").matches("x", "/a"));
        assert!(!route("/a").matches("x", "/a/"));
        assert!(!route("h/a").matches("x", "/a"));
    }

    #[test]
    fn the_more_specific_wins() {
        let order = ["h/a/b", "h/a/b/*", "h/a/*", "h/*", "/a/b/c", "/a/*", "/*"];
        for pair in order.windows(2) {
            assert!(route(pair[0]).specificity() > route(pair[1]).specificity(), "{pair:?}");
        }
    }

    #[test]
    fn what_lies_above_a_route_is_tried_from_the_nearest_on() {
        let above = |text: &str| route(text).above().map(|it| it.to_string()).collect::<Vec<_>>();
        assert_eq!(above("h/a/b/*"), ["h/a/*", "h/*"]);
        assert_eq!(above("/a/b"), ["/a/b/*", "/a/*", "/*"]);
        assert_eq!(above("/a/"), ["/a/*", "/*"]);
        assert_eq!(above("/"), ["/*"]);
        assert_eq!(above("/*"), [] as [&str; 0]);
        for text in ["h/a/b/*", "/a/b", "/a/", "/"] {
            assert!(route(text).above().all(|it| it.matches("h", route(text).path())), "{text}");
        }
    }

    #[test]
    fn the_more_specific_takes_calls_where_both_are_meant() {
        let takes = |one: &str, other: &str| route(one).takes_from(&route(other));
        for (one, other) in [
            ("/a/b/*", "/a/*"),
            ("/a", "/a/*"),
            ("/a/b", "/*"),
            ("h/a/*", "/a/*"),
            ("h/a", "/a"),
            ("h/*", "/a/*"),
            ("h/*", "/a"),
            ("h/a/*", "/*"),
        ] {
            assert!(takes(one, other), "{one} {other}");
            assert!(!takes(other, one), "{other} {one}");
        }
        for (one, other) in
            [("/ab/*", "/a/*"), ("h/a/*", "i/*"), ("h/a", "/a/b"), ("/a/*", "/a/*"), ("h/a/*", "/b/*")]
        {
            assert!(!takes(one, other), "{one} {other}");
        }
    }

    #[test]
    fn bad_routes_say_why() {
        for bad in ["a", "", "/a*", "/a?b", "h:80/a", "/.coracle/x", "/.coracle", "/a b", "/ä"] {
            assert!(bad.parse::<RouteSpec>().is_err(), "{bad}");
        }
    }
}
