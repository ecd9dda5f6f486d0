//! The way to a leader of a program that knows no stream of proposals: each goes by itself.

use std::time::Duration;

use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::{ForwardAnswer, ProposeRequest, Rejected, forward_answer::Kind};
use coracle_proto::status::{CODE_METADATA, Refusal};
use tonic::transport::Channel;

use super::{Failed, lost, refused_to_connect};
use crate::clock;
use crate::ways::Waiting;

/// Nobody looks meanwhile whether the leader is another one: one that does not answer by then may be stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Passes one proposal on, unless it was given up.
pub(super) async fn pass(channel: Channel, waiting: Waiting) {
    if !waiting.ticket.take() {
        return;
    }
    let mut request = tonic::Request::new(ProposeRequest { envelope: waiting.envelope });
    if let Ok(trace) = waiting.trace.parse() {
        request.metadata_mut().insert("traceparent", trace);
    }
    request.set_timeout(waiting.deadline.saturating_duration_since(clock::now()).min(ANSWER_TIMEOUT));
    let kind = match ControlClient::new(channel).propose(request).await {
        Ok(reply) => Ok(Kind::Reply(reply.into_inner())),
        Err(status) => refused(&status),
    };
    // Whoever asked may have left.
    let _ = waiting.answer.send(kind.map(|kind| ForwardAnswer { number: 0, kind: Some(kind) }));
}

/// Only a code that the leader wrote, or a connection that never was, tells that nothing was done.
fn refused(status: &tonic::Status) -> Result<Kind, Failed> {
    let refusal = Refusal::from_status(status);
    if refused_to_connect(status) {
        return Err(Failed::NotStarted(refusal));
    }
    if !status.metadata().contains_key(CODE_METADATA) {
        return Err(Failed::Unknown(lost(&refusal.message)));
    }
    Ok(Kind::Refusal(Rejected { code: refusal.code.name().to_owned(), message: refusal.message }))
}

#[cfg(test)]
mod tests {
    use std::io;

    use coracle_proto::status::Code;

    use super::*;

    #[test]
    fn a_lost_connection_tells_nothing() {
        let lost = tonic::Status::unavailable("connection reset");
        assert!(matches!(refused(&lost), Err(Failed::Unknown(_))));
        let nobody = tonic::Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(matches!(refused(&nobody), Err(Failed::NotStarted(_))));
        let told = tonic::Status::from(Refusal::new(Code::NoQuorum, "told"));
        assert!(matches!(refused(&told), Ok(Kind::Refusal(rejected)) if rejected.code == "no-quorum"));
    }
}
