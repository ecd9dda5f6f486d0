//! Each member fetches the chunks that it lacks, of blobs and of parts that were put: of new ones soon after them, and of all of them now
//! and then (docs/adr/0018).

mod page;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coracle_proto::id::{ClusterId, NodeId};
use tracing::{info, warn};

use self::page::{PAGE, commits, parts};
use super::remote::{Fetched, Peers};
use super::{ChunkError, ChunkName};
use crate::clock;
use crate::model::{self, UploadId};
use crate::replicas::{Replica, Served};

/// All is walked this often, whatever is known.
const ALL_EVERY: Duration = Duration::from_secs(10 * 60);
/// It is looked this often whether there are other members.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What no member gave is asked for again after so long, and after twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Commits that are remembered to lack something: beyond that they are walked from the first one on.
const LACKING_MAX: usize = 100_000;
/// A member that lacks much leaves room for others: 64 MiB in a second.
const BYTES_EACH_MS: u64 = (64 << 20) / 1000;
/// What most of the voters do not have is taken for lost, though one that is silent might have it, when nothing else is missing for so
/// long: a member that does not come back is to be replaced some day.
const LOST_AFTER: Duration = Duration::from_secs(10 * 60);

/// Runs until it is dropped.
pub(crate) async fn repair(cluster: ClusterId, served: Served) {
    let chunks = &served.chunks;
    let mut duty = Duty {
        peers: Peers::new(cluster, chunks.group),
        served: &served,
        new: 0,
        all: None,
        lacking: BTreeSet::new(),
        parts: Of::All,
        members: BTreeSet::new(),
        all_since: clock::now(),
        doubtful_since: None,
        replaced: served.news.commits().borrow().replaced,
    };
    let (mut commits, mut again) = (served.news.commits(), AGAIN);
    loop {
        let now = commits.borrow_and_update().replaced;
        if now != std::mem::replace(&mut duty.replaced, now) || duty.is_all_due() {
            duty.walk_all();
        }
        let missing = duty.walk().await;
        let wait = if missing { again } else { LOOK_EVERY };
        again = if missing { (2 * again).min(AGAIN_MAX) } else { AGAIN };
        tokio::select! {
            // Closed when the replica ends, with which this does.
            changed = commits.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(chunks.limits.settle).await;
            }
            () = chunks.damaged.notified() => duty.walk_all(),
            () = chunks.asked.notified(), if !missing => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Duty<'a> {
    peers: Peers,
    served: &'a Served,
    /// Commits from this version on have not been looked at. They come first: what was just committed is on the fewest disks.
    new: u64,
    /// The walk of all goes on from this version; none: it has come to its end.
    all: Option<u64>,
    /// Commits of which nobody gave some chunk.
    lacking: BTreeSet<u64>,
    /// Uploads whose parts are to be looked at.
    parts: Of,
    /// Who could be asked at the last walk.
    members: BTreeSet<NodeId>,
    all_since: Instant,
    /// Since when nothing is missing but what most members do not have.
    doubtful_since: Option<Instant>,
    /// How often all had become others when that was looked at last.
    replaced: u64,
}

/// Which uploads.
enum Of {
    All,
    These(BTreeSet<UploadId>),
}

/// What a walk has found to be missing and nobody gave.
#[derive(Default)]
struct Tally {
    missing: u64,
    doubtful: u64,
    nowhere: u64,
}

impl Tally {
    const fn all(&self) -> u64 {
        self.missing.saturating_add(self.doubtful).saturating_add(self.nowhere)
    }
}

impl Duty<'_> {
    fn is_all_due(&mut self) -> bool {
        let now = members(&self.served.replica);
        let others = std::mem::replace(&mut self.members, now.clone()) != now;
        others || clock::now().saturating_duration_since(self.all_since) >= ALL_EVERY
    }

    fn walk_all(&mut self) {
        self.new = self.reached().saturating_add(1);
        self.all = Some(0);
        self.lacking.clear();
        self.parts = Of::All;
        self.all_since = clock::now();
    }

    /// The group's sequence here. What cannot be read is told by the walk.
    fn reached(&self) -> u64 {
        model::group(&self.served.replica.state()).ok().flatten().map_or(0, |group| group.sequence)
    }

    /// Fetches what is missing of what is to be looked at; whether there is something of it that nobody gave.
    async fn walk(&mut self) -> bool {
        let chunks = &self.served.chunks;
        let reached = self.reached();
        let mut tally = Tally::default();
        let walked = match self.walk_commits(&mut tally).await {
            Ok(()) => self.walk_parts(&mut tally).await,
            failed => failed,
        };
        let missing = tally.all();
        if let Err(error) = &walked {
            warn!(group = %chunks.group, %error, "chunks that are missing here are not fetched: it is tried again");
        } else {
            if chunks.counts.missing.swap(missing, Ordering::Relaxed) != missing {
                info!(group = %chunks.group, missing, "chunks that no member has given");
            }
            // A state that came meanwhile as a whole has not been walked.
            let is_same = self.served.news.commits().borrow().replaced == self.replaced;
            if self.is_whole(&tally) && is_same {
                chunks.counts.whole.store(reached, Ordering::Relaxed);
            }
        }
        walked.is_err() || missing > 0
    }

    /// Whether all is here that some member has.
    fn is_whole(&mut self, tally: &Tally) -> bool {
        if tally.missing > 0 || tally.doubtful == 0 {
            self.doubtful_since = None;
            return tally.missing == 0;
        }
        let now = clock::now();
        let since = *self.doubtful_since.get_or_insert(now);
        now.saturating_duration_since(since) >= LOST_AFTER
    }

    /// New ones, and between the pages of all of them those that came meanwhile; in the end what nobody gave before.
    async fn walk_commits(&mut self, tally: &mut Tally) -> Result<(), ChunkError> {
        let before = self.lacking.clone();
        loop {
            self.walk_new(tally).await?;
            let Some(from) = self.all else { break };
            let next = self.walk_page(from, PAGE, tally, |it, end| it.all = Some(end)).await?;
            self.all = next;
        }
        for version in before {
            self.lacking.remove(&version);
            self.walk_page(version, 1, tally, |_, _| {}).await?;
            self.walk_new(tally).await?;
        }
        if self.lacking.len() > LACKING_MAX {
            self.all = self.lacking.first().copied();
            self.lacking.clear();
        }
        Ok(())
    }

    async fn walk_new(&mut self, tally: &mut Tally) -> Result<(), ChunkError> {
        let mut at = Some(self.new);
        while let Some(from) = at {
            at = self.walk_page(from, PAGE, tally, |it, end| it.new = end).await?;
        }
        Ok(())
    }

    /// Fetches what some commits lack; where the next ones begin. What ended it goes on behind them the next time.
    async fn walk_page(
        &mut self,
        from: u64,
        most: usize,
        tally: &mut Tally,
        walked: impl FnOnce(&mut Self, u64) + Send,
    ) -> Result<Option<u64>, ChunkError> {
        let (chunks, replica) = (self.served.chunks.clone(), self.served.replica.clone());
        let aside = self.served.chunks.aside(move || commits(&chunks, &replica, from, most));
        let page = aside.await?;
        let mut lacking = BTreeSet::new();
        let fetched = self
            .fetch_all(&page.missing, tally, &mut |version| {
                lacking.insert(version);
            })
            .await;
        self.lacking.extend(lacking);
        fetched?;
        walked(self, page.end);
        Ok(page.next)
    }

    async fn walk_parts(&mut self, tally: &mut Tally) -> Result<(), ChunkError> {
        let parted = self.served.news.take_parted();
        let which = match std::mem::replace(&mut self.parts, Of::These(BTreeSet::new())) {
            Of::All => Of::All,
            Of::These(mut uploads) => {
                uploads.extend(parted);
                Of::These(uploads)
            }
        };
        let mut missing = BTreeSet::new();
        let walked = self.walk_uploads(&which, tally, &mut missing).await;
        // Where it did not come to its end all of them are looked at again.
        self.parts = if walked.is_ok() { Of::These(missing) } else { which };
        walked
    }

    async fn walk_uploads(
        &self,
        which: &Of,
        tally: &mut Tally,
        missing: &mut BTreeSet<UploadId>,
    ) -> Result<(), ChunkError> {
        match which {
            Of::All => self.walk_pages(UploadId::new(0, 0), None, tally, missing).await,
            Of::These(uploads) => {
                for upload in uploads {
                    self.walk_pages(*upload, Some(*upload), tally, missing).await?;
                }
                Ok(())
            }
        }
    }

    /// The parts of uploads from one on; of no other one than `only`.
    async fn walk_pages(
        &self,
        first: UploadId,
        only: Option<UploadId>,
        tally: &mut Tally,
        missing: &mut BTreeSet<UploadId>,
    ) -> Result<(), ChunkError> {
        let chunks = &self.served.chunks;
        let mut at = Some((first, 0));
        while let Some(from) = at {
            let (own, replica) = (chunks.clone(), self.served.replica.clone());
            let page = chunks.aside(move || parts(&own, &replica, from, only)).await?;
            self.fetch_all(&page.missing, tally, &mut |upload| {
                missing.insert(upload);
            })
            .await?;
            at = page.next;
        }
        Ok(())
    }

    /// Fetches what a page lacks, and tells of what nobody gave.
    async fn fetch_all<T: Copy + Send + Sync>(
        &self,
        lacking: &[(T, ChunkName, u64)],
        tally: &mut Tally,
        lacks: &mut (dyn FnMut(T) + Send),
    ) -> Result<(), ChunkError> {
        let counts = &self.served.chunks.counts;
        if !lacking.is_empty() {
            // Those that are to be fetched are missing until they are.
            let found = tally.all().saturating_add(u64::try_from(lacking.len()).unwrap_or(u64::MAX));
            counts.missing.store(found, Ordering::Relaxed);
        }
        for (of, name, bytes) in lacking {
            let fetched = self.fetch(*name, *bytes).await.inspect_err(|_| lacks(*of))?;
            match fetched {
                Fetched::Here => {
                    counts.repaired.fetch_add(1, Ordering::Relaxed);
                    counts.missing.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                Fetched::Nowhere => tally.nowhere = tally.nowhere.saturating_add(1),
                Fetched::Doubtful => tally.doubtful = tally.doubtful.saturating_add(1),
                Fetched::Missing => tally.missing = tally.missing.saturating_add(1),
            }
            lacks(*of);
        }
        Ok(())
    }

    async fn fetch(&self, name: ChunkName, bytes: u64) -> Result<Fetched, ChunkError> {
        let fetched = self.peers.fetch((&self.served.chunks, &self.served.replica), (name, bytes)).await;
        // Also where it failed: others have read for it.
        tokio::time::sleep(Duration::from_millis(bytes / BYTES_EACH_MS)).await;
        fetched
    }
}

/// Who is a member now.
fn members(replica: &Replica) -> BTreeSet<NodeId> {
    let status = replica.status();
    status.voters.into_keys().chain(status.learners.into_keys()).collect()
}
