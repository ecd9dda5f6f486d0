//! How a command ends: its exit code and the sentence that goes with it.

use std::fmt::Display;
use std::process::ExitCode;

use coracle_proto::status::{Code, Refusal};
use thiserror::Error;

/// The fixed exit codes. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The command line, the manifest or the configuration is wrong.
    Usage = 1,
    /// No address could be reached.
    Connect = 2,
    /// Not permitted.
    Denied = 3,
    /// The cluster refused.
    Refused = 4,
    /// A fault of the cluster or of this program.
    Server = 5,
    /// What was named does not exist.
    NotFound = 6,
    /// It took too long.
    TimedOut = 7,
    /// Something else changed it first, or it exists already.
    Conflict = 8,
    /// The function answered with an error.
    Function = 9,
    /// Too much at once.
    Throttled = 10,
    /// A child process has a bad configuration or a store that it must not use: never restarted.
    Config = 78,
    /// A child heard that the cluster has removed this node: its supervisor ends the node, with [`Self::Config`].
    Removed = 79,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::BadRequest
            | Code::RequestTooLarge
            | Code::NotWasm
            | Code::UnsupportedModule
            | Code::UnsatisfiedImport
            | Code::FeatureNotAllowed
            | Code::ModuleTooComplex
            | Code::CompileFailed
            | Code::CompileLimit
            | Code::ArtifactTooLarge
            | Code::DigestMismatch
            | Code::LoopDetected
            | Code::RangeNotSatisfiable
            | Code::InvalidArgument
            | Code::NodeRequired
            | Code::NodeRemoved
            // A limit is refused, not throttled: waiting does not help.
            | Code::LimitReached
            | Code::UpgradeRequired
            | Code::IdempotencyConflict
            | Code::WrongCluster => Self::Refused,
            Code::NoReplica
            | Code::NoView
            | Code::NotReady
            | Code::StaleReplica
            | Code::Draining
            | Code::NodeLost
            | Code::Internal
            | Code::DiskFull
            | Code::NoWorker
            | Code::NoQuorum
            | Code::NotLeader
            | Code::NoStore
            | Code::OutcomeUnknown
            | Code::StoreDamaged
            | Code::StoreForeign => Self::Server,
            Code::RouteNotFound
            | Code::FunctionNotFound
            | Code::ReservedPath
            | Code::ArtifactMissing
            | Code::VersionNotFound
            | Code::BucketNotFound
            | Code::BlobNotFound
            | Code::UploadNotFound
            | Code::WebhookNotFound
            | Code::SecretNotFound
            | Code::KeyNotFound
            | Code::QueueNotFound
            | Code::ScheduleNotFound
            | Code::InvocationNotFound
            | Code::NodeNotFound => Self::NotFound,
            Code::RequestTimeout
            | Code::ResponseTimeout
            | Code::IdleTimeout
            | Code::CpuTimeExceeded
            | Code::TimedOut => Self::TimedOut,
            Code::Conflict | Code::RouteConflict | Code::ClaimLost | Code::PreconditionFailed => Self::Conflict,
            Code::SignatureRefused | Code::WebhookRefused => Self::Denied,
            Code::MemoryExceeded
            | Code::ResponseTooLarge
            | Code::FunctionTrapped
            | Code::FunctionFailed
            | Code::InvalidResponse
            | Code::EventRejected => Self::Function,
            Code::ConcurrencyLimit
            | Code::Overloaded
            | Code::NodeOutOfMemory
            | Code::QueueFull
            | Code::TooManyConnections => Self::Throttled,
        }
    }
}

/// Why a command failed: said once, by [`crate::main_entry`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// For scripts.
    pub(crate) exit: Exit,
    /// For people: what was wrong, where, what to do.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with its sentence.
    #[must_use]
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command line or a file of the user's is wrong.
    #[must_use]
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something on this machine did not work: `what` says what was tried.
    #[must_use]
    pub(crate) fn local(what: impl Display, error: impl Display) -> Self {
        Self::new(Exit::Server, format!("{what}: {error}"))
    }

    /// A failure that has a page of its own.
    #[must_use]
    pub(crate) fn coded(exit: Exit, code: Code, message: impl Display) -> Self {
        Self::new(exit, format!("{message} (code {code}, see docs/errors/{code}.md)"))
    }

    /// The reader of the results left, as `head` does: nothing to say, and no failure.
    #[must_use]
    pub(crate) fn reader_left() -> Self {
        Self::new(Exit::Ok, "nobody reads the results any more")
    }

    /// Says first what was being done.
    #[must_use]
    pub(crate) fn during(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::coded(refusal.code.into(), refusal.code, refusal.message)
    }
}

impl From<&tonic::Status> for Failure {
    fn from(status: &tonic::Status) -> Self {
        match status.code() {
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
                let refusal = Refusal::from_status(status);
                if Exit::from(refusal.code) == Exit::Denied {
                    return refusal.into();
                }
                // Said by whoever stands before a node.
                Self::new(Exit::Denied, format!("not permitted: {}", status.message()))
            }
            tonic::Code::Unimplemented => Self::new(
                Exit::Server,
                format!(
                    "the node does not know this request; is it older than this program? {}",
                    status.message()
                ),
            ),
            tonic::Code::Ok
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
            | tonic::Code::InvalidArgument
            | tonic::Code::DeadlineExceeded
            | tonic::Code::NotFound
            | tonic::Code::AlreadyExists
            | tonic::Code::ResourceExhausted
            | tonic::Code::FailedPrecondition
            | tonic::Code::Aborted
            | tonic::Code::OutOfRange
            | tonic::Code::Internal
            | tonic::Code::Unavailable
            | tonic::Code::DataLoss => Refusal::from_status(status).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_platform_have_the_documented_exit_codes() {
        let exit = |code| Failure::from(Refusal::new(code, "x")).exit as u8;
        assert_eq!(exit(Code::UnsatisfiedImport), 4);
        assert_eq!(exit(Code::CompileLimit), 4);
        assert_eq!(exit(Code::NoQuorum), 5);
        assert_eq!(exit(Code::FunctionNotFound), 6);
        assert_eq!(exit(Code::TimedOut), 7);
        assert_eq!(exit(Code::RouteConflict), 8);
        assert_eq!(exit(Code::FunctionTrapped), 9);
        assert_eq!(exit(Code::ConcurrencyLimit), 10);
    }

    #[test]
    fn every_code_is_a_failure_and_names_its_page() {
        for code in Code::ALL {
            let failure = Failure::from(&tonic::Status::from(Refusal::new(*code, "what happened")));
            assert!((3..=10).contains(&(failure.exit as u8)), "{code}: {:?}", failure.exit);
            assert_eq!(
                failure.to_string(),
                format!("what happened (code {code}, see docs/errors/{code}.md)")
            );
        }
    }

    #[test]
    fn not_permitted_has_its_own_exit_code() {
        assert_eq!(Failure::from(&tonic::Status::permission_denied("no")).exit, Exit::Denied);
        assert_eq!(Failure::from(&tonic::Status::unauthenticated("no")).exit, Exit::Denied);
    }
}
