//! Which member a message is for: group by group, whatever each replicates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::GroupId;
use coracle_proto::pb::raft as pb;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::failure::Failed;

/// The answers to a stream of entries.
pub(crate) type Appended = BoxStream<'static, Result<pb::AppendReply, Status>>;

/// A stream that ends when its member does not lead any more.
pub(crate) type Attended = BoxStream<'static, Result<pb::AttendReply, Status>>;

/// A member, as messages reach it. Headers are checked before.
#[tonic::async_trait]
pub(crate) trait Hosted: Send + Sync {
    /// Whether a message comes from and is meant for whom the members know.
    fn check(&self, header: &pb::Header) -> Result<(), Status>;
    /// The first request was taken off the stream.
    fn append(
        &self,
        first: pb::AppendRequest,
        rest: Streaming<pb::AppendRequest>,
    ) -> Result<Appended, Status>;
    async fn heartbeat(&self, message: pb::AppendRequest) -> Result<pb::AppendReply, Status>;
    async fn vote(&self, message: pb::VoteRequest) -> Result<pb::VoteReply, Status>;
    async fn pre_vote(&self, message: pb::VoteRequest) -> Result<pb::VoteReply, Status>;
    async fn transfer_leader(&self, message: pb::TransferRequest) -> Result<pb::TransferReply, Status>;
    async fn install_snapshot(
        &self,
        header: Option<pb::Header>,
        start: pb::SnapshotStart,
        chunks: Streaming<pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotReply, Status>;
    async fn read_index(&self) -> Result<pb::ReadIndexReply, Status>;
    async fn attend(&self) -> Result<Attended, Status>;
    async fn gone(&self, message: pb::GoneRequest) -> Result<pb::GoneReply, Status>;
    /// Ends what other members hold open here, then Raft's core.
    async fn end(&self);
}

/// The members of a host.
#[derive(Default)]
pub(crate) struct Registry(Mutex<BTreeMap<GroupId, Arc<dyn Hosted>>>);

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.members().keys()).finish()
    }
}

impl Registry {
    fn members(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arc<dyn Hosted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, group: GroupId, member: Arc<dyn Hosted>) {
        self.members().insert(group, member);
    }

    /// Removes a member, true unless that was done before: there may be another one of its group now.
    pub(crate) fn remove(&self, group: GroupId, member: &Arc<dyn Hosted>) -> bool {
        let mut members = self.members();
        let there = members.get(&group).is_some_and(|there| Arc::ptr_eq(there, member));
        if there {
            members.remove(&group);
        }
        there
    }

    pub(crate) fn get(&self, group: GroupId) -> Option<Arc<dyn Hosted>> {
        self.members().get(&group).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<dyn Hosted>> {
        self.members().values().cloned().collect()
    }
}

/// A store that failed serves nobody any more: every member ends, whether something is asked of it or not.
pub(crate) async fn end_on_failure(registry: Arc<Registry>, mut failure: watch::Receiver<Option<Failed>>) {
    // An error means that the host is gone.
    if failure.wait_for(Option::is_some).await.is_ok() {
        for member in registry.all() {
            member.end().await;
        }
    }
}
