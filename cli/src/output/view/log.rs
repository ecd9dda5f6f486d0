//! Log records, and what is missing between them.

use coracle_proto::id::InvocationId;
use coracle_proto::pb;
use serde::Serialize;

use super::function_name;
use crate::output::{Detail, door, rfc3339};

/// One line that a function wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LogView {
    time: String,
    node: u64,
    function: String,
    version: u64,
    invocation: String,
    trace: Option<String>,
    stream: &'static str,
    line: String,
}

impl From<pb::LogRecord> for LogView {
    fn from(wire: pb::LogRecord) -> Self {
        // Both ids are 16 bytes, shown alike.
        let hex = |bytes: &[u8]| InvocationId::try_from(bytes).map(|id| id.to_string());
        Self {
            time: rfc3339(wire.time_ms),
            node: wire.node,
            function: function_name(&wire.namespace, &wire.name),
            version: wire.version,
            invocation: hex(&wire.invocation_id).unwrap_or_default(),
            trace: hex(&wire.trace_id).ok(),
            stream: match wire.stream() {
                pb::LogStream::Unspecified => "unknown",
                pb::LogStream::Stdout => "stdout",
                pb::LogStream::Stderr => "stderr",
            },
            line: wire.line,
        }
    }
}

impl Detail for LogView {
    fn name(&self) -> String {
        self.line.clone()
    }

    fn describe(&self, wide: bool) -> String {
        let Self { time, node, version, stream, line, invocation, .. } = self;
        let trace = self.trace.as_deref().unwrap_or("-");
        let ids = if wide { format!(" invocation={invocation} trace={trace}") } else { String::new() };
        format!("{time} node={node} version={version} {stream}{ids} {}\n", door::one_line_with_tabs(line))
    }
}

/// What is missing, and where.
pub(crate) fn gap_sentence(gap: &pb::LogGap) -> String {
    match (gap.node, gap.dropped) {
        (0, 0) => gap.reason.clone(),
        (node, 0) => format!("node {node}: {}", gap.reason),
        (node, dropped) => format!("node {node}: {dropped} records are missing: {}", gap.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_where_it_came_from() {
        let view = LogView::from(pb::LogRecord {
            time_ms: 1_795_248_000_000,
            node: 2,
            namespace: "default".into(),
            name: "hello".into(),
            version: 3,
            invocation_id: vec![0xaa; 16].into(),
            trace_id: Vec::new().into(),
            stream: pb::LogStream::Stderr.into(),
            line: "a\x1b[2Jb".into(),
        });
        assert_eq!(view.describe(false), "2026-11-21T08:00:00.000Z node=2 version=3 stderr a\\u{1b}[2Jb\n");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["invocation"], "aa".repeat(16));
        assert_eq!(json["line"], "a\x1b[2Jb");
        assert!(json["trace"].is_null());
    }

    #[test]
    fn gaps_name_node_and_number() {
        let gap =
            |node, dropped| gap_sentence(&pb::LogGap { node, reason: "did not answer".into(), dropped });
        assert_eq!(gap(3, 0), "node 3: did not answer");
        assert_eq!(gap(3, 9), "node 3: 9 records are missing: did not answer");
    }
}
