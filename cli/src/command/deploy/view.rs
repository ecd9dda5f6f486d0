//! What a deploy came to.

use coracle_proto::pb;
use coracle_proto::route::{Match, RouteSpec};
use serde::Serialize;

use super::upload::Artifact;
use crate::address::Address;
use crate::manifest::FunctionEntry;
use crate::output::view::{default_path, kind};
use crate::output::{Detail, Row, door};

/// A function that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Deployed {
    namespace: String,
    name: String,
    version: u64,
    /// The latest version had the same content and limits already.
    unchanged: bool,
    revision: u64,
    digest: String,
    size: u64,
    kind: &'static str,
    urls: Vec<String>,
    /// What a person should know of it: routes of others that get a part of its calls.
    notes: Vec<String>,
    #[serde(skip)]
    function: String,
}

impl Deployed {
    pub(super) fn new(
        function: &FunctionEntry,
        artifact: &Artifact,
        stored: &pb::Stored,
        reply: &pb::DeployReply,
        gateways: &[Address],
    ) -> Self {
        let (namespace, name) = (function.id.namespace.to_string(), function.id.name.to_string());
        // Without a gateway it is called by nobody yet.
        let urls = match gateways.first().map(Address::as_str) {
            None => Vec::new(),
            Some(gateway) if function.routes.is_empty() => {
                vec![format!("http://{gateway}{}", default_path(&namespace, &name))]
            }
            Some(gateway) => function.routes.iter().map(|route| url(gateway, route)).collect(),
        };
        Self {
            version: reply.version,
            unchanged: reply.unchanged,
            revision: reply.revision,
            digest: artifact.digest.to_string(),
            size: artifact.size(),
            kind: kind(stored.kind()),
            urls,
            notes: reply.notes.clone(),
            function: function.id.to_string(),
            namespace,
            name,
        }
    }

    /// Its name, with the namespace outside `default`.
    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    /// Its version.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether nothing was changed.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.unchanged
    }

    /// Where it answers.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }
}

/// A route as something that a browser takes, at the port of a gateway.
fn url(gateway: &str, route: &RouteSpec) -> String {
    let port = gateway.rsplit_once(':').map_or("", |(_, port)| port);
    let authority = match route.host() {
        "" => gateway.to_owned(),
        host => format!("{host}:{port}"),
    };
    let path = match (route.matching(), route.path()) {
        (Match::Prefix, "") => "/",
        (_, path) => path,
    };
    format!("http://{authority}{path}")
}

impl Detail for Deployed {
    fn name(&self) -> String {
        self.function.clone()
    }

    fn describe(&self, wide: bool) -> String {
        let digest = if wide { format!("  {}", self.digest) } else { String::new() };
        let urls: String = self.urls.iter().map(|url| format!("  {}\n", door::one_line(url))).collect();
        format!("{} version {}{digest}\n{urls}", self.function, self.version)
    }
}

impl Row for Deployed {
    const COLUMNS: &'static [&'static str] = &["NAME", "VERSION", "CHANGED", "URLS", "DIGEST"];
    const WIDE_FROM: usize = 4;

    fn cells(&self) -> Vec<String> {
        let changed = if self.unchanged { "no" } else { "yes" };
        vec![
            self.function.clone(),
            self.version.to_string(),
            changed.to_owned(),
            self.urls.join(" "),
            self.digest.clone(),
        ]
    }

    fn name(&self) -> String {
        self.function.clone()
    }
}

/// What a deploy would do with one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Planned {
    thing: String,
    /// `make`, `change`, `unchanged`, `delete`; of a function `deploy`.
    action: &'static str,
    /// Of a manifest, that are told otherwise.
    keys: Vec<&'static str>,
}

impl Planned {
    pub(super) fn new(thing: &impl ToString, action: &'static str) -> Self {
        Self { thing: thing.to_string(), action, keys: Vec::new() }
    }

    pub(super) fn of(self, keys: Vec<&'static str>) -> Self {
        Self { keys, ..self }
    }
}

impl Row for Planned {
    const COLUMNS: &'static [&'static str] = &["THING", "ACTION", "KEYS"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        vec![self.thing.clone(), self.action.to_owned(), self.keys.join(",")]
    }

    fn name(&self) -> String {
        self.thing.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_become_urls() {
        let of = |text: &str| url("10.0.0.1:8080", &text.parse().unwrap());
        assert_eq!(of("/hello/*"), "http://10.0.0.1:8080/hello");
        assert_eq!(of("/*"), "http://10.0.0.1:8080/");
        assert_eq!(of("shop.example/cart"), "http://shop.example:8080/cart");
    }
}
