//! An average in which the past counts less and less.

use std::time::Duration;

/// What is older than this counts a third.
const TAU: Duration = Duration::from_secs(10);

/// An exponentially weighted average of durations. Without new samples it sinks, so that a node that was slow is
/// tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decayed {
    micros: f64,
    at: Duration,
}

impl Decayed {
    /// The first sample.
    #[must_use]
    pub fn new(sample: Duration, now: Duration) -> Self {
        Self { micros: micros(sample), at: now }
    }

    /// Another sample.
    pub fn add(&mut self, sample: Duration, now: Duration) {
        // A busy gateway has many samples within one TAU: each counts at least one in ten.
        let old = self.weight(now).min(0.9);
        self.micros = self.micros.mul_add(old, micros(sample) * (1.0 - old));
        self.at = self.at.max(now);
    }

    /// What is left of it, microseconds.
    #[must_use]
    pub fn micros(&self, now: Duration) -> f64 {
        self.micros * self.weight(now)
    }

    fn weight(&self, now: Duration) -> f64 {
        (-now.saturating_sub(self.at).as_secs_f64() / TAU.as_secs_f64()).exp()
    }
}

fn micros(sample: Duration) -> f64 {
    sample.as_secs_f64() * 1e6
}
