//! The control plane: what the cluster should be, where functions stand, who is alive, and everybody's view of it.
//!
//! [`model`], [`placer`], [`reconcile::plan`], [`liveness::detector`], `seats`, `upkeep` and `soft::orders` decide and are
//! pure; everything else drives them: Raft applies commands, the leader proposes decisions, the watch tells what changed.

mod alarms;
mod api;
mod app;
mod clock;
mod context;
mod exchange;
mod groups;
pub mod identity;
mod lead;
pub mod liveness;
mod machine;
mod metrics;
pub mod model;
mod peers;
pub mod placer;
mod propose;
mod queue;
pub mod reconcile;
mod seats;
mod silent;
mod soft;
mod upkeep;
mod watch;
mod ways;

pub use app::{ARTIFACT_GRACE, Listener, Options, RunError, run, run_on};
#[cfg(feature = "faults")]
pub use coracle_raft::faults;
pub use coracle_raft::{TIMING, Timing};
