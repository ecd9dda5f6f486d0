//! The gRPC services at 7403.

mod deliveries;
mod groups;
mod invocations;
mod kv;
mod leading;
mod process;
mod queues;
mod wire;

pub(crate) use deliveries::DeliveriesService;
pub(crate) use groups::GroupsService;
pub(crate) use invocations::InvocationsService;
pub(crate) use kv::KvService;
pub(crate) use process::ProcessService;
pub(crate) use queues::QueuesService;
