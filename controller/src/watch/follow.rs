//! One follower: pulls from the hub and the soft table at its own pace until it leaves.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::Revision;
use coracle_proto::pb::{self, watch_frame::Body};
use coracle_proto::status::{Code, Refusal};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::hub::{Hub, News};
use super::snapshot::{Stamp, changes, snapshot};
use super::{FRAME_BYTES_MAX, Scope};
use crate::soft::SoftTable;

/// Soft changes that come within this time travel together.
const SOFT_PAUSE: Duration = Duration::from_millis(20);
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

/// Serves one follower until it leaves.
pub(crate) async fn follow(hub: Arc<Hub>, soft: Arc<SoftTable>, mut follower: Follower) {
    let mut revisions = hub.subscribe();
    let mut softs = soft.subscribe();
    let mut soft_seen = 0;
    loop {
        revisions.mark_unchanged();
        softs.mark_unchanged();
        if follower.catch_up(&hub).await.is_err() {
            return;
        }
        if follower.scope.has_soft() {
            match follower.send_soft(&hub, &soft, soft_seen).await {
                Ok(now) => soft_seen = now,
                Err(Gone) => return,
            }
        }
        if follower.wait(&mut revisions, &mut softs).await.is_err() {
            return;
        }
    }
}

impl Follower {
    async fn wait(
        &self,
        revisions: &mut watch::Receiver<Revision>,
        softs: &mut watch::Receiver<u64>,
    ) -> Result<(), Gone> {
        let soft = async {
            if !self.scope.has_soft() {
                std::future::pending::<()>().await;
            }
            if softs.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(SOFT_PAUSE).await;
        };
        tokio::select! {
            changed = revisions.changed() => changed.map_err(|_| Gone),
            () = soft => Ok(()),
            () = self.out.closed() => Err(Gone),
        }
    }

    /// Sends whatever is newer than what the follower has seen.
    async fn catch_up(&mut self, hub: &Hub) -> Result<(), Gone> {
        match hub.since(self.seen) {
            News::None => Ok(()),
            News::Snapshot(state) => {
                let Some(cluster) = state.cluster() else { return Ok(()) };
                let stamp =
                    Stamp { cluster: cluster.id, revision: state.revision(), hash: Some(state.hash()) };
                for frame in snapshot(&state, self.scope, stamp) {
                    self.send(frame).await?;
                }
                self.seen = stamp.revision;
                Ok(())
            }
            News::Changes(state, entries) => {
                let Some(cluster) = state.cluster() else { return Ok(()) };
                for entry in entries {
                    let before =
                        Stamp { cluster: cluster.id, revision: self.seen, hash: hub.hash_at(self.seen) };
                    for frame in changes(&state, &entry, self.scope, before) {
                        self.send(frame).await?;
                    }
                    self.seen = entry.to;
                }
                Ok(())
            }
        }
    }

    /// Sends the statuses that came after `after`; answers with the newest one's place.
    async fn send_soft(&self, hub: &Hub, soft: &SoftTable, after: u64) -> Result<u64, Gone> {
        let news = soft.since(after);
        let state = hub.state();
        let Some(cluster) = state.cluster() else { return Ok(after) };
        // Alarms have a place in the sequence as well, and are for controllers.
        if news.statuses.is_empty() {
            return Ok(news.sequence);
        }
        // While a follower is ahead of this node its own revision is repeated: a view never goes back.
        let stamp = Stamp { cluster: cluster.id, revision: self.seen, hash: hub.hash_at(self.seen) };
        let strip = self.scope == Scope::Gateway;
        for part in news.batches(FRAME_BYTES_MAX, strip) {
            self.send(stamp.frame(Body::Soft(part))).await?;
        }
        Ok(news.sequence)
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
