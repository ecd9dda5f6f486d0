//! `coracle status`. The form of its JSON is fixed: docs/status.md.

use std::fmt::Write as _;

use coracle_proto::id::ClusterId;
use coracle_proto::pb;
use serde::Serialize;

use super::function::{pending, version_cell};
use super::{NodeView, digest_text, function_name, route_texts};
use crate::output::{Detail, Row, door, table};

/// The cluster at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatusView {
    cluster: String,
    revision: u64,
    term: u64,
    leader: Option<u64>,
    quorum: bool,
    format: u32,
    alarms: Vec<String>,
    nodes: Vec<NodeView>,
    functions: Vec<FunctionLine>,
    /// For people only.
    #[serde(skip)]
    cluster_name: String,
    /// For people only: the alarm has their number.
    #[serde(skip)]
    short: Vec<String>,
}

fn shortage(wire: &pb::ArtifactShortage) -> String {
    format!("{} has {} of {} copies", digest_text(&wire.digest), wire.copies, wire.wanted)
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct FunctionLine {
    name: String,
    version: u64,
    pending: Option<u64>,
    routes: Vec<String>,
    wanted: u32,
    ready: u32,
}

impl From<pb::StatusReply> for StatusView {
    fn from(wire: pb::StatusReply) -> Self {
        let id = ClusterId::try_from(&wire.cluster_id[..])
            .map_or_else(|_| "unknown".to_owned(), |id| id.to_string());
        Self {
            cluster: id,
            revision: wire.revision,
            term: wire.term,
            leader: (wire.leader != 0).then_some(wire.leader),
            quorum: wire.quorum,
            format: wire.format,
            alarms: wire.alarms,
            nodes: wire.nodes.into_iter().map(NodeView::from).collect(),
            functions: wire.functions.into_iter().map(FunctionLine::from).collect(),
            cluster_name: wire.cluster_name,
            short: wire.short.iter().map(shortage).collect(),
        }
    }
}

impl From<pb::FunctionSummary> for FunctionLine {
    fn from(wire: pb::FunctionSummary) -> Self {
        Self {
            name: function_name(&wire.namespace, &wire.name),
            version: wire.version,
            pending: pending(wire.pending),
            routes: route_texts(&wire.namespace, &wire.name, wire.routes),
            wanted: wire.wanted,
            ready: wire.ready,
        }
    }
}

impl StatusView {
    fn headline(&self) -> String {
        let short_id: String = self.cluster.chars().take(8).collect();
        let leader = self.leader.map_or_else(|| "none".to_owned(), |id| format!("node {id}"));
        let quorum = if self.quorum { "yes" } else { "NO: changes are refused, calls are served" };
        format!(
            "cluster {} ({short_id})  leader {leader}  quorum {quorum}  term {}  revision {}\n",
            door::one_line(&self.cluster_name),
            self.term,
            self.revision
        )
    }
}

impl Detail for StatusView {
    fn name(&self) -> String {
        self.cluster.clone()
    }

    fn describe(&self, wide: bool) -> String {
        let mut text = self.headline();
        for alarm in &self.alarms {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "ALARM: {}", door::one_line(alarm));
        }
        if wide {
            let _ = writeln!(text, "  format of commands {}", self.format);
        }
        for short in self.short.iter().filter(|_| wide) {
            let _ = writeln!(text, "  {}", door::one_line(short));
        }
        let columns = if wide {
            NodeView::COLUMNS
        } else {
            NodeView::COLUMNS.get(..NodeView::WIDE_FROM).unwrap_or_default()
        };
        let _ =
            write!(text, "\n{}", table::render(columns, self.nodes.iter().map(|node| node.row(self.leader))));
        if self.functions.is_empty() {
            text.push_str("\nno functions yet: coracle deploy NAME FILE.wasm\n");
            return text;
        }
        let rows = self.functions.iter().map(|function| {
            let ready = format!("{}/{}", function.ready, function.wanted);
            let version = version_cell(function.version, function.pending);
            vec![function.name.clone(), version, ready, function.routes.join(" ")]
        });
        let _ = write!(text, "\n{}", table::render(&["FUNCTION", "VERSION", "READY", "ROUTES"], rows));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> pb::StatusReply {
        pb::StatusReply {
            cluster_id: vec![0xab; 16].into(),
            cluster_name: "dev".into(),
            revision: 42,
            term: 3,
            leader: 1,
            quorum: true,
            format: 2,
            alarms: vec!["half of the nodes fell silent".into()],
            nodes: vec![super::super::node::tests::detail()],
            functions: vec![pb::FunctionSummary {
                namespace: "default".into(),
                name: "hello".into(),
                version: 2,
                routes: Vec::new(),
                wanted: 2,
                ready: 1,
                updated_ms: 0,
                pending: 3,
            }],
            state_hash: Vec::new().into(),
            short: vec![pb::ArtifactShortage { digest: vec![1; 32].into(), copies: 1, wanted: 3 }],
        }
    }

    /// The form that docs/status.md promises, key for key.
    #[test]
    fn the_json_has_the_documented_shape() {
        let status = serde_json::to_value(StatusView::from(reply())).unwrap();
        let expected = serde_json::json!({
            "cluster": "abababababababababababababababab",
            "revision": 42,
            "term": 3,
            "leader": 1,
            "quorum": true,
            "format": 2,
            "alarms": ["half of the nodes fell silent"],
            "nodes": [{
                "id": 1,
                "name": "n1",
                "state": "alive",
                "roles": ["controller", "worker", "gateway"],
                "voter": true,
                "version": "0.1.0",
                "pids": {"supervisor": 10, "controller": 11, "data": 12, "store": null},
                "grpc": "127.0.0.1:7400",
                "http": "127.0.0.1:8080",
                "admin": "127.0.0.1:7401",
                "load": {
                    "in_flight": 1, "slots": 2, "resident_functions": 3,
                    "memory_bytes": 1_048_576, "cpu_permille": 250
                },
            }],
            "functions": [{
                "name": "hello", "version": 2, "pending": 3, "routes": ["/hello/*"], "wanted": 2, "ready": 1
            }],
        });
        assert_eq!(status, expected);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut reply = reply();
        reply.leader = 0;
        reply.nodes[0].status = None;
        reply.nodes[0].processes = None;
        let status = serde_json::to_value(StatusView::from(reply)).unwrap();
        assert!(status["leader"].is_null());
        assert!(status["nodes"][0]["pids"].is_null() && status["nodes"][0]["load"].is_null());
    }

    #[test]
    fn a_person_sees_an_overview() {
        let view = StatusView::from(reply());
        assert_eq!(
            view.describe(false),
            "\
cluster dev (abababab)  leader node 1  quorum yes  term 3  revision 42
ALARM: half of the nodes fell silent

NODE  NAME  STATE  RAFT    LOAD  CPU   MEMORY  HTTP            GRPC
1     n1    alive  leader  1/2   25 %  1 MiB   127.0.0.1:8080  127.0.0.1:7400

FUNCTION  VERSION      READY  ROUTES
hello     2 (3 waits)  1/2    /hello/*
"
        );
        assert!(view.describe(true).contains("\n  format of commands 2\n"));
        assert!(view.describe(true).contains(&format!("sha256:{} has 1 of 3 copies", "01".repeat(32))));
    }
}
