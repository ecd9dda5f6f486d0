//! The replicated state and the commands that change it: pure, total, and each command costs what it changes.
//!
//! [`ClusterState::apply`] is the only way in. It takes an [`Envelope`] off the log and gives back the outcome
//! and the changes: the batch for the disk, the frame for watchers and the update of the state hash in one.

mod apply;
mod assign;
mod cluster;
/// Commands to and from the bytes that stand in the log.
pub mod codec;
mod command;
mod edit;
mod function;
mod group;
mod hash;
mod invariant;
mod kept;
mod node;
mod restore;
mod state;
mod subtree;
mod write;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use cluster::{
    COMMAND_FORMAT, FORMAT_DECISIONS, FORMAT_FIRST, FORMAT_GRANTS, FORMAT_GROUPS, TIME_STEP_MAX_MS,
    VOTERS_WANTED_DEFAULT, VOTERS_WANTED_MAX,
};
pub use command::{Command, Envelope, Placement, Switch};
pub use edit::Change;
pub use function::{FUNCTIONS_MAX, VERSIONS_MAX, default_route};
pub use group::{GROUPS_MAX, MEMBERS_MAX};
pub use invariant::Broken;
pub(crate) use kept::Encoded;
pub use node::{NODES_MAX, at_format};
pub use restore::RestoreError;
pub use state::{ClusterState, REMEMBERED_MAX};
pub use subtree::Taken;
