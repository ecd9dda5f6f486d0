//! Artifacts between nodes: fetched from who holds them, copied to who does not.

mod copies;
mod fetch;
mod peer;

pub(super) use copies::{Second, ensure_second};
pub use fetch::{FetchError, Fetcher};
pub(super) use peer::MESSAGE_BYTES_MAX;
#[cfg(test)]
pub(super) use peer::connect;
pub use peer::{CHUNK_BYTES, Peer, PeerList};
