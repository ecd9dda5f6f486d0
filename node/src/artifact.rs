//! Artifacts: content-addressed files, outside Raft, that nodes send each other.
//!
//! A file is in the [`Store`] only when its bytes have its digest and, for one that a user sent, when it was
//! checked and compiled: until then it lies in the store's `tmp` folder. Nothing here deletes an artifact by
//! its own judgement; [`Store::remove`] is called for orders of the leader only.

mod accept;
mod error;
mod locks;
mod metrics;
mod outgoing;
mod patrol;
mod places;
mod prepare;
mod receiving;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod transfer;
mod upload;

pub use error::ArtifactError;
pub use metrics::ArtifactMetrics;
pub use patrol::{Pace, Patrol};
pub use prepare::{Checked, Prepare, Wants};
pub use receiving::{Receiving, Sealed};
pub use service::ArtifactService;
pub(crate) use store::blocking;
pub use store::{Index, OnDisk, Removed, Store};
pub use transfer::{CHUNK_BYTES, FetchError, Fetcher, Peer, PeerList};
pub use upload::Uploads;
