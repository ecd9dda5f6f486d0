//! The watch: whoever follows the state gets a snapshot or what changed since, then each change, and the soft state beside it.
//!
//! Followers pull from one ring of recent changes, each at its own pace. So a slow one costs nobody
//! anything: when the ring has moved on past it, it is given a snapshot.

mod feed;
mod follow;
mod hub;
mod parts;
mod ring;
mod scope;
mod snapshot;
mod stamp;
#[cfg(test)]
mod tests;

pub(crate) use feed::Feed;
pub(crate) use follow::{Confirmed, Follower, follow};
pub(crate) use hub::Hub;
pub(crate) use scope::Scope;

/// Bytes of one frame: well below gRPC's 4 MiB for a message, and small enough to be sent between others.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;
