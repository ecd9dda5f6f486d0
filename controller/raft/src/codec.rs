//! The doors between bytes and openraft's types: records on disk and messages on the wire.

pub(crate) mod frame;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod raft;
pub(crate) mod record;
