//! What the store measures about itself: how long its syncs take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of the histogram of syncs, in microseconds; one more bucket has no bound.
pub const SYNC_BUCKETS_US: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000];

/// Counters that the flusher writes and anybody reads.
#[derive(Debug, Default)]
pub(crate) struct StoreMetrics {
    buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Durations of the syncs so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncHistogram {
    /// Syncs in each bucket of [`SYNC_BUCKETS_US`], then those above; not cumulative.
    pub buckets: [u64; SYNC_BUCKETS_US.len() + 1],
    /// Microseconds of all of them.
    pub sum_us: u64,
}

impl SyncHistogram {
    /// How many syncs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl StoreMetrics {
    pub(crate) fn synced(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < us);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn syncs(&self) -> SyncHistogram {
        let mut histogram =
            SyncHistogram { sum_us: self.sum_us.load(Ordering::Relaxed), ..SyncHistogram::default() };
        for (to, from) in histogram.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Ordering::Relaxed);
        }
        histogram
    }
}
