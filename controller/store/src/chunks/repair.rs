//! Each member fetches the chunks that blobs have and it lacks: of new commits soon after them, and of all of them now and then
//! (docs/adr/0018).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use coracle_proto::id::{ClusterId, NodeId};
use tracing::{info, warn};

use super::file;
use super::name::chunks_of;
use super::remote::Peers;
use super::{ChunkError, ChunkName, GroupChunks};
use crate::clock;
use crate::model;
use crate::replicas::{Replica, Served};

/// All commits are walked this often, whatever is known.
const ALL_EVERY: Duration = Duration::from_secs(10 * 60);
/// It is looked this often whether there are other members.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What no member gave is asked for again after so long, and after twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Commits that are walked at once: the files of so many are looked at while nothing else is done with the disk.
const PAGE: usize = 64;
/// Chunks that are known to be missing at once; of one blob it may be more.
const MISSING_MAX: usize = 4096;
/// A member that lacks much leaves room for others: 64 MiB in a second.
const BYTES_EACH_MS: u64 = (64 << 20) / 1000;

/// Runs until it is dropped.
pub(crate) async fn repair(cluster: ClusterId, served: Served) {
    let chunks = &served.chunks;
    let mut duty = Duty {
        peers: Peers::new(cluster, chunks.group),
        served: &served,
        from: 0,
        members: BTreeSet::new(),
        all_since: clock::now(),
    };
    let (mut commits, mut again) = (served.news.commits(), AGAIN);
    let mut replaced = commits.borrow().replaced;
    loop {
        let now = commits.borrow_and_update().replaced;
        if now != std::mem::replace(&mut replaced, now) || duty.is_all_due() {
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
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Duty<'a> {
    peers: Peers,
    served: &'a Served,
    /// Commits before this version lack nothing here.
    from: u64,
    /// Who could be asked at the last walk.
    members: BTreeSet<NodeId>,
    all_since: Instant,
}

/// A page of commits, and what is missing of it.
struct Page {
    /// The version to go on from; none: that was the last page.
    next: Option<u64>,
    /// Behind the last commit.
    end: u64,
    missing: Vec<(u64, ChunkName, u64)>,
}

impl Duty<'_> {
    fn is_all_due(&mut self) -> bool {
        let now = members(&self.served.replica);
        let others = std::mem::replace(&mut self.members, now.clone()) != now;
        others || clock::now().saturating_duration_since(self.all_since) >= ALL_EVERY
    }

    const fn walk_all(&mut self) {
        self.from = 0;
    }

    /// Fetches what is missing of the commits that are to be looked at; whether something of that nobody gave.
    async fn walk(&mut self) -> bool {
        if self.from == 0 {
            self.all_since = clock::now();
        }
        let chunks = &self.served.chunks;
        let (mut at, mut first_missing, mut missing) = (self.from, None, 0_u64);
        loop {
            let (own, replica) = (chunks.clone(), self.served.replica.clone());
            let page = match chunks.aside(move || page(&own, &replica, at)).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(group = %chunks.group, %error, "it cannot be looked which chunks are missing");
                    first_missing = first_missing.or(Some(at));
                    break;
                }
            };
            for (version, name, bytes) in page.missing {
                if !self.fetch(name, bytes).await {
                    first_missing = first_missing.or(Some(version));
                    missing = missing.saturating_add(1);
                }
            }
            at = page.end;
            match page.next {
                Some(next) => at = next,
                None => break,
            }
        }
        if chunks.counts.missing.swap(missing, Ordering::Relaxed) != missing {
            info!(group = %chunks.group, missing, "chunks that no member has given");
        }
        self.from = first_missing.unwrap_or(at);
        first_missing.is_some()
    }

    async fn fetch(&self, name: ChunkName, bytes: u64) -> bool {
        let fetched = self.peers.fetch((&self.served.chunks, &self.served.replica), (name, bytes)).await;
        if fetched {
            self.served.chunks.counts.repaired.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(bytes / BYTES_EACH_MS)).await;
        }
        fetched
    }
}

/// Who is a member now.
fn members(replica: &Replica) -> BTreeSet<NodeId> {
    let status = replica.status();
    status.voters.into_keys().chain(status.learners.into_keys()).collect()
}

/// Looks at the files of some commits.
fn page(chunks: &GroupChunks, replica: &Replica, from: u64) -> Result<Page, ChunkError> {
    let view = replica.state();
    let unreadable = |stop: coracle_raft::Stop| ChunkError::Disk {
        path: chunks.folder.clone(),
        source: std::io::Error::other(stop.to_string()),
    };
    let commits = model::commits(&view, from, PAGE).map_err(unreadable)?;
    let (is_last, mut end, mut missing) = (commits.len() < PAGE, from, Vec::new());
    for (version, upload) in commits {
        let parts = model::committed(&view, upload).map_err(unreadable)?.unwrap_or_default();
        let all = parts.iter().flat_map(|part| chunks_of(upload, part));
        let lacking = all.filter(|(name, bytes)| !file::has(&name.path(&chunks.folder), *bytes));
        missing.extend(lacking.map(|(name, bytes)| (version, name, bytes)));
        end = version.saturating_add(1);
        if missing.len() >= MISSING_MAX {
            return Ok(Page { next: Some(end), end, missing });
        }
    }
    Ok(Page { next: (!is_last).then_some(end), end, missing })
}
