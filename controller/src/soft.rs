//! Soft state: what changes all the time and never enters Raft. Workers report it to any controller, controllers tell each
//! other ([`crate::exchange`]), the watch passes it on; what is not renewed expires.

mod book;
mod changes;
mod holdings;
mod news;
mod orders;
mod phases;
mod processes;
mod relays;
mod table;

pub(crate) use book::OrdersBook;
pub(crate) use holdings::{ReplicaTold, replica_to_wire};
pub(crate) use news::Phases;
pub(crate) use orders::{OrdersPolicy, compute, copies};
pub(crate) use phases::{Heard, ready_replicas};
pub(crate) use processes::process_alarms;
pub(crate) use table::{Accepted, Seen, SoftTable, Via};

use std::time::Duration;

use crate::liveness::detector::POLICY;

/// Between two reports of a worker, and between two exchanges of controllers: twice this is below the time
/// after which the detector suspects a node.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// A controller that told nothing for so long may have been replaced by another program since.
pub(crate) const TOLD_WITHIN: Duration = INTERVAL.saturating_mul(4);

const _: () = assert!(INTERVAL.as_millis() * 3 < POLICY.suspect_after.as_millis());
