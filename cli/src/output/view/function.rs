//! Functions and their versions.

use coracle_proto::codec::{Door, spec_from_wire};
use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::spec::{FunctionSpec, Retry};
use serde::Serialize;

use super::{digest_text, route_texts};
use crate::output::{Detail, Row, rfc3339, table};
use crate::units::{show_bytes, show_duration};

/// `NAME`, or `NAMESPACE/NAME` outside `default`.
pub(crate) fn function_name(namespace: &str, name: &str) -> String {
    FunctionId::parse(namespace, name).map_or_else(|_| format!("{namespace}/{name}"), |id| id.to_string())
}

/// The word for a replica's phase.
pub(super) fn phase(phase: pb::ReplicaPhase) -> &'static str {
    match phase {
        pb::ReplicaPhase::Unspecified => "unknown",
        pb::ReplicaPhase::Fetching => "fetching",
        pb::ReplicaPhase::Compiling => "compiling",
        pb::ReplicaPhase::Ready => "ready",
        pb::ReplicaPhase::Failed => "failed",
    }
}

/// On the wire no version is 0.
pub(super) fn pending(version: u64) -> Option<u64> {
    (version != 0).then_some(version)
}

/// `2`, or `2 (3 waits)` while version 3 gets ready to take the calls.
pub(super) fn version_cell(version: u64, pending: Option<u64>) -> String {
    pending.map_or_else(|| version.to_string(), |waits| format!("{version} ({waits} waits)"))
}

/// A function, as `function list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FunctionView {
    namespace: String,
    name: String,
    version: u64,
    /// Gets the calls when it is ready; none waits for the most part.
    pending: Option<u64>,
    routes: Vec<String>,
    wanted: u32,
    ready: u32,
    updated: String,
}

impl From<pb::FunctionSummary> for FunctionView {
    fn from(wire: pb::FunctionSummary) -> Self {
        Self {
            routes: route_texts(&wire.namespace, &wire.name, wire.routes),
            version: wire.version,
            pending: pending(wire.pending),
            wanted: wire.wanted,
            ready: wire.ready,
            updated: rfc3339(wire.updated_ms),
            namespace: wire.namespace,
            name: wire.name,
        }
    }
}

impl Row for FunctionView {
    const COLUMNS: &'static [&'static str] = &["NAME", "VERSION", "READY", "ROUTES", "UPDATED"];
    const WIDE_FROM: usize = 4;

    fn cells(&self) -> Vec<String> {
        vec![
            Row::name(self),
            version_cell(self.version, self.pending),
            format!("{}/{}", self.ready, self.wanted),
            self.routes.join(" "),
            self.updated.clone(),
        ]
    }

    fn name(&self) -> String {
        function_name(&self.namespace, &self.name)
    }
}

