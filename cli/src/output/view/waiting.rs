//! What waits in a queue.

use coracle_proto::pb;
use serde::Serialize;

use super::invocation::InvocationView;
use super::letter::BodyView;
use crate::output::Row;

/// Characters of data that a line of a list has.
const SHOWN_MAX: usize = 60;

/// A message that waits: its invocation, and what it was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WaitingView {
    #[serde(flatten)]
    invocation: InvocationView,
    /// Others of it are delivered before it or after it.
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<BodyView>,
}

impl From<pb::WaitingMessage> for WaitingView {
    fn from(wire: pb::WaitingMessage) -> Self {
        Self {
            invocation: wire.record.unwrap_or_default().into(),
            group: Some(wire.group).filter(|group| !group.is_empty()),
            body: wire.body.map(BodyView::from),
        }
    }
}

impl Row for WaitingView {
    const COLUMNS: &'static [&'static str] =
        &["MESSAGE", "INVOCATION", "ACCEPTED", "NEXT", "ATTEMPTS", "GROUP", "DATA", "ERROR"];
    const WIDE_FROM: usize = 7;

    fn cells(&self) -> Vec<String> {
        let [message, accepted, next, attempts, error] = self.invocation.waiting_cells();
        let data = self.body.as_ref().map(|body| body.beginning(SHOWN_MAX)).unwrap_or_default();
        let id = self.invocation.id().to_owned();
        vec![message, id, accepted, next, attempts, self.group.clone().unwrap_or_default(), data, error]
    }

    fn name(&self) -> String {
        self.invocation.id().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_listed_with_the_beginning_of_its_data() {
        let record = pb::InvocationRecord { message: 7, attempts: 1, ..pb::InvocationRecord::default() };
        let body = pb::EventBody { data: "é".repeat(100).into(), ..pb::EventBody::default() };
        let wire = pb::WaitingMessage { record: Some(record), body: Some(body), group: "anna".to_owned() };
        let view = WaitingView::from(wire);
        assert_eq!(view.cells().join("|"), format!("7||||1|anna|{}…|", "é".repeat(60)));
        let bare = WaitingView::from(pb::WaitingMessage::default());
        assert!(!serde_json::to_string(&bare).unwrap().contains("\"body\""));
    }
}
