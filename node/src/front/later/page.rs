//! Invocations as JSON: fields that have nothing are null.

use coracle_proto::id::{InvocationId, NodeId};
use serde::Serialize;

use super::location;
use crate::front::moment::rfc3339;
use crate::stores::{Record, Report};

#[derive(Serialize)]
struct Accepted<'a> {
    id: String,
    state: &'static str,
    function: &'a str,
    location: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    state: &'static str,
    namespace: String,
    function: String,
    kind: &'a str,
    queue: &'a str,
    location: String,
    accepted: String,
    /// When it may run.
    next: Option<String>,
    ended: Option<String>,
    node: Option<u64>,
    /// That were begun: the list has the last ones of those that ended.
    attempts: u32,
    reports: Vec<Attempt<'a>>,
    cause: Option<&'a str>,
    last_error: Option<&'a str>,
    trace: Option<&'a str>,
}

#[derive(Serialize)]
struct Attempt<'a> {
    attempt: u32,
    node: Option<u64>,
    version: Option<u64>,
    started: Option<String>,
    took_ms: u64,
    cold: bool,
    outcome: &'a str,
    error: Option<&'a str>,
    cpu_ms: f64,
    /// The most memory that it had, in 10^9 bytes, times how long it ran.
    gb_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What was just accepted.
pub(super) fn accepted(id: InvocationId, function: &str) -> String {
    text(&Accepted { id: id.to_string(), state: "waiting", function, location: location(id) })
}

/// A record.
pub(super) fn record(it: &Record) -> String {
    text(&Shown {
        id: it.invocation.to_string(),
        state: it.state.name(),
        namespace: it.function.namespace.to_string(),
        function: it.function.name.to_string(),
        kind: &it.kind,
        queue: &it.queue,
        location: location(it.invocation),
        accepted: rfc3339(it.accepted_ms),
        next: it.next_ms.map(rfc3339),
        ended: it.ended_ms.map(rfc3339),
        node: it.node.map(NodeId::get),
        attempts: it.attempts,
        reports: it.reports.iter().map(attempt).collect(),
        cause: some(&it.cause),
        last_error: some(&it.last_error),
        trace: some(&it.trace_id),
    })
}

#[expect(clippy::cast_precision_loss, reason = "2^53 byte-milliseconds are hours of gigabytes, to the byte")]
fn attempt(it: &Report) -> Attempt<'_> {
    let moment = |ms: u64| (ms > 0).then(|| rfc3339(ms));
    Attempt {
        attempt: it.attempt,
        node: it.node.map(NodeId::get),
        version: Some(it.version.get()).filter(|version| *version > 0),
        started: moment(it.started_ms),
        took_ms: it.ended_ms.saturating_sub(it.started_ms),
        cold: it.cold,
        outcome: &it.outcome,
        error: some(&it.error),
        cpu_ms: it.spent.cpu.as_micros() as f64 / 1e3,
        gb_ms: it.spent.memory_byte_ms as f64 / 1e9,
        bytes_in: it.spent.bytes_in,
        bytes_out: it.spent.bytes_out,
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Strings and finite numbers always have a JSON form.
fn text(page: &impl Serialize) -> String {
    serde_json::to_string(page).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coracle_proto::id::{FunctionId, VersionNumber};

    use super::*;
    use crate::call::Spent;
    use crate::stores::{Ended, State};

    #[test]
    fn a_record_says_what_is_known_and_nothing_else() {
        let waiting = Record {
            invocation: InvocationId::new(7),
            function: FunctionId::parse("shop", "f").unwrap(),
            queue: "function/f".to_owned(),
            kind: "async".to_owned(),
            state: State::Waiting,
            accepted_ms: 1,
            ended_ms: None,
            next_ms: None,
            node: None,
            attempts: 0,
            reports: vec![],
            cause: String::new(),
            last_error: String::new(),
            trace_id: String::new(),
        };
        let id = "00000000000000000000000000000007";
        let expected = format!(
            "{{\"id\":\"{id}\",\"state\":\"waiting\",\"namespace\":\"shop\",\"function\":\"f\",\"kind\":\"async\",\
             \"queue\":\"function/f\",\"location\":\"/.coracle/invocations/{id}\",\
             \"accepted\":\"1970-01-01T00:00:00.001Z\",\"next\":null,\"ended\":null,\"node\":null,\"attempts\":0,\
             \"reports\":[],\"cause\":null,\"last_error\":null,\"trace\":null}}"
        );
        assert_eq!(record(&waiting), expected);
        let report = Report {
            attempt: 1,
            node: Some(NodeId::new(3)),
            version: VersionNumber::new(2),
            started_ms: 1000,
            ended_ms: 1500,
            cold: true,
            outcome: "500".to_owned(),
            error: "no".to_owned(),
            spent: Spent {
                cpu: Duration::from_micros(1500),
                memory_byte_ms: 2_500_000_000,
                bytes_in: 3,
                bytes_out: 4,
            },
        };
        let dead = Record {
            state: State::Ended(Ended::Dead),
            ended_ms: Some(1500),
            reports: vec![report],
            cause: "attempts".to_owned(),
            ..waiting
        };
        let text = record(&dead);
        for part in [
            "\"state\":\"dead\"",
            "\"ended\":\"1970-01-01T00:00:01.500Z\"",
            "\"cause\":\"attempts\"",
            "\"reports\":[{\"attempt\":1,\"node\":3,\"version\":2,\"started\":\"1970-01-01T00:00:01.000Z\",\
             \"took_ms\":500,\"cold\":true,\"outcome\":\"500\",\"error\":\"no\",\"cpu_ms\":1.5,\
             \"gb_ms\":2.5,\"bytes_in\":3,\"bytes_out\":4}]",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
