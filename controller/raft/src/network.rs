//! Raft between members, over gRPC.

mod addresses;
mod beats;
mod calls;
mod channels;
mod client;
mod hosted;
mod owed;
mod registry;
mod server;

pub use addresses::{AddressBook, RecordedAddresses};
pub(crate) use calls::{Lines, Testimony};
pub(crate) use channels::Channels;
pub(crate) use client::Connector;
pub(crate) use registry::{Hosted, Registry, end_on_failure};
pub use server::{RaftServer, RaftService};

use crate::log::APPEND_BYTES_MAX;
use crate::options::COMMAND_BYTES_MAX;

/// The largest message between members. The largest are appends: at most [`APPEND_BYTES_MAX`] of entries, or
/// one larger entry, and what frames them.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(MESSAGE_BYTES_MAX >= 2 * (APPEND_BYTES_MAX + COMMAND_BYTES_MAX));

/// Snapshots travel in chunks of this many bytes.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

const _: () = assert!(CHUNK_BYTES * 2 <= MESSAGE_BYTES_MAX);
