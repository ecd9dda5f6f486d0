//! What went wrong with one attempt, and whether another node is asked.

use std::fmt;
use std::time::Duration;

use coracle_proto::status::{Again, CODE_METADATA, Code, Refusal};
use tonic::Status;

use crate::exit::Failure;

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The node said no. Boxed: a status is large and seldom there.
    Refused(Box<Status>),
    /// The connection broke: the request may or may not have arrived.
    Broken(String),
    /// No answer in time.
    Silent(Duration),
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would be the same anywhere.
    Final,
    /// Another node may answer, until the deadline.
    Elsewhere,
    /// A fault of the platform: another node is asked, a few times.
    Fault,
}

impl Trouble {
    pub(super) fn verdict(&self) -> Verdict {
        let Self::Refused(status) = self else { return Verdict::Elsewhere };
        match code(status) {
            None => Verdict::Final,
            Some(Code::Internal) => Verdict::Fault,
            Some(code) => match code.retry() {
                Again::Never => Verdict::Final,
                Again::NotStarted | Again::Unknown => Verdict::Elsewhere,
            },
        }
    }

    /// Whether the node said that nothing was done.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Refused(status) = self else { return false };
        code(status).is_some_and(|code| code.retry() == Again::NotStarted)
    }

    /// Whether what was asked may have been done all the same.
    pub(super) fn may_be_done(&self) -> bool {
        match self {
            Self::Refused(status) => code(status).is_none_or(|code| code.retry() == Again::Unknown),
            Self::Broken(_) | Self::Silent(_) => true,
        }
    }

    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Refused(status) => Failure::from(status.as_ref()),
            Self::Broken(_) | Self::Silent(_) => Refusal::new(Code::OutcomeUnknown, self.to_string()).into(),
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let of_the_connection = matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::Unknown
                | tonic::Code::Cancelled
                | tonic::Code::Internal
                | tonic::Code::DeadlineExceeded
        );
        // What a node refuses carries its code; the rest was made by the transport.
        if of_the_connection && code(&status).is_none() {
            return Self::Broken(status.message().to_owned());
        }
        Self::Refused(Box::new(status))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => f.write_str(status.message()),
            Self::Broken(reason) => write!(f, "the connection broke ({reason})"),
            Self::Silent(waited) => write!(f, "no answer within {} ms", waited.as_millis()),
        }
    }
}

/// The code of ours that a status carries.
fn code(status: &Status) -> Option<Code> {
    status.metadata().get(CODE_METADATA)?.to_str().ok()?.parse().ok()
}

/// Whether a data group has decided so and remembers it: the same request gets the same answer for ever, and nothing of
/// it is done. What else may be tried again was never decided.
pub(crate) fn is_decided(code: Code) -> bool {
    code == Code::QueueFull
}

/// The same of what an attempt was answered.
pub(crate) fn was_decided(status: &Status) -> bool {
    code(status).is_some_and(is_decided)
}

/// What a stream ended with, where no other node would say anything else.
pub(crate) fn final_failure(status: Status) -> Option<Failure> {
    let trouble = Trouble::from(status);
    (trouble.verdict() == Verdict::Final).then(|| trouble.into_failure())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Status) -> Verdict {
        Trouble::from(status).verdict()
    }

    #[test]
    fn what_was_not_started_or_may_be_lost_is_asked_elsewhere() {
        for code in [Code::NoQuorum, Code::NoWorker, Code::OutcomeUnknown, Code::TimedOut, Code::DiskFull] {
            assert_eq!(verdict(Refusal::new(code, "").into()), Verdict::Elsewhere, "{code}");
        }
        for status in [Status::unavailable("reset"), Status::unknown("h2"), Status::cancelled("gone")] {
            assert_eq!(verdict(status), Verdict::Elsewhere);
        }
        assert_eq!(Trouble::Silent(Duration::from_secs(1)).verdict(), Verdict::Elsewhere);
    }

    #[test]
    fn what_would_be_refused_anywhere_is_final() {
        for code in
            [Code::RouteConflict, Code::InvalidArgument, Code::FunctionNotFound, Code::UnsatisfiedImport]
        {
            assert_eq!(verdict(Refusal::new(code, "").into()), Verdict::Final, "{code}");
        }
        assert_eq!(verdict(Status::permission_denied("")), Verdict::Final);
        assert_eq!(verdict(Status::unimplemented("")), Verdict::Final);
    }

    #[test]
    fn faults_are_counted() {
        assert_eq!(verdict(Refusal::new(Code::Internal, "").into()), Verdict::Fault);
    }
}
