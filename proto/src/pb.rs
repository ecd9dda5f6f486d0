//! Generated messages and services; nothing else.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    clippy::unused_async,
    clippy::or_fun_call,
    clippy::too_many_lines,
    reason = "generated code; the .proto files are documented"
)]

pub use crate::frame::{Changes, Snapshot, SoftBatch};

tonic::include_proto!("coracle.v1");

/// Messages and service of `coracle.raft.v1`.
pub mod raft {
    tonic::include_proto!("coracle.raft.v1");
}

/// Messages of `coracle.store.v1`.
pub mod store {
    tonic::include_proto!("coracle.store.v1");
}

/// The descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
