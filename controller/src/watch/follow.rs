//! One follower: pulls from the hub and the soft table at its own pace until it leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::{ClusterId, Revision};
use coracle_proto::pace::Pace;
use coracle_proto::pb::{self, Freshness, watch_frame::Body};
use coracle_proto::status::{Code, Refusal};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::Scope;
use super::hub::{Hub, News};
use super::ring::Entry;
use super::snapshot::{Snapshot, of_node};
use super::stamp::{Stamp, changes, together};
use crate::clock;
use crate::model::ClusterState;
use crate::soft::{Phases, SoftTable};

/// Where many change, soft changes travel together, and so do revisions: a frame wakes half a dozen tasks in two processes,
/// which under load would cost more than the commits that it tells of.
const PACE: Pace = Pace::new(Duration::from_millis(20), 3);
/// A follower that takes no frame for so long is cut off; it comes back with its revision.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Where a follower stands.
#[derive(Debug)]
pub(crate) struct Follower {
    /// What it is shown.
    pub(crate) scope: Scope,
    /// The last revision that it has seen.
    pub(crate) seen: Revision,
    /// Where its frames go.
    pub(crate) out: mpsc::Sender<Result<pb::WatchFrame, Status>>,
}

/// The follower has left, or was cut off.
struct Gone;

/// What a leader confirmed since a watch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// A state that has at least this revision has all that was committed when the watch began.
    Current(Revision),
    /// There was nobody to ask, for longer than an election takes.
    Alone,
}

/// Serves one follower until it leaves. `confirming` tells how new this node's state is, again and again until it
/// was current.
pub(crate) async fn follow(
    hub: Arc<Hub>,
    soft: Arc<SoftTable>,
    mut follower: Follower,
    mut confirming: mpsc::Receiver<Confirmed>,
) {
    let mut revisions = hub.subscribe();
    let mut softs = soft.subscribe_phases();
    let mut soft_seen = 0;
    let mut confirmed = None;
    let (mut revision_pace, mut soft_pace) = (PACE, PACE);
    let mut quiet_until = clock::now();
    loop {
        revisions.mark_unchanged();
        softs.mark_unchanged();
        // Asked first: whoever is named there is in the state that is told before it.
        let news = follower.scope.has_soft().then(|| soft.phases_since(soft_seen));
        let before = follower.seen;
        if follower.catch_up(&hub).await.is_err() {
            return;
        }
        if follower.seen > before {
            let now = clock::now();
            quiet_until = now + revision_pace.take(now);
        }
        if let Some(news) = news {
            match follower.send_soft(&hub, news, soft_seen).await {
                Ok(now) => soft_seen = now,
                Err(Gone) => return,
            }
        }
        if follower.send_confirmed(&hub, &mut confirmed).await.is_err() {
            return;
        }
        tokio::select! {
            waited = follower.wait(&mut revisions, quiet_until, &mut softs, &mut soft_pace) => if waited.is_err() { return },
            Some(now) = confirming.recv() => confirmed = Some(now),
        }
    }
}

impl Follower {
    async fn wait(
        &self,
        revisions: &mut watch::Receiver<Revision>,
        quiet_until: Instant,
        softs: &mut watch::Receiver<u64>,
        soft_pace: &mut Pace,
    ) -> Result<(), Gone> {
        let revision = async {
            let quiet = quiet_until.saturating_duration_since(clock::now());
            // Even no time at all would be a tick of the timer.
            if !quiet.is_zero() {
                tokio::time::sleep(quiet).await;
            }
            revisions.changed().await
        };
        let soft = async {
            if !self.scope.has_soft() {
                std::future::pending::<()>().await;
            }
            if softs.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            clock::turn(soft_pace).await;
        };
        tokio::select! {
            changed = revision => changed.map_err(|_| Gone),
            () = soft => Ok(()),
            () = self.out.closed() => Err(Gone),
        }
    }

