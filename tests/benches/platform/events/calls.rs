//! The load whose messages are run: when the function begins, and how many are settled.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::invocations_client::InvocationsClient;
use coracle_proto::pb::queues_client::QueuesClient;
use tonic::transport::Channel;

use super::load::{Plan, Took, answer, publish_all};

/// How long the last one may take to be run.
const RUN_MAX: Duration = Duration::from_secs(60);
/// How long one question for a record waits: less than anybody waits for an answer.
const WAIT_MS: u32 = 5_000;
/// Connections of what is published at a rate.
const CONNECTIONS: usize = 8;
/// Messages of one request, where the rate of settling is what is measured.
const BATCH: usize = 16;
/// Between two looks at how many are settled.
const LOOK: Duration = Duration::from_millis(5);

/// A command that answers with the clock's nanoseconds at its begin: eight bytes, at a place that is a multiple of eight.
pub(super) const CLOCK: &str = r#"(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $now (i32.const 0) (i64.const 1) (i32.const 80)))
    (i32.store (i32.const 0) (i32.const 80))
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// So many messages a second, each sent when it is due, whatever became of those before. A time is from then to the moment at which
/// the function says that it began.
pub(super) async fn start(plan: &Arc<Plan>) -> Took {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(plan.target.connect().await);
    }
    let interval = Duration::from_secs(1) / u32::try_from(plan.amount.clients).unwrap();
    let (begin, clock) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let mut ticks = tokio::time::interval_at(begin.into(), interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut sent = tokio::task::JoinSet::new();
    let total = plan.amount.warm + plan.amount.measure;
    let count = u32::try_from(total.as_nanos() / interval.as_nanos()).unwrap();
    for number in 0..count {
        let _ = ticks.tick().await;
        let due = interval * number;
        let mut queues = QueuesClient::new(channels[number as usize % CONNECTIONS].clone());
        let (request, invocation) = plan.publish(1);
        let plan = Arc::clone(plan);
        sent.spawn(async move {
            plan.reached(answer(queues.publish(request)).await.sequence);
            (due, invocation)
        });
    }
    let (sent, elapsed) = (sent.join_all().await, begin.elapsed().saturating_sub(plan.amount.warm));
    let mut invocations = InvocationsClient::new(channels[0].clone());
    let mut times = Vec::new();
    for (due, invocation) in sent.into_iter().filter(|(due, _)| *due >= plan.amount.warm) {
        let began = began(plan, &mut invocations, invocation).await;
        times.push(began.checked_sub(clock + due).expect("it begins after it was due"));
    }
    Took { times, elapsed }
}

/// The moment, since 1970, that the function has told.
async fn began(plan: &Plan, invocations: &mut InvocationsClient<Channel>, invocation: Bytes) -> Duration {
    let asked = Instant::now();
    loop {
        let request = pb::GetInvocationRequest {
            cluster_id: plan.target.cluster_id.clone(),
            group: plan.target.group,
            invocation: invocation.clone(),
            wait_ms: WAIT_MS,
            answer: true,
        };
        let reply = answer(invocations.get(request)).await;
        if let Some(told) = reply.answer {
            let nanos = told.body.as_ref().try_into();
            let nanos = nanos.unwrap_or_else(|_| panic!("no moment: {:?}, {:?}", told.body, reply.record));
            return Duration::from_nanos(u64::from_le_bytes(nanos));
        }
        assert!(asked.elapsed() < RUN_MAX, "it has not run within {RUN_MAX:?}: {:?}", reply.record);
    }
}

/// As many messages as the plan has clients in each round, all of them taken as fast as they are acknowledged, until the last one is
/// settled; the first round is not measured.
pub(super) async fn settle(plan: &Arc<Plan>) -> Took {
    let count = plan.amount.clients;
    let mut queues = QueuesClient::new(plan.target.connect().await);
    let mut elapsed = Duration::ZERO;
    for _ in 0..2 {
        let (before, begin) = (settled(plan, &mut queues).await, Instant::now());
        let published = publish_all(plan, BATCH, begin, move |sent| sent < count).await.len() as u64;
        while settled(plan, &mut queues).await < before + published {
            assert!(begin.elapsed() < RUN_MAX, "not all of {published} are settled within {RUN_MAX:?}");
            tokio::time::sleep(LOOK).await; // a bounded poll
        }
        elapsed = begin.elapsed();
    }
    Took { times: vec![elapsed; count], elapsed }
}

async fn settled(plan: &Plan, queues: &mut QueuesClient<Channel>) -> u64 {
    let request = pb::GetQueueRequest { place: plan.target.place(), queue: plan.target.name.clone() };
    let queue = answer(queues.get(request)).await.queue.expect("the queue");
    queue.totals.get("settled").copied().unwrap_or_default()
}
