//! Goal: followers that come back at once share what they are sent: memory does not grow with followers times state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle_proto::id::{NodeId, Revision};
use coracle_proto::pb::watch_frame::Body;
use coracle_proto::pb::{Snapshot, WatchFrame};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Follower, Hub, Scope, follow};
use crate::model::Command;
use crate::model::samples::Asked;
use crate::soft::SoftTable;

const FOLLOWERS: u64 = 1000;
const FUNCTIONS: u64 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
/// More than before, whatever the state's size; it was followers times state.
const MEMORY_BYTES_MAX: u64 = 300 << 20;
/// Frames that wait for one follower (`api::STREAM_QUEUE`).
const QUEUE: usize = 16;
/// For all of them; a build without optimization is given five times as much.
const SERVED_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 150 } else { 30 });

/// Of this process, in memory.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn state() -> Asked {
    let mut asked = Asked::cluster(3);
    for at in 0..FUNCTIONS {
        let version = asked.deploy(&format!("function-{at}"), 7);
        if at % 100 == 0 {
            asked.assign(&version, &[1, 2]);
        }
    }
    asked
}

fn start(hub: &Arc<Hub>, scope: Scope, seen: u64) -> mpsc::Receiver<Result<WatchFrame, tonic::Status>> {
    let (out, frames) = mpsc::channel(QUEUE);
    let follower = Follower { scope, seen: Revision::new(seen), out };
    // Nobody is asked how new it is.
    let (_, confirming) = mpsc::channel(1);
    tokio::spawn(follow(Arc::clone(hub), Arc::new(SoftTable::new()), follower, confirming));
    frames
}

/// Reads a snapshot as a connection would: encoded, one frame after the other. Answers with its records.
async fn read(mut frames: mpsc::Receiver<Result<WatchFrame, tonic::Status>>, peak: Arc<AtomicU64>) -> u64 {
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    while let Some(Ok(frame)) = frames.recv().await {
        buffer.clear();
        frame.encode(&mut buffer).unwrap();
        bytes += buffer.len() as u64;
        let Some(Body::Snapshot(snapshot)) = frame.body else { panic!("a snapshot comes first") };
        if snapshot.last {
            peak.fetch_max(resident_bytes(), Ordering::Relaxed);
            return bytes;
        }
        if bytes % 64 < 2 {
            peak.fetch_max(resident_bytes(), Ordering::Relaxed);
        }
    }
    panic!("the stream ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_followers_at_once_share_a_snapshot() {
    let hub = Arc::new(Hub::new(state().state));
    let (before, peak) = (resident_bytes(), Arc::new(AtomicU64::new(0)));
    let begun = crate::clock::now();
    let mut followers = JoinSet::new();
    for _ in 0..FOLLOWERS {
        followers.spawn(read(start(&hub, Scope::Gateway, 0), Arc::clone(&peak)));
    }
    let all: Vec<u64> = followers.join_all().await;
    let took = crate::clock::now().saturating_duration_since(begun);
    let more = peak.load(Ordering::Relaxed).saturating_sub(before);
    println!("{FOLLOWERS} followers, {} bytes each: {} MiB more, {took:?}", all[0], more >> 20);
    assert!(all.iter().all(|bytes| *bytes == all[0]) && all[0] > FUNCTIONS * 100);
    assert!(more <= MEMORY_BYTES_MAX, "{} MiB more", more >> 20);
    assert!(took <= SERVED_WITHIN, "{took:?}");
}

async fn whole(frames: &mut mpsc::Receiver<Result<WatchFrame, tonic::Status>>) -> (u64, Vec<String>) {
    let mut keys = Vec::new();
    loop {
        let frame = frames.recv().await.unwrap().unwrap();
        let frame = WatchFrame::decode(&frame.encode_to_vec()[..]).unwrap();
        let Some(Body::Snapshot(Snapshot { records, last, .. })) = frame.body else { panic!("no snapshot") };
        keys.extend(records.into_iter().map(|change| change.key));
        if last {
            return (frame.revision, keys);
        }
    }
}

#[tokio::test]
async fn who_comes_later_is_sent_the_same_and_then_what_changed() {
    let mut asked = Asked::cluster(3);
    for at in 0..500 {
        let version = asked.deploy(&format!("function-{at}"), 7);
        asked.assign(&version, &[1, 2]);
    }
    let expected: Vec<_> = asked.state.records().map(|record| record.key().to_string()).collect();
    let hub = Arc::new(Hub::new(asked.state.clone()));
    let (mut first, mut all) = (start(&hub, Scope::Gateway, 0), start(&hub, Scope::All, 0));
    // They have begun, and wait for slow followers.
    let (begun, begun_all) = (first.recv().await.unwrap().unwrap(), all.recv().await.unwrap().unwrap());
    let applied = asked.run(Command::RegisterNode { node: crate::model::samples::node("late") });
    let changes = applied.changes.into_iter().map(|change| coracle_proto::pb::Change {
        key: String::from_utf8(change.key.to_vec()).unwrap(),
        record: change.record,
    });
    hub.applied(asked.state.clone(), changes.collect());
    let mut second = start(&hub, Scope::Gateway, 0);
    let (revision, keys) = whole(&mut second).await;
    assert_eq!(revision, begun.revision, "the one that is being sent anyway");
    let gateway: Vec<_> = expected.iter().filter(|key| !key.starts_with("request/")).cloned().collect();
    assert_eq!(keys, gateway);
    let next = second.recv().await.unwrap().unwrap();
    assert!(matches!(next.body, Some(Body::Changes(_))) && next.revision == asked.state.revision().get());
    let (_, rest) = whole(&mut all).await;
    let begun = WatchFrame::decode(&begun_all.encode_to_vec()[..]).unwrap();
    let Some(Body::Snapshot(part)) = begun.body else { panic!("no snapshot") };
    let keys: Vec<_> = part.records.into_iter().map(|change| change.key).chain(rest).collect();
    assert_eq!(keys, expected);
    let (_, keys) = whole(&mut start(&hub, Scope::Node(NodeId::new(1)), 0)).await;
    let of = |kind: &str| keys.iter().filter(|key| key.starts_with(kind)).count();
    assert_eq!((of("node/"), of("replica/"), of("version/")), (4, 500, 500));
}

#[tokio::test]
async fn revisions_that_come_soon_after_each_other_travel_together() {
    const BATCHES: u64 = 40;
    for scope in [Scope::Gateway, Scope::Node(NodeId::new(1))] {
        let mut asked = Asked::cluster(3);
        let seen = asked.state.revision().get();
        let hub = Arc::new(Hub::new(asked.state.clone()));
        let mut frames = start(&hub, scope, seen);
        for _ in 0..BATCHES {
            let applied = asked.run(Command::KeepTime);
            let changes = applied.changes.into_iter().map(|change| coracle_proto::pb::Change {
                key: String::from_utf8(change.key.to_vec()).unwrap(),
                record: change.record,
            });
            hub.applied(asked.state.clone(), changes.collect());
            tokio::task::yield_now().await;
        }
        let mut told = Vec::new();
        while told.last() != Some(&(seen + BATCHES)) {
            let frame = frames.recv().await.unwrap().unwrap();
            assert!(matches!(frame.body, Some(Body::Changes(_))), "{frame:?}");
            assert!(!frame.state_hash.is_empty(), "a revision at which a batch ended");
            told.push(frame.revision);
        }
        assert!(told[0] < seen + BATCHES / 2, "the first one goes at once: {told:?}");
        assert!(told.len() as u64 <= BATCHES / 4, "{told:?}");
    }
}