    /// Tells how new what was told is, once that is known and has been told.
    async fn send_confirmed(&self, hub: &Hub, confirmed: &mut Option<Confirmed>) -> Result<(), Gone> {
        let freshness = match *confirmed {
            Some(Confirmed::Current(needed)) if self.seen >= needed => Freshness::Current,
            Some(Confirmed::Alone) if self.seen > Revision::ZERO => Freshness::Alone,
            Some(Confirmed::Current(_) | Confirmed::Alone) | None => return Ok(()),
        };
        *confirmed = None;
        let state = hub.state();
        let Some(cluster) = state.cluster() else { return Ok(()) };
        let stamp = Stamp { cluster: cluster.id, revision: self.seen, hash: hub.hash_at(self.seen) };
        self.send(stamp.to_wire(freshness)).await
    }

    async fn catch_up(&mut self, hub: &Hub) -> Result<(), Gone> {
        // A snapshot that others are being sent is older than the present state.
        while self.go_on(hub).await? {}
        Ok(())
    }

    /// Sends what is newer than what the follower has seen. Answers whether there may be more.
    async fn go_on(&mut self, hub: &Hub) -> Result<bool, Gone> {
        match hub.since(self.seen) {
            News::None => Ok(false),
            News::Snapshot => self.send_snapshot(hub).await.map(|()| self.seen > Revision::ZERO),
            News::Changes(state, entries) => {
                let Some(cluster) = state.cluster() else { return Ok(false) };
                self.send_changes(hub, cluster.id, &state, &entries).await?;
                Ok(true)
            }
        }
    }

    async fn send_changes(
        &mut self,
        hub: &Hub,
        cluster: ClusterId,
        state: &ClusterState,
        entries: &[Arc<Entry>],
    ) -> Result<(), Gone> {
        let mut rest = entries;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(together(rest));
            let before = Stamp { cluster, revision: self.seen, hash: hub.hash_at(self.seen) };
            for frame in changes(state, batch, self.scope, before) {
                self.send(frame).await?;
            }
            self.seen = batch.last().map_or(self.seen, |last| last.to);
            rest = later;
        }
        Ok(())
    }

    /// Sends the whole content, of the present state or of one that another follower is being sent: what came since
    /// then is in the ring.
    async fn send_snapshot(&mut self, hub: &Hub) -> Result<(), Gone> {
        let snapshot: Arc<Snapshot> = hub.snapshot(self.scope, self.seen);
        let state = Arc::clone(&snapshot.state);
        let Some(cluster) = state.cluster() else { return Ok(()) };
        let stamp = Stamp { cluster: cluster.id, revision: state.revision(), hash: Some(state.hash()) };
        let mut at = 0;
        while let Some((part, last)) = snapshot.part(at).await {
            let last = last && !matches!(self.scope, Scope::Node(_));
            self.send(stamp.snapshot(part, last)).await?;
            at += 1;
        }
        drop(snapshot);
        if let Scope::Node(node) = self.scope {
            let parts = of_node(&state, node);
            let count = parts.len();
            for (at, part) in parts.into_iter().enumerate() {
                self.send(stamp.snapshot(part, at + 1 == count)).await?;
            }
        }
        self.seen = stamp.revision;
        Ok(())
    }

    /// Sends the phases that changed after `after`; answers with the newest one's place. A gateway routes by nothing
    /// else that nodes say: loads come with their answers.
    async fn send_soft(&self, hub: &Hub, news: Phases, after: u64) -> Result<u64, Gone> {
        let sequence = news.sequence;
        let state = hub.state();
        let Some(cluster) = state.cluster() else { return Ok(after) };
        // While a follower is ahead of this node its own revision is repeated: a view never goes back.
        let stamp = Stamp { cluster: cluster.id, revision: self.seen, hash: hub.hash_at(self.seen) };
        for batch in news {
            self.send(stamp.frame(Body::Soft(batch))).await?;
        }
        Ok(sequence)
    }

    async fn send(&self, frame: pb::WatchFrame) -> Result<(), Gone> {
        match self.out.send_timeout(Ok(frame), STALLED_AFTER).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let sentence = format!("took no frame for {} s; resume by revision", STALLED_AFTER.as_secs());
                // The channel is full or closed: whoever still reads finds the end of the stream.
                let _ = self.out.try_send(Err(Refusal::new(Code::TimedOut, sentence).into()));
                Err(Gone)
            }
        }
    }
}
