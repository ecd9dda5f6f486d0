//! The gRPC services at 7403.

#[cfg(test)]
mod bench;
mod blobs;
mod chunks;
mod clocks;
mod deliveries;
mod effects;
mod event;
mod groups;
mod invocations;
mod kv;
mod leading;
mod manner;
mod process;
mod queues;
mod schedules;
mod secrets;
mod spec;
mod topics;
mod webhooks;
mod wire;

pub(crate) use blobs::BlobsService;
pub(crate) use chunks::ChunksService;
pub(crate) use clocks::ClocksService;
pub(crate) use deliveries::DeliveriesService;
pub(crate) use groups::GroupsService;
pub(crate) use invocations::InvocationsService;
pub(crate) use kv::KvService;
pub(crate) use process::ProcessService;
pub(crate) use queues::QueuesService;
pub(crate) use schedules::SchedulesService;
pub(crate) use secrets::SecretsService;
pub(crate) use topics::TopicsService;
pub(crate) use webhooks::WebhooksService;
