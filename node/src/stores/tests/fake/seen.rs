//! What the store in memory tells of an invocation.

use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::State;

impl State {
    /// What is answered to whoever asks for an invocation.
    pub(super) fn seen(&self, invocation: &[u8]) -> Result<pb::GetInvocationReply, Refusal> {
        let lost = || Refusal::new(Code::InvocationNotFound, "there is no record of it");
        let message =
            self.messages.iter().find(|it| it.delivery.invocation == invocation).ok_or_else(lost)?;
        let ticket = message.delivery.ticket.as_ref().unwrap();
        let record = pb::InvocationRecord {
            invocation: message.delivery.invocation.clone(),
            namespace: ticket.namespace.clone(),
            queue: ticket.queue.clone(),
            function: message.delivery.function.clone(),
            kind: "async".to_owned(),
            state: message.state.into(),
            accepted_ms: 1,
            attempts: message.delivery.attempt,
            reports: message.reports.clone(),
            last_error: message.last_error.clone(),
            message: ticket.message,
            ..Default::default()
        };
        Ok(pb::GetInvocationReply {
            record: Some(record),
            answer: message.answer.clone(),
            sequence: self.sequence,
        })
    }
}
