//! Soft state: what changes all the time and never enters Raft. Workers report it to any controller,
//! controllers tell each other, the watch passes it on; what is not renewed expires.

mod book;
mod exchange;
mod order;
mod orders;
mod phases;
mod report;
mod table;
mod tend;

pub(crate) use book::OrdersBook;
pub(crate) use exchange::exchange;
pub(crate) use order::order;
pub(crate) use orders::{OrdersPolicy, copies, compute};
pub(crate) use phases::{in_phase, ready_replicas};
pub(crate) use report::report;
pub(crate) use table::{Seen, SoftTable, Via};
pub(crate) use tend::tend;

use std::time::Duration;

/// Between two reports of a worker, and between two exchanges of controllers.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
