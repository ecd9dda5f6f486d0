//! The end in order: no new calls, open ones end, then what they needed.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Part, Stop};
use crate::logs::Logs;
use crate::worker::Executor;

/// What is not a call ends within this, or is cut off.
const REST_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked whether the calls of other gateways have ended.
const LOOK: Duration = Duration::from_millis(10);

/// What each part waits for before it ends.
#[derive(Debug, Default)]
pub(super) struct Stops {
    pub(super) gateway: Stop,
    /// Those who follow logs: their streams have no end of their own.
    pub(super) readers: Stop,
    pub(super) rest: Stop,
}

/// The parts that run.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) gateway: JoinSet<Part>,
    pub(super) rest: JoinSet<Part>,
}

impl Parts {
    /// Ends everything. Each step has a deadline, so that this ends too.
    pub(super) async fn end(
        mut self,
        stops: Stops,
        executor: &Executor,
        logs: &Logs,
        drain_timeout: Duration,
    ) {
        // First, because its calls may need this very worker, as those of messages may.
        stops.gateway.cancel();
        within(drain_timeout + REST_TIMEOUT, "gateway", ended(&mut self.gateway)).await;
        // Gateways of other nodes are refused from now on, and go elsewhere.
        executor.drain();
        within(drain_timeout, "worker", async {
            while executor.load().in_flight > 0 {
                sleep(LOOK).await;
            }
        })
        .await;
        stops.readers.cancel();
        stops.rest.cancel();
        within(REST_TIMEOUT, "rest", ended(&mut self.rest)).await;
        within(REST_TIMEOUT, "logs", logs.flush()).await;
    }
}

async fn ended(parts: &mut JoinSet<Part>) {
    while parts.join_next().await.is_some() {}
}

async fn within(limit: Duration, part: &str, end: impl Future<Output = ()>) {
    if timeout(limit, end).await.is_err() {
        tracing::warn!(part, seconds = limit.as_secs(), "did not end in time and is cut off");
    }
}
