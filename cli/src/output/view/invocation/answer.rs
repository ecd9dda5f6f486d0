//! What is told of a call that was accepted, and what it answered.

use coracle_proto::id::FunctionId;
use coracle_proto::pb::{self, InvocationState};
use serde::Serialize;

use super::{id_text, state_word};
use crate::output::Detail;
use crate::units::show_bytes;

/// What was accepted just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AcceptedView {
    id: String,
    function: String,
    state: &'static str,
    trace: String,
}

impl AcceptedView {
    pub(crate) fn new(id: &str, function: &FunctionId, trace: &str) -> Self {
        let state = state_word(InvocationState::Waiting);
        Self { id: id.to_owned(), function: function.to_string(), state, trace: trace.to_owned() }
    }
}

impl Detail for AcceptedView {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        format!("{}\n", self.id)
    }
}

/// What an invocation answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ResultView {
    id: String,
    status: u32,
    headers: Vec<HeaderView>,
    /// Where it is UTF-8.
    body: Option<String>,
    bytes: u64,
}

/// A header; there may be several of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HeaderView {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl From<pb::EventHeader> for HeaderView {
    fn from(wire: pb::EventHeader) -> Self {
        Self { value: String::from_utf8_lossy(&wire.value).into_owned(), name: wire.name }
    }
}

impl ResultView {
    pub(crate) fn new(invocation: &[u8], answer: pb::EventAnswer) -> Self {
        Self {
            id: id_text(invocation),
            status: answer.status,
            headers: answer.headers.into_iter().map(HeaderView::from).collect(),
            body: String::from_utf8(answer.body.to_vec()).ok(),
            bytes: answer.body_bytes,
        }
    }
}

impl Detail for ResultView {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        format!("{} status {}, {}\n", self.id, self.status, show_bytes(self.bytes))
    }
}
