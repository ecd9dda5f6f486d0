//! Goes through the store and looks whether everything is still there: nobody else would notice before it is needed.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::Digest;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::store::blocking;
use super::{ArtifactError, OnDisk, Store};

/// How fast.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at all files.
    pub look: Duration,
    /// Bytes read a second, on average; one file is read at once.
    pub read_bytes: u64,
    /// From the begin of one reading of all files to the next.
    pub round: Duration,
}

impl Pace {
    /// A look opens each file, some microseconds: a tenth of a second for ten thousand of them. 4 MiB a second are two
    /// in a hundred of a core without instructions for SHA-256, and little of any disk; 10 GiB take three quarters of
    /// an hour. Bits rot over years: once a day is often.
    pub const DEFAULT: Self =
        Self { look: Duration::from_secs(10), read_bytes: 4 << 20, round: Duration::from_secs(24 * 3600) };

    /// How long to wait after so many bytes were read.
    fn pause(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes) / u32::try_from(self.read_bytes).unwrap_or(u32::MAX).max(1)
    }
}

/// The task.
#[derive(Debug)]
pub struct Patrol {
    store: Arc<Store>,
    pace: Pace,
}

impl Patrol {
    /// For a store.
    #[must_use]
    pub const fn new(store: Arc<Store>, pace: Pace) -> Self {
        Self { store, pace }
    }

    /// Goes on until it is stopped. What it finds is given up by the store, which tells of it.
    pub async fn run(self, stop: CancellationToken) {
        let both = async { tokio::join!(self.look(), self.read()) };
        stop.run_until_cancelled(both).await;
    }

    async fn look(&self) {
        let mut tick = interval(self.pace.look);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.on_disk(|store| {
                store.look();
                Ok(())
            })
            .await;
        }
    }

    async fn read(&self) {
        let mut round = interval(self.pace.round);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            round.tick().await;
            for (digest, OnDisk { size, .. }) in Arc::unwrap_or_clone(self.store.held()) {
                self.verify(digest).await;
                sleep(self.pace.pause(size)).await;
            }
        }
    }

    async fn verify(&self, digest: Digest) {
        // It may have been removed since the round began.
        if self.store.get(&digest).is_some() {
            self.on_disk(move |store| store.verify(&digest)).await;
        }
    }

    async fn on_disk(&self, work: impl FnOnce(&Store) -> Result<(), ArtifactError> + Send + 'static) {
        let store = Arc::clone(&self.store);
        // What is lost was told by the store; anything else passes, and is looked at again.
        if let Err(error) = blocking(move || work(&store)).await {
            tracing::debug!("looking through the artifacts: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_keeps_the_rate() {
        assert_eq!(Pace::DEFAULT.pause(256 << 20), Duration::from_secs(64));
        assert_eq!(Pace::DEFAULT.pause(0), Duration::ZERO);
    }
}
