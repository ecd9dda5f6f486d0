//! Raft for one kind of data: openraft on sled, generic over a state machine and a group.
//!
//! It knows nothing of functions. openraft and sled are named only in this package, and none of their types
//! appears in what it offers.

mod codec;
mod error;
pub mod faults;
mod member;
mod membership;
mod metrics;
mod network;
mod options;
mod raft;
mod start;
mod state_machine;
mod status;
mod store;
mod types;
mod witness;

pub use error::{Leader, OpenError, ProposeError};
pub use metrics::{SYNC_BUCKETS_US, SyncHistogram};
pub use network::{Peers, RaftServer, RaftService, RecordedPeers};
pub use options::{COMMAND_BYTES_MAX, Identity, LIMITS, Limits, Options, OptionsError, TIMING, Timing};
pub use raft::Raft;
pub use state_machine::{Applied, Change, Halt, Observer, Position, RestoreError, StateMachine};
pub use status::{Follower, Role, Status, StatusWatch, StoreStatus, VoteStatus};
