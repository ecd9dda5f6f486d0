//! What went wrong with one question to a store, and what follows.

use std::time::Duration;

use coracle_proto::status::{Again, CODE_METADATA, Code, Refusal};
use tonic::{ConnectError, Status};

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The store said no.
    Refused(Refusal),
    /// It was not reached: nothing was sent.
    Unreached(String),
    /// The connection broke: what was asked may have been done.
    Broken(String),
    /// No answer in time: what was asked may have been done.
    Silent(Duration),
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would be the same with every store.
    Final,
    /// Another one may lead, or the same one soon.
    Elsewhere,
}

impl Trouble {
    pub(super) fn verdict(&self) -> Verdict {
        let Self::Refused(refusal) = self else { return Verdict::Elsewhere };
        match (refusal.code, refusal.code.retry()) {
            // Whoever asks is told: it is the queue that is full, or the leader that has too much to do, and no other store
            // has room for it.
            (Code::QueueFull | Code::DiskFull | Code::Overloaded, _) | (_, Again::Never) => Verdict::Final,
            (_, Again::NotStarted | Again::Unknown) => Verdict::Elsewhere,
        }
    }

    /// Whether it says that what was asked is not done, however often it was asked before: who has no time looks at nothing.
    pub(super) fn tells_of_all(&self) -> bool {
        matches!(self, Self::Refused(refusal) if !matches!(refusal.code, Code::Overloaded | Code::DiskFull))
    }

    /// Whether what was asked may have been done all the same.
    pub(super) fn may_be_done(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code.retry() == Again::Unknown,
            Self::Unreached(_) => false,
            Self::Broken(_) | Self::Silent(_) => true,
        }
    }

    /// As it is told, in the end.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Unreached(why) => Refusal::new(Code::NoQuorum, format!("the store was not reached: {why}")),
            Self::Broken(why) => Refusal::new(Code::OutcomeUnknown, format!("the connection broke: {why}")),
            Self::Silent(within) => Refusal::new(
                Code::TimedOut,
                format!("the store did not answer within {} ms", within.as_millis()),
            ),
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        // What a store refuses carries its code; the rest was made by the transport.
        if status.metadata().contains_key(CODE_METADATA) {
            Self::Refused(Refusal::from_status(&status))
        } else if status.code() == tonic::Code::Unimplemented {
            let said = "the store's program is older and does not know what it was asked: upgrade it";
            Self::Refused(Refusal::new(Code::NotLeader, said))
        } else {
            match connect_error(&status) {
                Some(why) => Self::Unreached(why),
                None => Self::Broken(status.message().to_owned()),
            }
        }
    }
}

/// Why no connection was made, if that is why there is no answer.
fn connect_error(status: &Status) -> Option<String> {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(connect) = error.downcast_ref::<ConnectError>() {
            return Some(connect.to_string());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_trouble_means() {
        let refused = |code| Trouble::Refused(Refusal::new(code, ""));
        for (trouble, verdict, may_be_done) in [
            (refused(Code::NotLeader), Verdict::Elsewhere, false),
            (refused(Code::NoQuorum), Verdict::Elsewhere, false),
            (refused(Code::OutcomeUnknown), Verdict::Elsewhere, true),
            (refused(Code::ClaimLost), Verdict::Final, false),
            (refused(Code::QueueFull), Verdict::Final, false),
            (refused(Code::Overloaded), Verdict::Final, false),
            (refused(Code::IdempotencyConflict), Verdict::Final, false),
            (Trouble::Unreached(String::new()), Verdict::Elsewhere, false),
            (Status::unavailable("the connection broke").into(), Verdict::Elsewhere, true),
            (Status::unimplemented("").into(), Verdict::Elsewhere, false),
            (Trouble::Silent(Duration::ZERO), Verdict::Elsewhere, true),
        ] {
            assert_eq!((trouble.verdict(), trouble.may_be_done()), (verdict, may_be_done), "{trouble:?}");
        }
        let told = Trouble::from(Status::from(Refusal::new(Code::ClaimLost, "gone")));
        assert_eq!(told, Trouble::Refused(Refusal::new(Code::ClaimLost, "gone")));
    }
}
