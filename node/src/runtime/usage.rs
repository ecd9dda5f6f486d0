//! What a call came to, told once however it ended.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::record::Version;
use coracle_proto::status::Code;
use http::StatusCode;

use super::state::operation::Counts;

/// Where it is told: for bills, records and metrics. It must not wait.
pub trait UsageSink: Debug + Send + Sync + 'static {
    /// A call is over, and what it held has been given back or is about to be.
    fn used(&self, usage: Usage);
}

/// One call on this node. A call that was moved to another node is told by each that it came to.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What was called, with its limits.
    pub version: Arc<Version>,
    /// The same for all attempts of one call.
    pub invocation: InvocationId,
    /// What fired: the name of a [`crate::call::Trigger`].
    pub trigger: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether code had to be mapped for it.
    pub cold: bool,
    /// From its beginning on this node to its end.
    pub wall: Duration,
    /// Processor time of the guest, with what was done for its requests.
    pub cpu: Duration,
    /// The most memory that the guest had, bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of the request's body that the guest was given.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were made and taken.
    pub bytes_out: u64,
    /// Requests of the guest's own that went out.
    pub requests: u64,
    /// Bytes of blobs that were read for the guest, at once, as streams and for copies.
    pub blob_bytes_in: u64,
    /// Bytes of blobs that were written for it, so too: also of those that came to nothing.
    pub blob_bytes_out: u64,
    /// What it did with what its function keeps: how often, by what came of it.
    pub operations: Counts,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer of the function's, all of it.
    Answered(StatusCode),
    /// With an error instead of an answer, or in the middle of it.
    Failed(Code),
    /// Its caller left, or another bound than the runtime's ended it.
    Abandoned,
}

impl Usage {
    /// What the memory comes to over the time, byte-seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than there are")]
    pub fn memory_byte_seconds(&self) -> f64 {
        self.memory_peak_bytes as f64 * self.wall.as_secs_f64()
    }
}