/// A function with its versions and replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FunctionDetailView {
    namespace: String,
    name: String,
    /// The version with the most traffic.
    version: u64,
    traffic: Vec<TrafficView>,
    /// How calls are divided when what was asked for last is ready; empty when nothing waits.
    next: Vec<TrafficView>,
    routes: Vec<String>,
    /// Namespaces that may have routes which take calls from these; `*`: all.
    grant_routes: Vec<String>,
    created: String,
    updated: String,
    versions: Vec<VersionView>,
    replicas: Vec<ReplicaView>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TrafficView {
    version: u64,
    weight: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct VersionView {
    number: u64,
    digest: String,
    size: u64,
    kind: &'static str,
    created: String,
    spec: Option<SpecView>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SpecView {
    env: std::collections::BTreeMap<String, String>,
    args: Vec<String>,
    hosts: Vec<String>,
    memory_bytes: u64,
    timeout_ms: u64,
    idle_timeout_ms: u64,
    cpu_time_ms: u64,
    concurrency: u32,
    replicas: u32,
    retry: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reuse: Option<ReuseView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keyvalue: Vec<String>,
    /// Of blobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ReuseView {
    calls: u32,
    age_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ReplicaView {
    node: u64,
    version: u64,
    epoch: u64,
    phase: &'static str,
    reason: String,
}

impl From<pb::FunctionDetail> for FunctionDetailView {
    fn from(wire: pb::FunctionDetail) -> Self {
        let function = wire.function.unwrap_or_default();
        let main = function.traffic.iter().max_by_key(|part| (part.weight, part.version));
        let table = |parts: &[pb::Weight]| -> Vec<TrafficView> {
            parts.iter().map(|part| TrafficView { version: part.version, weight: part.weight }).collect()
        };
        let mut versions: Vec<_> = wire.versions.into_iter().map(VersionView::from).collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.number));
        Self {
            version: main.map_or(function.latest, |part| part.version),
            traffic: table(&function.traffic),
            next: table(&function.next),
            routes: route_texts(&function.namespace, &function.name, function.routes),
            grant_routes: function.route_grants,
            created: rfc3339(function.created_ms),
            updated: rfc3339(function.updated_ms),
            versions,
            replicas: wire.replicas.into_iter().map(ReplicaView::from).collect(),
            namespace: function.namespace,
            name: function.name,
        }
    }
}

impl From<pb::Version> for VersionView {
    fn from(wire: pb::Version) -> Self {
        Self {
            number: wire.number,
            digest: digest_text(&wire.digest),
            size: wire.size,
            kind: kind(wire.kind()),
            created: rfc3339(wire.created_ms),
            spec: wire
                .spec
                .and_then(|spec| spec_from_wire(spec, Door::Disk).ok())
                .map(|spec| SpecView::from(&spec)),
        }
    }
}

/// The word for a kind of artifact.
pub(crate) fn kind(kind: pb::Kind) -> &'static str {
    match kind {
        pb::Kind::Unspecified => "unknown",
        pb::Kind::HttpComponent => "http-component",
        pb::Kind::CommandModule => "command-module",
        pb::Kind::CommandComponent => "command-component",
        pb::Kind::EventComponent => "event-component",
    }
}

impl From<&FunctionSpec> for SpecView {
    fn from(spec: &FunctionSpec) -> Self {
        let limits = spec.limits();
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            env: spec.env().clone(),
            args: spec.args().to_vec(),
            hosts: spec.hosts().to_vec(),
            memory_bytes: limits.memory_bytes,
            timeout_ms: millis(limits.timeout),
            idle_timeout_ms: millis(limits.idle_timeout),
            cpu_time_ms: millis(limits.cpu_time),
            concurrency: limits.concurrency,
            replicas: spec.replicas(),
            retry: match spec.retry() {
                Retry::Idempotent => "idempotent",
                Retry::Never => "never",
            },
            reuse: spec.reuse().map(|reuse| ReuseView { calls: reuse.calls, age_ms: millis(reuse.age) }),
            keyvalue: spec.keyvalue().iter().map(ToString::to_string).collect(),
            blobs: spec.blobs().iter().map(ToString::to_string).collect(),
            publish: spec.publish().to_vec(),
        }
    }
}

impl From<pb::RolloutReplica> for ReplicaView {
    fn from(wire: pb::RolloutReplica) -> Self {
        let status = wire.status.unwrap_or_default();
        Self {
            node: wire.node,
            version: status.version,
            epoch: status.epoch,
            phase: phase(status.phase()),
            reason: status.reason,
        }
    }
}

impl FunctionDetailView {
    fn limits(&self) -> String {
        let current = self.versions.iter().find(|version| version.number == self.version);
        let Some(spec) = current.and_then(|version| version.spec.as_ref()) else { return String::new() };
        let time = |ms| show_duration(std::time::Duration::from_millis(ms));
        table::pairs([
            ("memory", show_bytes(spec.memory_bytes)),
            ("timeout", time(spec.timeout_ms)),
            ("idle-timeout", time(spec.idle_timeout_ms)),
            ("cpu-time", time(spec.cpu_time_ms)),
            ("concurrency", format!("{} on each node", spec.concurrency)),
            ("replicas", spec.replicas.to_string()),
            ("retry", spec.retry.to_owned()),
            (
                "reuse",
                spec.reuse.as_ref().map_or_else(String::new, |reuse| {
                    format!("{} calls of an instance, {} old at most", reuse.calls, time(reuse.age_ms))
                }),
            ),
            ("hosts", spec.hosts.join(", ")),
            ("keyvalue", spec.keyvalue.join(", ")),
            ("blobs", spec.blobs.join(", ")),
            ("publish", spec.publish.join(", ")),
            ("args", spec.args.join(" ")),
            (
                "env",
                spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
            ),
        ])
    }
}

