//! Waiting for a member's status.

use std::sync::Arc;

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver as _;
use openraft::metrics::RaftServerMetrics;

use crate::member::Member;
use crate::state_machine::State;
use crate::status::Status;
use crate::types::Types;

/// Follows who leads, who the members are, and whether this one has ended. Not how far it is: that changes several times
/// with each command.
pub struct StatusWatch<S: State> {
    servers: WatchReceiverOf<Types, RaftServerMetrics<Types>>,
    member: Arc<Member<S>>,
}

impl<S: State> std::fmt::Debug for StatusWatch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusWatch").finish_non_exhaustive()
    }
}

impl<S: State> StatusWatch<S> {
    pub(crate) fn new(member: Arc<Member<S>>) -> Self {
        Self { servers: member.raft.server_metrics(), member }
    }

    /// The status now.
    #[must_use]
    pub fn current(&self) -> Status {
        self.member.status()
    }

    /// Waits until the status is as wanted; none when the member has ended before.
    pub async fn until(&mut self, wanted: impl Fn(&Status) -> bool + Send) -> Option<Status> {
        let mut ended = false;
        loop {
            // What changes after this wakes the wait below.
            drop(self.servers.borrow_and_update());
            let status = self.current();
            if wanted(&status) {
                return Some(status);
            }
            if ended {
                return None;
            }
            // That it has ended is the last thing that it tells.
            ended = self.servers.changed().await.is_err();
        }
    }
}
