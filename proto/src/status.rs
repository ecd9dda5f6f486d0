//! The error codes that a user can meet: one name each, in headers, problem bodies, metrics and `docs/errors/NAME.md`.
#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $http:literal, $grpc:ident, $retry:ident;)+) => {
        /// What went wrong, for programs. See `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code's one name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http,)+ }
            }

            /// The gRPC status that goes with it.
            #[must_use]
            pub const fn grpc(self) -> tonic::Code {
                match self { $(Self::$variant => tonic::Code::$grpc,)+ }
            }

            /// When the same request may be sent again.
            #[must_use]
            pub const fn retry(self) -> Again {
                match self { $(Self::$variant => Again::$retry,)+ }
            }
        }
    };
}

/// When a request that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same request will fail again.
    Never,
    /// Nothing was done: it may be sent again, best to another node.
    NotStarted,
    /// It may or may not have been done: only a request with a request id, or an idempotent one.
    Unknown,
}

codes! {
    // Calls: the request itself.
    /// No route matches host and path.
    RouteNotFound = "route-not-found", 404, NotFound, Never;
    /// No function has that name.
    FunctionNotFound = "function-not-found", 404, NotFound, Never;
    /// The path is reserved for the platform.
    ReservedPath = "reserved-path", 404, NotFound, Never;
    /// The request cannot be understood.
    BadRequest = "bad-request", 400, InvalidArgument, Never;
    /// Functions have called functions too often in a row.
    LoopDetected = "loop-detected", 508, FailedPrecondition, Never;
    /// The body of a buffered kind is over its limit.
    RequestTooLarge = "request-too-large", 413, InvalidArgument, Never;
    // Calls: nothing was run.
    /// The function has no replica that can be reached.
    NoReplica = "no-replica", 503, Unavailable, NotStarted;
    /// The gateway has not heard of the cluster's state since its start.
    NoView = "no-view", 503, Unavailable, NotStarted;
    /// The replica is not compiled yet.
    NotReady = "not-ready", 503, Unavailable, NotStarted;
    /// The caller's view is older than the worker's.
    StaleReplica = "stale-replica", 503, Unavailable, NotStarted;
    /// The function's concurrency limit on the node is reached.
    ConcurrencyLimit = "concurrency-limit", 429, ResourceExhausted, NotStarted;
    /// The node runs as many calls as it can.
    Overloaded = "overloaded", 503, Unavailable, NotStarted;
    /// The node is going away.
    Draining = "draining", 503, Unavailable, NotStarted;
    /// The gateway has as many connections as it takes.
    TooManyConnections = "too-many-connections", 503, Unavailable, NotStarted;
    // Calls: a bound was reached.
    /// No response head in time.
    ResponseTimeout = "response-timeout", 504, DeadlineExceeded, Unknown;
    /// The caller did not send its request's body in time.
    RequestTimeout = "request-timeout", 408, DeadlineExceeded, Unknown;
    /// No body bytes in time.
    IdleTimeout = "idle-timeout", 504, DeadlineExceeded, Unknown;
    /// The call used its CPU time.
    CpuTimeExceeded = "cpu-time-exceeded", 504, DeadlineExceeded, Unknown;
    /// The guest asked for more memory than it was granted.
    MemoryExceeded = "memory-exceeded", 507, ResourceExhausted, Unknown;
    /// The node has no more memory for guests.
    NodeOutOfMemory = "node-out-of-memory", 503, ResourceExhausted, Unknown;
    /// The buffered response is over its limit.
    ResponseTooLarge = "response-too-large", 502, ResourceExhausted, Unknown;
    // Calls: the function failed.
    /// The guest trapped.
    FunctionTrapped = "function-trapped", 500, Internal, Unknown;
    /// The guest exited with an error or answered nothing.
    FunctionFailed = "function-failed", 500, Internal, Unknown;
    /// The guest's answer is no HTTP.
    InvalidResponse = "invalid-response", 502, Internal, Unknown;
    /// The function said of an event that it will never take it.
    EventRejected = "event-rejected", 422, FailedPrecondition, Never;
    // Calls: the platform failed.
    /// The worker was lost after the call was sent to it.
    NodeLost = "node-lost", 502, Unavailable, Unknown;
    /// A fault of the platform.
    Internal = "internal", 500, Internal, Unknown;
    // Uploads.
    /// Neither a core module nor a component.
    NotWasm = "not-wasm", 400, InvalidArgument, Never;
    /// Valid Wasm, but no function.
    UnsupportedModule = "unsupported-module", 400, InvalidArgument, Never;
    /// An import that the platform does not provide.
    UnsatisfiedImport = "unsatisfied-import", 400, InvalidArgument, Never;
    /// A proposal that is switched off.
    FeatureNotAllowed = "feature-not-allowed", 400, InvalidArgument, Never;
    /// The scan against compile bombs said no.
    ModuleTooComplex = "module-too-complex", 400, InvalidArgument, Never;
    /// Compilation failed.
    CompileFailed = "compile-failed", 400, InvalidArgument, Never;
    /// Compilation reached its time or memory limit.
    CompileLimit = "compile-limit", 400, ResourceExhausted, Never;
    /// Over the size limit of artifacts.
    ArtifactTooLarge = "artifact-too-large", 413, InvalidArgument, Never;
    /// The bytes do not have the digest that was given.
    DigestMismatch = "digest-mismatch", 400, DataLoss, Never;
    /// No worker that can be reached holds the artifact.
    ArtifactMissing = "artifact-missing", 404, NotFound, Never;
    /// The node's disk is full.
    DiskFull = "disk-full", 507, ResourceExhausted, NotStarted;
    /// No worker can be reached to take the upload.
    NoWorker = "no-worker", 503, Unavailable, NotStarted;
    // Changes.
    /// A field is missing or out of its bounds.
    InvalidArgument = "invalid-argument", 400, InvalidArgument, Never;
    /// The record changed since the revision that was expected.
    Conflict = "conflict", 409, Aborted, Never;
    /// Another function has that route.
    RouteConflict = "route-conflict", 409, AlreadyExists, Never;
    /// No version of the function has that number.
    VersionNotFound = "version-not-found", 404, NotFound, Never;
    /// No node has that id.
    NodeNotFound = "node-not-found", 404, NotFound, Never;
    /// The change would leave the cluster without what it needs.
    NodeRequired = "node-required", 409, FailedPrecondition, Never;
    /// The node was removed or given up: it must join as a new one.
    NodeRemoved = "node-removed", 409, FailedPrecondition, Never;
    /// A limit of the cluster is reached.
    LimitReached = "limit-reached", 409, ResourceExhausted, Never;
    /// The cluster does not understand the command yet: upgrade all voters.
    UpgradeRequired = "upgrade-required", 409, FailedPrecondition, Never;
    /// The message is of another cluster.
    WrongCluster = "wrong-cluster", 409, FailedPrecondition, Never;
    /// The bucket that is named does not exist.
    BucketNotFound = "bucket-not-found", 404, NotFound, Never;
    /// The bucket has no such key.
    KeyNotFound = "key-not-found", 404, NotFound, Never;
    /// The bucket has no such blob, or the member has no such chunk.
    BlobNotFound = "blob-not-found", 404, NotFound, Never;
    /// There is no such upload, or it has ended.
    UploadNotFound = "upload-not-found", 404, NotFound, Never;
    /// The blob is not as the request's conditions say.
    PreconditionFailed = "precondition-failed", 412, FailedPrecondition, Never;
    /// No byte of what was asked for is there.
    RangeNotSatisfiable = "range-not-satisfiable", 416, OutOfRange, Never;
    /// The bucket takes this only with a signature, and there is none that is good.
    SignatureRefused = "signature-refused", 403, PermissionDenied, Never;
    /// There is no webhook of that name.
    WebhookNotFound = "webhook-not-found", 404, NotFound, Never;
    /// What was sent to a webhook is not signed as its sender signs it.
    WebhookRefused = "webhook-refused", 401, Unauthenticated, Never;
    /// There is no secret of that name.
    SecretNotFound = "secret-not-found", 404, NotFound, Never;
    /// There is no queue of that name.
    QueueNotFound = "queue-not-found", 404, NotFound, Never;
    /// There is no schedule of that name.
    ScheduleNotFound = "schedule-not-found", 404, NotFound, Never;
    /// The queue has as much as it may.
    QueueFull = "queue-full", 429, ResourceExhausted, NotStarted;
    /// There is no record of that invocation, or not any more.
    InvocationNotFound = "invocation-not-found", 404, NotFound, Never;
    /// The idempotency key was used for another request.
    IdempotencyConflict = "idempotency-conflict", 422, FailedPrecondition, Never;
    /// The claim of a message is not held any more: what its attempt did counts for nothing.
    ClaimLost = "claim-lost", 409, Aborted, Never;
    /// No node keeps anything.
    NoStore = "no-store", 503, Unavailable, NotStarted;
    /// The store that was asked does not lead the data group, or has no replica of it.
    NotLeader = "not-leader", 503, Unavailable, NotStarted;
    /// There is no leader, or it has no majority.
    NoQuorum = "no-quorum", 503, Unavailable, NotStarted;
    /// The answer was lost: the change may or may not have been made.
    OutcomeUnknown = "outcome-unknown", 503, Unknown, Unknown;
    /// It took too long.
    TimedOut = "timed-out", 504, DeadlineExceeded, Unknown;
    /// The node's store is damaged.
    StoreDamaged = "store-damaged", 500, DataLoss, Never;
    /// The node's store belongs to another cluster or node.
    StoreForeign = "store-foreign", 500, FailedPrecondition, Never;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not an error code")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == text).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// The metadata key that carries the code beside a gRPC status.
pub const CODE_METADATA: &str = "coracle-error";

/// A code with the sentence that goes with it: what crosses an API.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what was wrong, where, what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Reads back what [`tonic::Status::from`] wrote; a status without a code gets the nearest one.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Self {
        let named = status.metadata().get(CODE_METADATA).and_then(|value| value.to_str().ok());
        let code = named.and_then(|name| name.parse().ok()).unwrap_or_else(|| nearest(status.code()));
        Self::new(code, status.message())
    }
}

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.code.grpc(), refusal.message);
        let name = tonic::metadata::MetadataValue::from_static(refusal.code.name());
        status.metadata_mut().insert(CODE_METADATA, name);
        status
    }
}

/// The code for a status that another program, or tonic itself, made.
fn nearest(code: tonic::Code) -> Code {
    match code {
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::InvalidArgument,
        tonic::Code::NotFound => Code::FunctionNotFound,
        tonic::Code::DeadlineExceeded => Code::TimedOut,
        tonic::Code::Unavailable => Code::NoQuorum,
        tonic::Code::Cancelled | tonic::Code::Unknown => Code::OutcomeUnknown,
        tonic::Code::Aborted => Code::Conflict,
        tonic::Code::ResourceExhausted => Code::LimitReached,
        tonic::Code::Ok
        | tonic::Code::AlreadyExists
        | tonic::Code::PermissionDenied
        | tonic::Code::FailedPrecondition
        | tonic::Code::Unimplemented
        | tonic::Code::Internal
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(code.name().parse::<Code>().unwrap(), *code);
        }
    }

    #[test]
    fn a_refusal_crosses_grpc() {
        let refusal = Refusal::new(Code::RouteConflict, "'/a' belongs to 'b'");
        assert_eq!(Refusal::from_status(&tonic::Status::from(refusal.clone())), refusal);
    }
}
