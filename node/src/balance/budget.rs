//! How many calls may be sent a second time: a share of all, so that retries never make an overload worse.

use std::time::Duration;

/// Retries for each thousand calls.
const PER_THOUSAND_CALLS: u64 = 200;
/// Retries each second without any calls.
const PER_SECOND: u64 = 10;
/// What can be saved up: a node that dies under load takes all its open calls with it.
const SAVED_MAX: u64 = 1000;

/// A token bucket of retries.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    thousandths: u64,
    at: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { thousandths: SAVED_MAX * 1000, at: Duration::ZERO }
    }
}

impl Budget {
    /// A call came.
    pub fn call(&mut self) {
        self.earn(PER_THOUSAND_CALLS);
    }

    /// Takes one retry out, if there is one.
    #[must_use]
    pub fn retry(&mut self, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        self.earn(passed.saturating_mul(PER_SECOND));
        let enough = self.thousandths >= 1000;
        if enough {
            self.thousandths -= 1000;
        }
        enough
    }

    fn earn(&mut self, thousandths: u64) {
        self.thousandths = self.thousandths.saturating_add(thousandths).min(SAVED_MAX * 1000);
    }
}
