//! The way to the leader, as one proposal goes it.

mod link;
mod serve;
mod single;

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::pb::{ForwardAnswer, forward_answer::Kind};
use coracle_proto::status::{Again, Code, Refusal};
use coracle_proto::trace;
use coracle_raft::Leader;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(crate) use link::drive;
pub(crate) use serve::{propose_forwarded, serve};

use super::{Decided, Failed, codec, not_made_yet, propose_here};
use crate::clock;
use crate::context::Context;
use crate::ways::{Ticket, Waiting};

/// Passes an envelope on to the leader, and waits as long as that one leads: the link sees when another one does, or when
/// nobody is there. Asking a slow leader again would only make it slower.
pub(super) async fn forward(
    context: &Context,
    leader: &Leader,
    envelope: Bytes,
    deadline: Instant,
) -> Result<Decided, Failed> {
    context.metrics.forwarded();
    let left = deadline.saturating_duration_since(clock::now());
    let (answer, answered) = oneshot::channel();
    let ticket = Ticket::default();
    let waiting = Waiting {
        envelope,
        deadline,
        trace: trace::current(),
        leader: leader.node,
        ticket: ticket.clone(),
        answer,
    };
    let passed = async {
        context.link.pass(waiting).await?;
        answered.await.map_err(|_| Failed::Unknown(lost("this controller ends")))?
    };
    match timeout(left, passed).await {
        Ok(Ok(answer)) => decided(answer),
        Ok(Err(failed)) => Err(failed),
        Err(_) if ticket.take() => Err(Failed::NotStarted(silent(leader, left))),
        Err(_) => Err(Failed::Unknown(silent(leader, left))),
    }
}

fn silent(leader: &Leader, left: Duration) -> Refusal {
    let sentence = format!("leader {} did not answer within {:.1} s", leader.node, left.as_secs_f32());
    Refusal::new(Code::TimedOut, sentence)
}

fn lost(why: &str) -> Refusal {
    Refusal::new(Code::OutcomeUnknown, format!("the answer of the leader was lost: {why}"))
}

/// Only a code that the leader wrote tells that nothing was done.
fn decided(answer: ForwardAnswer) -> Result<Decided, Failed> {
    match answer.kind {
        Some(Kind::Reply(reply)) => codec::from_wire(reply),
        Some(Kind::Refusal(rejected)) => {
            // A newer leader may know more codes: of those nothing is known but that it answered.
            let code = rejected.code.parse().unwrap_or(Code::OutcomeUnknown);
            let refusal = Refusal::new(code, rejected.message);
            Err(match code.retry() {
                Again::NotStarted => Failed::NotStarted(refusal),
                Again::Never => Failed::Final(refusal),
                Again::Unknown => Failed::Unknown(refusal),
            })
        }
        None => Err(Failed::Unknown(lost("it said nothing"))),
    }
}

/// Whether nobody listened at the address.
fn refused_to_connect(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let system = error.downcast_ref::<io::Error>();
        if system.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::{ProposeReply, Rejected};

    use super::*;

    #[test]
    fn only_the_leaders_own_word_says_that_nothing_was_done() {
        let told = |code: &str| {
            let refusal = Rejected { code: code.to_owned(), message: "told".to_owned() };
            decided(ForwardAnswer { number: 1, kind: Some(Kind::Refusal(refusal)) })
        };
        assert!(matches!(told(Code::NoQuorum.name()), Err(Failed::NotStarted(_))));
        assert!(matches!(told(Code::Conflict.name()), Err(Failed::Final(_))));
        assert!(matches!(told(Code::OutcomeUnknown.name()), Err(Failed::Unknown(_))));
        assert!(matches!(told("of-a-newer-program"), Err(Failed::Unknown(_))));
        let nothing = decided(ForwardAnswer { number: 1, kind: None });
        assert!(matches!(nothing, Err(Failed::Unknown(_))));
        let odd = ProposeReply { outcome: vec![0xff].into(), revision: 1 };
        let odd = decided(ForwardAnswer { number: 1, kind: Some(Kind::Reply(odd)) });
        assert!(matches!(odd, Err(Failed::Final(refusal)) if refusal.code == Code::Internal));
    }

    #[test]
    fn a_proposal_is_sent_or_given_up_and_never_both() {
        let (link, asker) = {
            let ticket = Ticket::default();
            (ticket.clone(), ticket)
        };
        assert!(link.take());
        assert!(!asker.take());
    }
}
