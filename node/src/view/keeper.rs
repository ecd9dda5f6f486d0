//! Keeps one scope of the view on disk, so that the node serves before any controller answers.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::disk_codec::{read, write};
use super::{Content, Scoped, View, ViewHandle};

/// Changes that come within this time are written together: a deploy is a few of them. What came later than the
/// last write is lost with the process, and asked for anew where a controller answers.
const PAUSE: Duration = Duration::from_millis(50);
/// While changes come all the time the pause doubles up to this: each write is synced, and the syncs of Raft's log would
/// wait for it.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A view that stays as it is, is written when its revision is so old: a controller knows what changed since one of its last
/// ten thousand, and would else send everything.
const BEHIND_MAX: u64 = 1000;
/// A large view is written more rarely: so many bytes a second at most. Not by the time that a write takes: on a busy
/// disk that is the wait for others, and a small view would be seconds old when the process dies.
const BYTES_PER_SECOND: u32 = 16 << 20;
/// After a write that failed: a full disk is not written to all the time.
const RETRY: Duration = Duration::from_secs(1);

/// Where a scope stands in a view.
pub(super) type Select<T> = fn(&mut View) -> &mut Scoped<T>;

/// The file of one scope.
#[derive(Debug)]
pub(super) struct Keeper<T> {
    pub(super) path: PathBuf,
    pub(super) view: ViewHandle,
    pub(super) select: Select<T>,
    /// The last write failed: told once, for it is tried again at each change.
    pub(super) failing: bool,
}

impl<T: Content> Keeper<T> {
    /// Puts into the view what the file has. A file that cannot be read is said so and written anew later.
    pub(super) fn load(&self) {
        match read::<T>(&self.path, self.view.load().cluster) {
            Ok(Some(scoped)) => self.view.update(|view| {
                *(self.select)(view) = scoped;
                true
            }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the view on disk is not used");
            }
        }
    }

    /// Writes each change, coalesced, until it is stopped; then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.view.subscribe();
        let mut written = self.scoped();
        let mut busy = PAUSE;
        loop {
            let mut pause = Duration::ZERO;
            if self.differs(&written) {
                let (done, wait) = self.write().await;
                (written, pause) = (done.unwrap_or(written), wait.max(busy));
                busy = (busy * 2).min(PAUSE_MAX);
            } else {
                busy = PAUSE;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        if self.differs(&written) {
            self.write().await;
        }
    }

    fn differs(&mut self, written: &Scoped<T>) -> bool {
        let now = self.scoped();
        let behind = now.stamp.revision.get().saturating_sub(written.stamp.revision.get());
        let other =
            now.stamp != written.stamp && (behind > BEHIND_MAX || !now.content.is_same(&written.content));
        other || now.partial != written.partial
    }

    fn scoped(&mut self) -> Scoped<T> {
        (self.select)(&mut View::clone(&self.view.load())).clone()
    }

    /// Answers whether it was written, as what, and how long to wait before the next. What was not written is
    /// tried again at the next change of anything: reports come each second.
    async fn write(&mut self) -> (Option<Scoped<T>>, Duration) {
        let (scoped, cluster, path) = (self.scoped(), self.view.load().cluster, self.path.clone());
        let written = scoped.clone();
        let done = tokio::task::spawn_blocking(move || write(&path, cluster, &scoped)).await;
        match done {
            Ok(Ok(bytes)) => {
                self.failing = false;
                (Some(written), pause(bytes))
            }
            Ok(Err(error)) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(path = %self.path.display(), %error, "the view is not kept");
                }
                (None, RETRY)
            }
            // Only at the end of the process.
            Err(error) => {
                tracing::debug!(%error, "the view was not written");
                (None, RETRY)
            }
        }
    }
}

/// How long to wait after so many bytes were written.
fn pause(bytes: u64) -> Duration {
    PAUSE.max(Duration::from_secs(bytes) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::{ClusterId, Epoch, NodeId, Revision, VersionId, VersionNumber};
    use coracle_proto::record::{Change, Record, Replica};

    use super::*;
    use crate::view::{Held, Stamp};

    const CLUSTER: ClusterId = ClusterId::new(5);

    /// Runs a keeper while the view takes this over, and reads what it has kept.
    async fn kept(changes: Vec<Change>) -> Option<Scoped<Held>> {
        let folder = tempfile::tempdir().unwrap();
        let (path, view) = (folder.path().join("held"), ViewHandle::new(CLUSTER));
        let select: Select<Held> = |view| &mut view.held;
        let keeper = Keeper { path: path.clone(), view: view.clone(), select, failing: false };
        let stop = CancellationToken::new();
        let running = tokio::spawn(keeper.run(stop.clone()));
        tokio::task::yield_now().await;
        let stamp = Stamp { revision: Revision::new(2), hash: None };
        view.update(|view| view.held.take(stamp, changes, false));
        stop.cancel();
        running.await.unwrap();
        read(&path, CLUSTER).unwrap()
    }

    #[tokio::test]
    async fn a_revision_at_which_nothing_changed_here_is_not_written() {
        assert!(kept(Vec::new()).await.is_none());
        let version = VersionId { function: "f".parse().unwrap(), number: VersionNumber::new(1) };
        let replica = Replica { version, node: NodeId::new(1), epoch: Epoch::new(9) };
        let written = kept(vec![Change::put(Record::Replica(replica))]).await.unwrap();
        assert_eq!(written.stamp.revision, Revision::new(2));
    }

    #[test]
    fn a_small_view_is_written_soon_and_a_large_one_rarely() {
        assert_eq!(pause(100 << 10), PAUSE);
        assert_eq!(pause(160 << 20), Duration::from_secs(10));
    }
}