impl Detail for FunctionDetailView {
    fn name(&self) -> String {
        function_name(&self.namespace, &self.name)
    }

    fn describe(&self, _wide: bool) -> String {
        let text = |parts: &[TrafficView]| {
            let parts = parts.iter().map(|part| format!("{} (weight {})", part.version, part.weight));
            parts.collect::<Vec<_>>().join(", ")
        };
        let head = table::pairs([
            ("function", Detail::name(self)),
            ("version", self.version.to_string()),
            ("traffic", if self.traffic.len() > 1 { text(&self.traffic) } else { String::new() }),
            ("when ready", text(&self.next)),
            ("routes", self.routes.join(" ")),
            ("grants routes to", self.grant_routes.join(" ")),
            ("created", self.created.clone()),
            ("updated", self.updated.clone()),
        ]);
        let versions = self.versions.iter().map(|it| {
            vec![
                it.number.to_string(),
                it.created.clone(),
                it.kind.to_owned(),
                show_bytes(it.size),
                it.digest.clone(),
            ]
        });
        let replicas = self.replicas.iter().map(|it| {
            vec![it.node.to_string(), it.version.to_string(), it.phase.to_owned(), it.reason.clone()]
        });
        [
            head,
            self.limits(),
            table::render(&["VERSION", "CREATED", "KIND", "SIZE", "DIGEST"], versions),
            table::render(&["NODE", "VERSION", "PHASE", "REASON"], replicas),
        ]
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_listed_with_its_name_and_default_route() {
        let wire = pb::FunctionSummary {
            namespace: "shop".into(),
            name: "cart".into(),
            version: 4,
            wanted: 2,
            ready: 2,
            updated_ms: 1_795_248_000_000,
            ..pb::FunctionSummary::default()
        };
        let view = FunctionView::from(wire);
        assert_eq!(view.cells(), ["shop/cart", "4", "2/2", "/shop/cart/*", "2026-11-21T08:00:00.000Z"]);
        let waiting = FunctionView { pending: Some(5), ..view.clone() };
        assert_eq!(waiting.cells()[1], "4 (5 waits)");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["namespace"], &json["name"]), (&"shop".into(), &"cart".into()));
    }

    #[test]
    fn a_function_is_described_with_limits_versions_and_replicas() {
        let version = |number| pb::Version {
            number,
            digest: vec![2; 32].into(),
            size: 2048,
            kind: pb::Kind::HttpComponent.into(),
            spec: Some(pb::FunctionSpec {
                keyvalue: vec!["images".into(), "colours:read".into()],
                blobs: vec!["uploads:read".into()],
                publish: vec!["done".into()],
                ..pb::FunctionSpec::default()
            }),
            ..pb::Version::default()
        };
        let status =
            pb::ReplicaStatus { version: 2, phase: pb::ReplicaPhase::Ready.into(), ..Default::default() };
        let view = FunctionDetailView::from(pb::FunctionDetail {
            function: Some(pb::Function {
                namespace: "default".into(),
                name: "hello".into(),
                latest: 2,
                traffic: vec![pb::Weight { version: 2, weight: 1 }],
                next: vec![pb::Weight { version: 3, weight: 1 }],
                ..pb::Function::default()
            }),
            versions: vec![version(1), version(2)],
            replicas: vec![pb::RolloutReplica { node: 3, status: Some(status) }],
            revision: 1,
        });
        let text = view.describe(false);
        for part in [
            "function    hello",
            "/hello/*",
            "3 (weight 1)",
            "memory        128 MiB",
            "keyvalue      images, colours:read",
            "blobs         uploads:read",
            "publish       done",
            "2 KiB",
            "3     2        ready",
        ] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
        assert_eq!(view.versions[0].number, 2, "the newest comes first");
        assert_eq!(serde_json::to_value(&view).unwrap()["versions"][0]["spec"]["retry"], "idempotent");
    }
}
