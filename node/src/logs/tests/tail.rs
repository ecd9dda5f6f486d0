//! The service over a real connection: history, tail, follow, gaps, slow readers.

use std::path::Path;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::logs_client::LogsClient;
use coracle_proto::pb::{LogGap, LogRecord, LogsRequest, logs_event};
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Server};

use super::super::{LogMetrics, Logs, RingLimits, start};
use super::{line, version};
use crate::clock;

struct Node {
    folder: TempDir,
    logs: Logs,
    client: LogsClient<Channel>,
    stop: CancellationToken,
}

#[derive(Debug, PartialEq)]
enum Event {
    Record(LogRecord),
    Gap(LogGap),
    End,
}

async fn node(limits: RingLimits) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let (logs, client, stop) = serve(folder.path(), limits).await;
    Node { folder, logs, client, stop }
}

async fn serve(folder: &Path, limits: RingLimits) -> (Logs, LogsClient<Channel>, CancellationToken) {
    let stop = CancellationToken::new();
    let (logs, service) = start(folder, NodeId::new(3), limits, LogMetrics::default(), stop.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(service.server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let client = LogsClient::connect(format!("http://{address}")).await.unwrap();
    (logs, client, stop)
}

fn asked(name: &str) -> LogsRequest {
    LogsRequest { name: name.to_owned(), ..LogsRequest::default() }
}

async fn next(events: &mut Streaming<coracle_proto::pb::LogsEvent>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(10), events.message()).await.expect("an event");
    match event.unwrap().map(|event| event.kind.unwrap()) {
        Some(logs_event::Kind::Record(record)) => Event::Record(record),
        Some(logs_event::Kind::Gap(gap)) => Event::Gap(gap),
        None => Event::End,
    }
}

async fn lines(client: &mut LogsClient<Channel>, request: LogsRequest) -> Vec<String> {
    let mut events = client.tail(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    loop {
        match next(&mut events).await {
            Event::Record(record) => lines.push(record.line),
            Event::Gap(gap) => lines.push(format!("gap of {}", gap.dropped)),
            Event::End => return lines,
        }
    }
}

#[tokio::test]
async fn a_line_keeps_all_that_is_known_of_it() {
    let mut node = node(RingLimits::default()).await;
    let hello = version("hello");
    node.logs.line(line(&hello, "a line"));
    node.logs.flush().await;
    let mut events = node.client.tail(asked("hello")).await.unwrap().into_inner();
    let Event::Record(record) = next(&mut events).await else { panic!("no record") };
    assert_eq!((record.node, record.namespace.as_str(), record.version), (3, "default", 1));
    assert_eq!(record.invocation_id[15], 7);
    assert_eq!(record.trace_id, &[9; 16][..]);
    assert_eq!(record.stream(), coracle_proto::pb::LogStream::Stdout);
    assert!(clock::unix_ms() - record.time_ms < 10_000);
    assert_eq!(next(&mut events).await, Event::End);
}

#[tokio::test]
async fn history_by_function_time_and_count() {
    let mut node = node(RingLimits::default()).await;
    let (hello, other) = (version("hello"), version("other"));
    let (now, now_ms) = (clock::now(), clock::unix_ms());
    for number in 0..20 {
        node.logs.line_at(line(&hello, &format!("hello {number}")), now, now_ms + number);
        node.logs.line_at(line(&other, &format!("other {number}")), now, now_ms + number);
    }
    // Older than anything may be.
    node.logs.line_at(line(&hello, "ancient"), now, now_ms - 8 * 24 * 3600 * 1000);
    node.logs.flush().await;
    assert_eq!(lines(&mut node.client, asked("hello")).await.len(), 20);
    let last = lines(&mut node.client, LogsRequest { tail: 3, ..asked("other") }).await;
    assert_eq!(last, ["other 17", "other 18", "other 19"]);
    let since = lines(&mut node.client, LogsRequest { since_ms: now_ms + 18, ..asked("hello") }).await;
    assert_eq!(since, ["hello 18", "hello 19"]);
    assert!(lines(&mut node.client, asked("nobody")).await.is_empty());
    assert!(node.client.tail(asked("No Name")).await.is_err());

    let (_logs, mut client, _stop) = serve(node.folder.path(), RingLimits::default()).await;
    assert_eq!(lines(&mut client, asked("hello")).await.len(), 20, "after a restart");
}

#[tokio::test]
async fn following_begins_exactly_where_history_ends() {
    let mut node = node(RingLimits::default()).await;
    let hello = version("hello");
    // Lines come all the time while the reader begins: none may be lost or told twice.
    let writer = tokio::spawn({
        let (logs, hello) = (node.logs.clone(), hello.clone());
        async move {
            for number in 0..2000 {
                logs.line(line(&hello, &number.to_string()));
                if number % 50 == 0 {
                    logs.flush().await;
                }
            }
        }
    });
    let request = LogsRequest { follow: true, ..asked("hello") };
    let mut events = node.client.tail(request).await.unwrap().into_inner();
    for number in 0..2000 {
        let Event::Record(record) = next(&mut events).await else { panic!("no record") };
        assert_eq!(record.line, number.to_string());
    }
    writer.await.unwrap();

    let request = LogsRequest { follow: true, tail: 1, ..asked("hello") };
    let mut last = node.client.tail(request).await.unwrap().into_inner();
    assert!(matches!(next(&mut last).await, Event::Record(record) if record.line == "1999"));
    node.logs.line(line(&hello, "new"));
    for events in [&mut events, &mut last] {
        assert!(matches!(next(events).await, Event::Record(record) if record.line == "new"));
    }
    node.stop.cancel();
    assert_eq!(next(&mut last).await, Event::End, "an end of the node ends its readers");
}

#[tokio::test]
async fn what_is_over_the_rate_is_counted_and_others_are_not_touched() {
    let mut node = node(RingLimits::default()).await;
    let (flood, hello) = (version("flood"), version("hello"));
    let text = "x".repeat(1000);
    let (now, now_ms) = (clock::now(), clock::unix_ms());
    for _ in 0..3000 {
        node.logs.line_at(line(&flood, &text), now, now_ms);
    }
    node.logs.line_at(line(&hello, "here"), now, now_ms);
    node.logs.flush().await;
    let mut events = node.client.tail(asked("flood")).await.unwrap().into_inner();
    let (mut kept, mut dropped) = (0, 0);
    loop {
        match next(&mut events).await {
            Event::Record(_) => kept += 1,
            Event::Gap(gap) => {
                assert_eq!((gap.node, gap.reason.as_str()), (3, "over 1024 KiB a second"));
                dropped += gap.dropped;
            }
            Event::End => break,
        }
    }
    assert_eq!(kept + dropped, 3000);
    // A mebibyte, at a thousand bytes and what a record costs beside them; and what the time since then allows,
    // which is the writer's own.
    let since = clock::millis(clock::now() - now);
    assert!(((1 << 20) / 1128..=(1 << 20) / 1128 + since).contains(&kept), "{kept} in {since} ms");
    assert_eq!(lines(&mut node.client, asked("hello")).await, ["here"]);
}

/// At its rate one function would push out of the ring what all the others have there, within a minute.
#[tokio::test]
async fn a_function_that_logs_much_has_its_share_where_others_log_too() {
    let (flood, hello) = (version("flood"), version("hello"));
    let text = "x".repeat(8000);
    for alone in [true, false] {
        let (logs, queue) = Logs::new(NodeId::new(3), LogMetrics::default());
        let now = clock::now();
        let mut kept = 0;
        for second in 0..64 {
            let at = now + Duration::from_secs(second);
            for _ in 0..100 {
                kept += usize::from(logs.line_at(line(&flood, &text), at, 0));
            }
            if !alone && second % 30 == 0 {
                assert!(logs.line_at(line(&hello, "here"), at, 0), "its own line at {second} s");
            }
            // As the writer does in each of its rounds.
            logs.shared.gaps(at, 0);
            let taken = queue.try_iter().map(|message| match message {
                super::super::sink::Message::Record(_, cost) => cost,
                super::super::sink::Message::Flush(_) => 0,
            });
            logs.shared.taken(taken.sum());
        }
        let kept = kept * (text.len() + 128);
        assert_eq!(kept > 40 << 20, alone, "{kept} bytes");
        assert!(alone || kept > 15 << 20, "{kept} bytes");
    }
}

#[tokio::test]
async fn a_full_queue_never_waits_and_is_counted() {
    // No writer takes anything out of the queue.
    let (logs, queue) = Logs::new(NodeId::new(3), LogMetrics::default());
    let functions: Vec<_> = (0..20).map(|number| version(&format!("f{number}"))).collect();
    let (now, text) = (clock::now(), "x".repeat(1000));
    for function in &functions {
        for _ in 0..900 {
            logs.line_at(line(function, &text), now, 0);
        }
    }
    let queued = queue.try_iter().count();
    assert!(queued <= 8192 && queued * 1128 <= 8 << 20, "{queued}");
    let dropped: u64 = logs
        .shared
        .gaps(now, 0)
        .into_iter()
        .map(|frame| match frame.kind {
            Some(coracle_proto::pb::log_frame::Kind::Dropped(gap)) => gap.dropped,
            _ => panic!("no gap"),
        })
        .sum();
    assert_eq!(queued as u64 + dropped, 20 * 900);
}

#[tokio::test]
async fn a_slow_reader_gets_a_gap_and_then_the_newest() {
    let limits = RingLimits { bytes: 400_000, segment_bytes: 100_000, ..RingLimits::default() };
    let mut node = node(limits).await;
    let text = "x".repeat(8_000);
    let hello = version("hello");
    node.logs.line(line(&hello, "first"));
    node.logs.flush().await;
    let request = LogsRequest { follow: true, ..asked("hello") };
    let mut events = node.client.tail(request).await.unwrap().into_inner();
    assert!(matches!(next(&mut events).await, Event::Record(record) if record.line == "first"));
    // More than the connection's windows, the queue and the ring together hold; the reader does not read.
    let mut sent = 0_u64;
    let later = clock::now();
    for round in 0..40_u32 {
        let now = later + Duration::from_secs(round.into());
        for _ in 0..100 {
            node.logs.line_at(line(&hello, &text), now, clock::unix_ms());
            sent += 1;
        }
        node.logs.flush().await;
    }
    node.logs.line_at(line(&hello, "last"), later + Duration::from_secs(100), clock::unix_ms());
    let (mut records, mut missed) = (0, 0);
    loop {
        match next(&mut events).await {
            Event::Record(record) if record.line == "last" => break,
            Event::Record(_) => records += 1,
            Event::Gap(gap) => missed += gap.dropped,
            Event::End => panic!("ended"),
        }
    }
    assert!(missed > 0);
    assert_eq!(records + missed, sent);
}

#[tokio::test]
async fn long_and_odd_lines_are_cut_to_text() {
    let mut node = node(RingLimits::default()).await;
    let hello = version("hello");
    let long = vec![0xff_u8; 40_000];
    node.logs.line(super::Line { text: &long, ..line(&hello, "") });
    node.logs.flush().await;
    let line = lines(&mut node.client, asked("hello")).await.remove(0);
    assert!(line.len() <= 16 << 10 && line.chars().all(|one| one == '\u{fffd}'));
}
