//! The replicas of this store: begun and ended as the cluster's leader arranges, and each led towards the members that it is
//! to have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::{ClusterId, GroupId, NodeId, StoreId};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Failed, GroupOptions, Host, Raft, View};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::DataMachine;
use crate::book::{Arrangement, Book};
use crate::chunks::{self, Chunks, GroupChunks, garbage, repair};
use crate::clock::{GroupClock, Members};
use crate::deliver::Deliveries;
use crate::lead::{hand_over, lead};
use crate::news::News;
use crate::propose::{Proposer, not_leader};
use crate::refused::Refused;
use crate::schedules::Schedules;
use crate::tend::{CLAIMS_GRACE, tend};

/// A member of a group whose state is on the disk.
pub(crate) type Replica = Raft<View>;

/// All of a store.
pub(crate) struct Replicas {
    cluster: ClusterId,
    node: NodeId,
    host: Host,
    book: Book,
    chunks: Chunks,
    running: Mutex<BTreeMap<GroupId, Running>>,
    /// One begins or ends at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A replica that is asked: its way into the log, what it tells, and what it gives to nodes.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) replica: Replica,
    pub(crate) clock: GroupClock,
    pub(crate) proposer: Proposer,
    pub(crate) news: Arc<News>,
    pub(crate) deliveries: Deliveries,
    pub(crate) schedules: Schedules,
    pub(crate) chunks: GroupChunks,
    pub(crate) refused: Refused,
}

