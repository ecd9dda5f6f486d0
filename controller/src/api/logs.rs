//! A function's log records from all workers: each is asked, what does not answer is named as a gap.

use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::logs_client::LogsClient;
use coracle_proto::pb::{LogGap, LogsEvent, LogsRequest, logs_event::Kind};
use coracle_proto::record::{Node, Role};
use coracle_proto::status::Refusal;
use coracle_transport::{Dialer, Purpose};
use futures::future::join_all;
use tokio::sync::mpsc;
use tonic::Status;

use super::STREAM_QUEUE;
use crate::context::Context;

/// A worker that has not begun to answer by then is named as a gap.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Workers asked for one function's records; of those beyond it one gap tells.
const NODES_MAX: usize = 256;

type Events = mpsc::Receiver<LogsEvent>;

/// Sends every worker's records: in order of time where the streams end, as they come where they are followed.
pub(super) async fn logs(
    context: &Context,
    asked: LogsRequest,
    out: mpsc::Sender<Result<LogsEvent, Status>>,
) {
    let state = context.hub.state();
    let workers = || state.nodes().filter(|node| node.is(Role::Worker));
    if let Some(gap) = left_out(workers().count())
        && out.send(Ok(gap)).await.is_err()
    {
        return;
    }
    let workers: Vec<Node> = workers().take(NODES_MAX).cloned().collect();
    if asked.follow {
        let tails = workers.iter().map(|node| {
            let (records, events) = mpsc::channel(STREAM_QUEUE);
            futures::future::join(tail(node, asked.clone(), records), pass_on(events, out.clone()))
        });
        join_all(tails).await;
        return;
    }
    let (tails, events): (Vec<_>, Vec<_>) = workers
        .iter()
        .map(|node| {
            let (records, events) = mpsc::channel(STREAM_QUEUE);
            (tail(node, asked.clone(), records), events)
        })
        .unzip();
    futures::future::join(join_all(tails), merge(events, out)).await;
}

/// What is told of workers that are not asked.
fn left_out(workers: usize) -> Option<LogsEvent> {
    let left = workers.checked_sub(NODES_MAX).filter(|left| *left > 0)?;
    let reason = format!("{left} of {workers} workers are not asked: at most {NODES_MAX} are");
    Some(LogsEvent { kind: Some(Kind::Gap(LogGap { node: 0, reason, dropped: 0 })) })
}

/// Until the worker tells no more or the client has left, also where nothing is told that it could miss.
async fn pass_on(mut events: Events, out: mpsc::Sender<Result<LogsEvent, Status>>) {
    let passing = async {
        while let Some(event) = events.recv().await {
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = passing => {}
        () = out.closed() => {}
    }
}

/// Passes on one worker's records; how it ended is told when that was not by itself.
async fn tail(node: &Node, asked: LogsRequest, records: mpsc::Sender<LogsEvent>) {
    if let Err(reason) = try_tail(node, asked, &records).await {
        let gap = Kind::Gap(LogGap { node: node.id.get(), reason, dropped: 0 });
        // Nobody reads any more: then nobody misses it.
        let _ = records.send(LogsEvent { kind: Some(gap) }).await;
    }
}

async fn try_tail(node: &Node, asked: LogsRequest, records: &mpsc::Sender<LogsEvent>) -> Result<(), String> {
    let connected = Dialer::new(Purpose::Logs).connect(&node.addresses.data).await;
    let channel = connected.map_err(|_| format!("cannot connect to {}", node.addresses.data))?;
    let said = |status: Status| Refusal::from_status(&status).to_string();
    let mut client = LogsClient::new(channel);
    let mut events = match tokio::time::timeout(ANSWER_TIMEOUT, client.tail(asked)).await {
        Ok(events) => events.map_err(said)?.into_inner(),
        Err(_) => return Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    };
    loop {
        tokio::select! {
            event = events.message() => match event.map_err(said)? {
                Some(event) => if records.send(event).await.is_err() { return Ok(()) },
                None => return Ok(()),
            },
            () = records.closed() => return Ok(()),
        }
    }
}

/// The earliest of the streams' next records, until all have ended.
async fn merge(mut streams: Vec<Events>, out: mpsc::Sender<Result<LogsEvent, Status>>) {
    let mut heads: Vec<Option<LogsEvent>> = join_all(streams.iter_mut().map(mpsc::Receiver::recv)).await;
    loop {
        let present = heads.iter().enumerate().filter_map(|(at, head)| Some((at, time_of(head.as_ref()?))));
        let Some((first, _)) = present.min_by_key(|(at, time)| (*time, *at)) else { return };
        let (Some(head), Some(stream)) = (heads.get_mut(first), streams.get_mut(first)) else { return };
        let next = stream.recv().await;
        if let Some(event) = std::mem::replace(head, next)
            && out.send(Ok(event)).await.is_err()
        {
            return;
        }
    }
}

/// Gaps have no time and come at once.
fn time_of(event: &LogsEvent) -> (u64, NodeId) {
    match &event.kind {
        Some(Kind::Record(record)) => (record.time_ms, NodeId::new(record.node)),
        Some(Kind::Gap(gap)) => (0, NodeId::new(gap.node)),
        None => (0, NodeId::new(0)),
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::LogRecord;

    use super::*;

    fn record(node: u64, time_ms: u64) -> LogsEvent {
        LogsEvent { kind: Some(Kind::Record(LogRecord { node, time_ms, ..LogRecord::default() })) }
    }

    #[test]
    fn workers_that_are_not_asked_are_counted() {
        assert_eq!(left_out(NODES_MAX), None);
        let Some(Kind::Gap(gap)) = left_out(NODES_MAX + 3).unwrap().kind else { panic!("a gap") };
        assert_eq!(gap.reason, "3 of 259 workers are not asked: at most 256 are");
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_followed_no_more_though_nothing_is_logged() {
        let (records, events) = mpsc::channel(8);
        let (out, client) = mpsc::channel(8);
        drop(client);
        let left = async { tokio::join!(pass_on(events, out), records.closed()) };
        assert!(tokio::time::timeout(Duration::from_secs(30), left).await.is_ok());
    }

    #[tokio::test]
    async fn ended_streams_are_merged_by_time() {
        let mut streams = Vec::new();
        for (node, times) in [(1, vec![1, 4, 5]), (2, vec![2, 3, 9]), (3, vec![])] {
            let (records, events) = mpsc::channel(8);
            for time in times {
                records.send(record(node, time)).await.unwrap();
            }
            streams.push(events);
        }
        let (out, mut merged) = mpsc::channel(16);
        merge(streams, out).await;
        let mut times = Vec::new();
        while let Some(event) = merged.recv().await {
            times.push(time_of(&event.unwrap()).0);
        }
        assert_eq!(times, [1, 2, 3, 4, 5, 9]);
    }
}
