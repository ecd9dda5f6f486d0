//! What functions keep: the pure model of a data group, and what drives it.
//!
//! A data group replicates messages, values and cursors of the namespaces whose slots it has (docs/adr/0013). [`model`]
//! decides and does nothing else; [`DataMachine`] brings it entries and takes its answers. A store process has replicas of
//! groups: `book` is what it was told of them, `replicas` begins and ends them, `lead` has a group led towards the members
//! that it is to have (`members` decides), `propose` gathers operations to entries, `deliver` gives messages to nodes (docs/adr/0014),
//! `news` tells of what is applied, `tend` has the leader's group do what is due, `schedules` says which
//! ticks have come (docs/adr/0015; `cron` knows when), `chunks` keeps what blobs hold, in files beside the replicas
//! (docs/adr/0018), `api` is the gRPC surface at 7403.

mod api;
mod app;
mod book;
mod chunks;
mod clock;
mod cron;
mod deliver;
mod hmac;
mod lead;
mod machine;
mod members;
pub mod model;
mod news;
mod propose;
mod refused;
mod replicas;
mod schedules;
mod tend;
#[cfg(test)]
mod world;

pub use app::{Options, RunError, run};
pub use machine::DataMachine;
