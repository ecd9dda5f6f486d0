//! What the integration tests stand on: real processes, a client, an open-loop load, a trace collector.
//!
//! Tests are named for their depth: t10 basics, t20 life cycle, t30 limits and refusals, t50 faults,
//! t60 configuration, t70 observability, t90 regressions. They wait by predicate and never sleep.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_debug_implementations,
    reason = "this package is for tests only: a broken expectation must stop the test with its words"
)]

mod client;
mod cluster;
mod collector;
mod command;
mod component;
pub mod deliveries;
mod disk;
mod guests;
mod load;
mod network;
mod node;
pub mod registers;
mod wait;
pub mod wasip3;
pub mod wat;

pub use client::{Answer, Client};
pub use cluster::{Cluster, Options};
pub use collector::{Collector, Span, SpanKind};
pub use command::{Finished, Live, run};
pub use component::text_component;
pub use disk::SmallDisk;
pub use guests::{big_guest, example_sum, guest, guests_small};
pub use load::{Load, Ran, Report, Shot};
pub use network::Network;
pub use node::{Node, Process, free_port, is_gone};
pub use wait::{SLACK, eventually, within};
