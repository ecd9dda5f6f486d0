//! What Jaeger's `GET /api/traces/ID` answers, as far as a tree needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Trace {
    pub(super) id: String,
    pub(super) spans: Vec<Span>,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    pub(super) id: String,
    /// None for the first one.
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) service: String,
    /// Unix time.
    pub(super) start_us: u64,
    pub(super) duration_us: u64,
    /// What went wrong; empty where there are no words for it.
    pub(super) error: Option<String>,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    data: Vec<WireTrace>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<WireSpan>,
    processes: BTreeMap<String, WireProcess>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default)]
    references: Vec<WireReference>,
    start_time: u64,
    duration: u64,
    #[serde(default)]
    tags: Vec<WireTag>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Debug, Deserialize)]
struct WireReference {
    #[serde(rename = "refType")]
    kind: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Deserialize)]
struct WireTag {
    key: String,
    value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct WireProcess {
    #[serde(rename = "serviceName")]
    service_name: String,
    #[serde(default)]
    tags: Vec<WireTag>,
}

/// Reads the answer; none where it has no trace.
pub(super) fn parse(body: &[u8]) -> Result<Option<Trace>, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("it does not answer as Jaeger does: {error}"))?;
    Ok(answer.data.into_iter().next().map(Trace::from).filter(|trace| !trace.spans.is_empty()))
}

impl From<WireTrace> for Trace {
    fn from(wire: WireTrace) -> Self {
        let spans = wire.spans.into_iter().map(|span| read_span(span, &wire.processes)).collect();
        Self { id: wire.trace_id, spans }
    }
}

fn read_span(wire: WireSpan, processes: &BTreeMap<String, WireProcess>) -> Span {
    let parent = wire.references.into_iter().find(|reference| reference.kind == "CHILD_OF");
    let process = processes.get(&wire.process_id);
    // Which node: an attribute of the process, unless the span names one.
    let instance =
        process.into_iter().flat_map(|process| &process.tags).find(|tag| tag.key == "service.instance.id");
    let instance = instance.map(|tag| ("service.instance.id".to_owned(), text(&tag.value)));
    let attributes: BTreeMap<_, _> =
        instance.into_iter().chain(wire.tags.into_iter().map(|tag| (tag.key, text(&tag.value)))).collect();
    Span {
        id: wire.span_id,
        parent: parent.map(|reference| reference.span_id),
        name: wire.operation_name,
        service: process.map_or_else(|| "unknown".to_owned(), |process| process.service_name.clone()),
        start_us: wire.start_time,
        duration_us: wire.duration,
        error: error(&attributes),
        attributes,
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn error(attributes: &BTreeMap<String, String>) -> Option<String> {
    let is = |key: &str, value: &str| attributes.get(key).is_some_and(|it| it == value);
    if !is("error", "true") && !is("otel.status_code", "ERROR") {
        return None;
    }
    let words = ["error.type", "otel.status_description"].iter().find_map(|key| attributes.get(*key));
    Some(words.cloned().unwrap_or_default())
}