struct Running {
    served: Served,
    /// Told when there is a newer arrangement.
    arranged: Arc<Notify>,
    tasks: [JoinHandle<()>; 5],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Replicas {
    pub(crate) fn new(
        (cluster, node): (ClusterId, NodeId),
        host: Host,
        (book, chunks): (Book, Chunks),
    ) -> Self {
        let (running, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { cluster, node, host, book, chunks, running, turn }
    }

    /// Begins whatever this store had when it ended. One that cannot be begun is told and left out: the others go on.
    pub(crate) async fn resume(&self) {
        let _turn = self.turn.lock().await;
        let (own, others): (Vec<_>, Vec<_>) = self.book.all().into_iter().partition(|it| it.keeps(self.node));
        for Arrangement { group, .. } in others {
            // Where this store ended before it was done.
            self.chunks.forget(group).await;
        }
        self.chunks.clear();
        for Arrangement { group, .. } in own {
            if let Err(refusal) = self.begin(group).await {
                warn!(%group, %refusal, "this replica does not begin");
            }
        }
    }

    /// Groups of which this store is to have a replica and has none: it could not begin.
    pub(crate) fn missing(&self) -> Vec<GroupId> {
        let own = self.book.all().into_iter().filter(|it| it.keeps(self.node));
        let running = self.running();
        own.map(|it| it.group).filter(|group| !running.contains_key(group)).collect()
    }

    /// Does as the cluster's leader says of one group.
    ///
    /// # Errors
    /// Why not; an older word than the last one is refused.
    pub(crate) async fn arrange(&self, arrangement: Arrangement) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let group = arrangement.group;
        if let Some(known) = self.book.of(group).filter(|known| known.revision > arrangement.revision) {
            let sentence = format!(
                "group {group}: this was decided at revision {}, and what this store knows at {}",
                arrangement.revision, known.revision
            );
            return Err(Refusal::new(Code::Conflict, sentence));
        }
        let (book, noted) = (self.book.clone(), arrangement.clone());
        let noted = tokio::task::spawn_blocking(move || book.note(&noted)).await;
        noted.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
        // Nobody else may have what it has until the others vote without it.
        if !arrangement.keeps(self.node) {
            self.end(group).await;
            self.chunks.forget(group).await;
            return Ok(());
        }
        self.begin(group).await?;
        let Some(replica) = self.get(group) else { return Ok(()) };
        self.found(&replica, &arrangement).await;
        if let Some(running) = self.running().get(&group) {
            running.arranged.notify_one();
        }
        Ok(())
    }

    async fn begin(&self, group: GroupId) -> Result<(), Refusal> {
        if self.running().contains_key(&group) {
            return Ok(());
        }
        let news = Arc::new(News::new());
        let observer = Arc::clone(&news);
        let started = self.host.start_on_disk::<DataMachine>(GroupOptions::new(group), observer).await;
        let replica = started.map_err(|error| internal(&error))?;
        info!(%group, "a replica begins");
        let arranged = Arc::new(Notify::new());
        let chunks = self.chunks.of(group);
        let (ours, arranges) =
            ((replica.clone(), chunks.clone()), (self.book.clone(), Arc::clone(&arranged)));
        let leads = tokio::spawn(lead(self.cluster, group, ours, arranges));
        let members = Members::new(self.cluster);
        let clock = GroupClock::of(replica.clone(), members.clone());
        let proposer = Proposer::start(self.cluster, group, replica.clone(), clock.clone());
        let told = Arc::clone(&news);
        let deliveries = Deliveries::start(group, (replica.clone(), clock.clone()), proposer.clone(), told);
        let schedules = Schedules::new(group, members);
        let refused = Refused::default();
        let served = Served { replica, clock, proposer, news, deliveries, schedules, chunks, refused };
        let tends = tokio::spawn(tend(group, served.clone(), CLAIMS_GRACE));
        let ticks = tokio::spawn(served.schedules.clone().run(served.clone()));
        let repairs = tokio::spawn(repair(self.cluster, served.clone()));
        let cleans = tokio::spawn(garbage(served.chunks.clone(), served.replica.clone()));
        let tasks = [leads, tends, ticks, repairs, cleans];
        self.running().insert(group, Running { served, arranged, tasks });
        Ok(())
    }

    /// Makes the group, where this is the one that does. The first of its members alone: two groups under one name could both
    /// find a majority.
    async fn found(&self, replica: &Replica, arrangement: &Arrangement) {
        let is_first = arrangement.members.keys().next() == Some(&self.node);
        if arrangement.begun || !is_first || !replica.status().voters.is_empty() {
            return;
        }
        let group = arrangement.group;
        match replica.initialize(arrangement.members.clone()).await {
            Ok(()) => info!(%group, members = ?arrangement.members.keys(), "a group is founded"),
            // It is told again.
            Err(error) => warn!(%group, %error, "the group is not founded yet"),
        }
    }

    /// Ends a replica that no leader counts on any more. What it has applied stays on the disk, and so does the word that ended it: an
    /// older one does not begin it again.
    async fn end(&self, group: GroupId) {
        let Some(running) = self.running().remove(&group) else { return };
        info!(%group, "a replica ends");
        running.served.replica.shutdown().await;
    }

    /// The replica of a group.
    pub(crate) fn get(&self, group: GroupId) -> Option<Replica> {
        self.running().get(&group).map(|running| running.served.replica.clone())
    }

    /// The same, for what is asked of it.
    ///
    /// # Errors
    /// `not-leader` where there is none.
    pub(crate) fn served(&self, group: GroupId) -> Result<Served, Refusal> {
        let served = self.running().get(&group).map(|running| running.served.clone());
        served.ok_or_else(|| not_leader(group, None))
    }

    /// All of them, by group.
    pub(crate) fn all(&self) -> Vec<(GroupId, Replica)> {
        self.running().iter().map(|(group, running)| (*group, running.served.replica.clone())).collect()
    }

    /// The same with their chunks.
    pub(crate) fn held(&self) -> Vec<(GroupId, Replica, GroupChunks)> {
        let running = self.running();
        let held = running.iter();
        held.map(|(group, it)| (*group, it.served.replica.clone(), it.served.chunks.clone())).collect()
    }

    /// What all of them show of their chunks.
    pub(crate) fn chunks(&self) -> BTreeMap<GroupId, chunks::Shown> {
        self.running().iter().map(|(group, running)| (*group, running.served.chunks.shown())).collect()
    }

    /// A group one of whose tasks has ended: nobody else does what it did.
    pub(crate) fn ended(&self) -> Option<GroupId> {
        let running = self.running();
        let ended = running.iter().find(|(_, running)| running.tasks.iter().any(JoinHandle::is_finished));
        ended.map(|(group, _)| *group)
    }

    /// Returns when what all of them are kept in has failed: none goes on, and none begins any more.
    pub(crate) async fn failed(&self) -> Failed {
        self.host.failed().await
    }

    /// Names what is on the disk.
    pub(crate) fn store(&self) -> StoreId {
        self.host.store()
    }

    /// Ends all of them, leaders by handing over first.
    pub(crate) async fn close(&self) {
        let all: Vec<_> = std::mem::take(&mut *self.running()).into_values().collect();
        for running in &all {
            running.tasks.iter().for_each(JoinHandle::abort);
            hand_over(&running.served.replica).await;
        }
        self.host.shutdown().await;
    }

    #[cfg(test)]
    pub(crate) fn end_a_task(&self, group: GroupId) {
        self.running().get(&group).and_then(|running| running.tasks.last()).unwrap().abort();
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<GroupId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn internal(error: &impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}
