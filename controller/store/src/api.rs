//! The gRPC services at 7403.

mod groups;
mod kv;
mod process;

pub(crate) use groups::GroupsService;
pub(crate) use kv::KvService;
pub(crate) use process::ProcessService;
