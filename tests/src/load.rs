//! An open-loop load: requests leave when they are due, whatever became of the earlier ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::Method;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Client;

/// The longest a call may take before it counts as failed: the deadline of 2 s with the slack of tests.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is sent, where to, how fast.
#[derive(Debug, Clone)]
pub struct Load {
    /// Requests altogether, at most.
    pub count: usize,
    /// Requests a second.
    pub rate: u32,
    /// Where to, in turn.
    pub urls: Vec<String>,
    /// How.
    pub method: Method,
    /// With what.
    pub body: &'static str,
}

/// One call and what came of it.
#[derive(Debug, Clone)]
pub struct Shot {
    /// When it was due, since the begin.
    pub due: Duration,
    /// When it left, since the begin: later than it was due where the machine was busy.
    pub left: Duration,
    /// From when it was due to the last byte.
    pub elapsed: Duration,
    /// To which of the urls.
    pub url: usize,
    /// Who ran it, or why it failed.
    pub outcome: Result<Ran, String>,
}

/// Where a call ran.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The node's id.
    pub node: String,
    /// Of the function.
    pub version: String,
    /// Counted from 1.
    pub attempt: u32,
}

impl Shot {
    /// When its last byte came, since the begin.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.due + self.elapsed
    }
}

/// All calls of a load.
#[derive(Debug)]
pub struct Report {
    /// From when everything is counted.
    pub begin: Instant,
    /// In the order in which they were due.
    pub shots: Vec<Shot>,
}

impl Load {
    /// GETs, which may be sent again.
    #[must_use]
    pub fn gets(count: usize, rate: u32, urls: Vec<String>) -> Self {
        Self { count, rate, urls, method: Method::GET, body: "" }
    }

    /// Sends everything; `sent` counts what has left, so that a test can act in the middle.
    ///
    /// # Panics
    /// When a task panics.
    pub async fn run(self, sent: Arc<AtomicUsize>) -> Report {
        let (_goes_on, stop) = oneshot::channel();
        self.run_until(sent, stop).await
    }

    /// The same, but none leaves once it is told to stop: for a test whose length depends on the machine.
    ///
    /// # Panics
    /// When a task panics.
    pub async fn run_until(self, sent: Arc<AtomicUsize>, mut stop: oneshot::Receiver<()>) -> Report {
        let client = Client::new(DEADLINE);
        let interval = Duration::from_secs(1) / self.rate;
        let begin = Instant::now();
        let mut ticks = tokio::time::interval_at(begin.into(), interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut calls = JoinSet::new();
        for number in 0..self.count {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                _ = ticks.tick() => {}
            }
            let due = interval * u32::try_from(number).expect("a count of requests");
            let url = number % self.urls.len();
            let (client, address, method, body) =
                (client.clone(), self.urls[url].clone(), self.method.clone(), self.body);
            sent.fetch_add(1, Ordering::SeqCst);
            let left = begin.elapsed();
            calls.spawn(async move {
                let answer = client.send(method, &address, &[], body.into()).await;
                let elapsed = begin.elapsed().saturating_sub(due);
                let outcome = answer.and_then(|answer| {
                    let attempt = answer.header("coracle-attempt").parse().unwrap_or(1);
                    if answer.status.is_success() {
                        let header = |name| answer.header(name).to_owned();
                        let (node, version) = (header("coracle-node"), header("coracle-version"));
                        return Ok(Ran { node, version, attempt });
                    }
                    Err(format!("{} {} {}", answer.status, answer.header("coracle-error"), answer.text()))
                });
                Shot { due, left, elapsed, url, outcome }
            });
        }
        let mut shots = calls.join_all().await;
        shots.sort_by_key(|shot| shot.due);
        Report { begin, shots }
    }
}

impl Report {
    /// Calls that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&Shot> {
        self.shots.iter().filter(|shot| shot.outcome.is_err()).collect()
    }

    /// Calls that took more than one attempt.
    #[must_use]
    pub fn moved(&self) -> usize {
        self.shots.iter().filter(|shot| shot.outcome.as_ref().is_ok_and(|ran| ran.attempt > 1)).count()
    }

    /// How many calls each node ran.
    #[must_use]
    pub fn by_node(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for shot in &self.shots {
            if let Ok(ran) = &shot.outcome {
                *counts.entry(ran.node.clone()).or_default() += 1;
            }
        }
        counts
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut histogram = Histogram::<u64>::new(3).expect("a histogram");
        for shot in &self.shots {
            histogram
                .record(u64::try_from(shot.elapsed.as_micros()).expect("microseconds"))
                .expect("it grows");
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        write!(
            f,
            "{} calls, {} failed, {} moved; ms from when due: p50 {:.1}, p99 {:.1}, max {:.1}; by node {:?}",
            self.shots.len(),
            self.failed().len(),
            self.moved(),
            at(0.5),
            at(0.99),
            at(1.0),
            self.by_node()
        )?;
        for shot in self.failed().iter().take(10) {
            write!(f, "\n  due {:?} to url {}: {:?}", shot.due, shot.url, shot.outcome)?;
        }
        Ok(())
    }
}
