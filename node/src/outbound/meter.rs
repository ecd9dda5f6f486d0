//! Processor time that goes into a call's requests outside of its guest: handshakes of TLS, and moving their bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::os;

/// What the requests of one call have taken.
///
/// Not in it: looking names up, which many calls share; that is bounded by the number of look-ups.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// So far.
    #[must_use]
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// One that has counted so much.
    #[cfg(test)]
    pub(crate) fn having(used: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(u64::try_from(used.as_nanos()).unwrap())))
    }

    /// A future whose work is counted here.
    pub(super) fn of<F: Future>(&self, work: F) -> Metered<F> {
        Metered { meter: self.clone(), work: Box::pin(work) }
    }
}

/// See [`Meter::of`].
pub(super) struct Metered<F> {
    meter: Meter,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = os::thread_cpu_time();
        let polled = self.work.as_mut().poll(cx);
        let used = os::thread_cpu_time().saturating_sub(before);
        self.meter.0.fetch_add(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_counted_and_waiting_is_not() {
        const WORK: Duration = Duration::from_millis(2);
        let meter = Meter::default();
        let work = async {
            let before = os::thread_cpu_time();
            while os::thread_cpu_time().saturating_sub(before) < WORK {}
            tokio::time::sleep(Duration::from_millis(200)).await; // a bounded poll: what is waited for is no work
        };
        meter.of(work).await;
        let used = meter.used();
        assert!(used >= WORK && used < Duration::from_millis(100), "{used:?}");
    }
}
