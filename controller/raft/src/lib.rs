//! Raft for many groups of one process: openraft on a log of our own, states on sled or fjall, generic over a machine.
//!
//! It knows nothing of functions. openraft, sled and fjall are named only in this package, and none of their types
//! appears in what it offers.

mod codec;
mod disk;
mod disk_machine;
mod draft;
mod error;
mod failure;
pub mod faults;
mod host;
mod joint;
mod log;
mod member;
mod membership;
mod metrics;
mod network;
mod options;
mod os;
mod raft;
mod reader;
mod start;
mod state;
mod state_machine;
mod status;
mod status_watch;
mod terms;
mod types;
mod witness;

pub use disk_machine::{DiskMachine, Stop};
pub use draft::Draft;
pub use error::{Leader, OpenError, ProposeError};
pub use failure::Failed;
pub use host::Host;
pub use membership::Seat;
pub use metrics::{SYNC_BUCKETS_US, SyncHistogram};
pub use network::{AddressBook, RaftServer, RaftService, RecordedAddresses};
pub use options::{
    COMMAND_BYTES_MAX, GroupOptions, HostOptions, LIMITS, Limits, MemberId, Options, OptionsError, Owner,
    States, TIMING, TIMING_DATA, Timing,
};
pub use raft::Raft;
pub use reader::{Reader, RecordsIter, View};
pub use state_machine::{Applied, Change, Halt, Observer, Position, RestoreError, State, StateMachine};
pub use status::{Follower, Role, Status, StoreStatus, VoteStatus};
pub use status_watch::StatusWatch;
pub use terms::AbsurdTerm;
