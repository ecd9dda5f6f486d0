//! Invocations: what was accepted for later, its attempts, what it answered.

mod answer;
mod attempt;

use coracle_proto::id::{InvocationId, Namespace};
use coracle_proto::pb::{self, InvocationState};
use serde::Serialize;

pub(crate) use answer::{AcceptedView, HeaderView, ResultView};

use self::attempt::AttemptView;
use super::function_name;
use crate::output::{Detail, Row, rfc3339, table};

/// The word for a state.
pub(crate) fn state_word(state: InvocationState) -> &'static str {
    match state {
        InvocationState::Unspecified => "unknown",
        InvocationState::Waiting => "waiting",
        InvocationState::Running => "running",
        InvocationState::Succeeded => "succeeded",
        InvocationState::Dead => "dead",
        InvocationState::Cancelled => "cancelled",
        InvocationState::Dropped => "dropped",
    }
}

/// 32 hexadecimal digits.
fn id_text(bytes: &[u8]) -> String {
    InvocationId::try_from(bytes).map(|id| id.to_string()).unwrap_or_default()
}

/// On the wire nothing happened at 0.
fn moment(unix_ms: u64) -> Option<String> {
    (unix_ms != 0).then(|| rfc3339(unix_ms))
}

/// On the wire what is empty is not there.
fn text(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn number(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

/// An invocation, as `invocation list` and `get` show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InvocationView {
    id: String,
    namespace: String,
    function: String,
    queue: String,
    /// What fired: `async`.
    kind: String,
    state: &'static str,
    accepted: Option<String>,
    ended: Option<String>,
    /// When what waits may run; none: now.
    next: Option<String>,
    /// Where it runs.
    node: Option<u64>,
    /// That were begun since it was accepted, or given another life.
    attempts: u32,
    /// The last ones, the oldest first.
    reports: Vec<AttemptView>,
    /// Why it is a dead letter: `attempts`, `age`, `rejected`.
    cause: Option<String>,
    last_error: Option<String>,
    trace: Option<String>,
    /// Its number in the queue.
    message: u64,
}

impl From<pb::InvocationRecord> for InvocationView {
    fn from(wire: pb::InvocationRecord) -> Self {
        Self {
            id: id_text(&wire.invocation),
            state: state_word(wire.state()),
            namespace: wire.namespace,
            function: wire.function,
            queue: wire.queue,
            kind: wire.kind,
            accepted: moment(wire.accepted_ms),
            ended: moment(wire.ended_ms),
            next: moment(wire.next_ms),
            node: number(wire.node),
            attempts: wire.attempts,
            reports: wire.reports.into_iter().map(AttemptView::from).collect(),
            cause: text(wire.cause),
            last_error: text(wire.last_error),
            trace: text(wire.trace_id),
            message: wire.message,
        }
    }
}

impl InvocationView {
    /// `NAME`, or `NAMESPACE/NAME`; empty where nobody takes it.
    fn function(&self) -> String {
        if self.function.is_empty() {
            return String::new();
        }
        function_name(&self.namespace, &self.function)
    }

    /// As people name it: that of a function by the function's name.
    fn queue(&self) -> String {
        let own = format!("function/{}", self.function);
        let queue = if self.queue == own { &self.function } else { &self.queue };
        match self.namespace.as_str() {
            Namespace::DEFAULT => queue.clone(),
            namespace => format!("{namespace}/{queue}"),
        }
    }

    /// What is shown of why it did not work.
    fn error(&self) -> String {
        self.last_error.clone().unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Of a line about a dead letter: id, number, when it died, attempts, cause, error.
    pub(super) fn letter_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.message.to_string(),
            self.ended.clone().unwrap_or_default(),
            self.attempts.to_string(),
            self.cause.clone().unwrap_or_default(),
            self.error(),
        ]
    }

    /// Of a line about what waits: its number, when it was accepted, when it may run, attempts, the last error.
    pub(super) fn waiting_cells(&self) -> [String; 5] {
        [
            self.message.to_string(),
            self.accepted.clone().unwrap_or_default(),
            self.next.clone().unwrap_or_default(),
            self.attempts.to_string(),
            self.error(),
        ]
    }

    /// What to do about a dead letter; empty for anything else.
    fn advice(&self) -> String {
        if self.state != state_word(InvocationState::Dead) {
            return String::new();
        }
        let (id, queue) = (&self.id, self.queue());
        let purge = format!("  coracle dlq purge {queue} {id}   give it up\n");
        format!(
            "It is a dead letter. What you can do:\n  coracle dlq show {id}   see what it was asked\n  \
             coracle invocation retry {id}   give it all its attempts again\n{purge}"
        )
    }
}

impl Row for InvocationView {
    const COLUMNS: &'static [&'static str] = &[
        "INVOCATION",
        "FUNCTION",
        "STATE",
        "ATTEMPTS",
        "ACCEPTED",
        "ENDED",
        "KIND",
        "NODE",
        "TRACE",
        "ERROR",
    ];
    const WIDE_FROM: usize = 6;

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.function(),
            self.state.to_owned(),
            self.attempts.to_string(),
            self.accepted.clone().unwrap_or_default(),
            self.ended.clone().unwrap_or_default(),
            self.kind.clone(),
            self.node.map(|node| node.to_string()).unwrap_or_default(),
            self.trace.clone().unwrap_or_default(),
            self.error(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

impl Detail for InvocationView {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn describe(&self, wide: bool) -> String {
        let kept = |value: &Option<String>| value.clone().unwrap_or_default();
        let head = table::pairs([
            ("invocation", self.id.clone()),
            ("function", self.function()),
            ("queue", self.queue.clone()),
            ("kind", self.kind.clone()),
            ("state", self.state.to_owned()),
            ("accepted", kept(&self.accepted)),
            ("next attempt", kept(&self.next)),
            ("runs on node", self.node.map(|node| node.to_string()).unwrap_or_default()),
            ("ended", kept(&self.ended)),
            ("attempts", self.attempts.to_string()),
            ("cause", kept(&self.cause)),
            ("last error", kept(&self.last_error)),
            ("trace", kept(&self.trace)),
        ]);
        let parts = [head, attempt::lines(&self.reports, wide), self.advice()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests;
