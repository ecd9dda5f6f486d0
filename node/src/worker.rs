//! Runs calls on this node, and takes calls to other nodes.
//!
//! [`Executor`] admits or refuses and then hands the call to the runtime; the gateway calls it in process,
//! [`WorkerService`] over gRPC for the gateways of other nodes, and [`RemoteClient`] is their side of it.

mod admission;
mod awaited;
mod executor;
mod remote;
mod service;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use executor::{CALLS_PER_SLOT, Executor, Options, QUEUE_PER_SLOT};
pub use remote::{Failed, LoadSink, RemoteClient};
pub use service::WorkerService;

pub(crate) use admission::{Holding, UntilEnd};

use std::sync::Arc;

use coracle_proto::id::{Epoch, VersionId};
use coracle_proto::record::Version;
use futures::future::BoxFuture;

use crate::call::{Answer, Call, CallError};

/// Runs a call that was admitted: the runtime.
pub trait Invoke: Send + Sync + 'static {
    /// Runs it up to the response's head; the body streams on. Dropping the future, or the answer's body, stops
    /// the guest.
    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>>;
}

/// What this node was assigned and how far it is with it: the agent.
pub trait Assignments: Send + Sync + 'static {
    /// The assignment of a version, if there is one.
    fn get(&self, version: &VersionId) -> Option<Assigned>;
}

/// A version that this node was assigned.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// Since which decision.
    pub epoch: Epoch,
    /// Whether it is compiled and can be called.
    pub ready: bool,
    /// With its whole spec: what comes over a gateway's view lacks what may be secret.
    pub version: Arc<Version>,
}
