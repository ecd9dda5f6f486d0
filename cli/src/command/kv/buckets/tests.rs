//! Goal: a bucket is watched as flags say, and goes only when nobody watches it, unless forced.

use clap::Parser;

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script};
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    watch: Watch,
}

#[test]
fn of_which_changes_is_said() {
    let parse = |line: &str| Line::try_parse_from(["watch"].into_iter().chain(line.split(' ')));
    let all = parse("images --function thumb").unwrap().watch;
    assert_eq!(all.on, [On::Set, On::Delete]);
    let some = parse("images --function thumb --on delete --suffix .jpg --attempts 5").unwrap().watch;
    assert_eq!((some.on.as_slice(), some.watcher.suffix.as_str()), (&[On::Delete][..], ".jpg"));
    let some = some.watcher;
    assert_eq!(some.flags.settings().unwrap().attempts, 5);
    assert!(parse("images --function thumb --on changed").is_err());
}

#[tokio::test]
async fn a_bucket_is_watched_left_and_dropped() {
    let store = FakeStore::start(Kept::default()).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    let mut events = Events::of(node.client().await).unwrap();
    let id: FunctionId = "images".parse().unwrap();
    let (holds, access) = (Holds::Values, Access::Signed);
    let wanted = BucketEntry { id: id.clone(), line: 0, keys_max: 10, bytes_max: 20, holds, access };
    put(&mut events, &wanted, true).await.unwrap();
    assert!(all(&mut events, &id.namespace).await.unwrap().is_empty(), "it was only asked");
    put(&mut events, &wanted, false).await.unwrap();
    let watcher = pb::KvWatcher { function: "thumb".to_owned(), sets: true, ..pb::KvWatcher::default() };
    let made = begin(&mut events, &id, &watcher, &Settings::default(), false).await.unwrap().unwrap();
    assert_eq!(made.watchers[0].queue, "bucket/images/thumb");
    assert_eq!(all(&mut events, &id.namespace).await.unwrap()[0].keys_max, 10);
    let failure = drop_bucket(&mut events, &id, false).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict, "{failure}");
    assert!(end(&mut events, &id, "thumb").await.unwrap().unwrap().watchers.is_empty());
    store.with(|kept| kept.lost_answers = 1);
    drop_bucket(&mut events, &id, false).await.unwrap();
    assert_eq!(drop_bucket(&mut events, &id, false).await.unwrap_err().exit, Exit::NotFound);
}

#[tokio::test]
async fn what_is_not_said_stays_and_what_changed_is_told() {
    let store = FakeStore::start(Kept::default()).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    let mut events = Events::of(node.client().await).unwrap();
    let id: FunctionId = "site".parse().unwrap();
    let blobs = (&id, Holds::Blobs);
    let (nothing, large) = (Bounds::default(), Bounds { size: Some(1 << 40), keys: None });
    let (said, outcome) = make_or_change(&mut events, blobs, &large, Some(Access::Read)).await.unwrap();
    assert_eq!((said.as_str(), outcome), ("bucket site is made; its access is read", "created"));
    let as_it_is = |store: &FakeStore| {
        store.with(|kept| (kept.buckets[0].keys_max, kept.buckets[0].bytes_max, kept.buckets[0].access()))
    };
    let larger = Bounds { size: Some(2 << 40), keys: None };
    let (said, _) = make_or_change(&mut events, blobs, &larger, None).await.unwrap();
    assert_eq!(said, "bucket site is changed: size 2 TiB instead of 1 TiB");
    assert_eq!(as_it_is(&store), (1_000_000, 2 << 40, pb::BlobAccess::Read), "readers go on reading");
    let (said, _) = make_or_change(&mut events, blobs, &nothing, Some(Access::Open)).await.unwrap();
    assert_eq!(said, "bucket site is changed: access open instead of read");
    assert_eq!(as_it_is(&store), (1_000_000, 2 << 40, pb::BlobAccess::Open), "and it keeps its room");
    let puts = store.with(|kept| kept.log.len());
    let (said, outcome) = make_or_change(&mut events, blobs, &nothing, None).await.unwrap();
    assert_eq!((said.as_str(), outcome), ("bucket site is unchanged", "unchanged"));
    assert_eq!(store.with(|kept| kept.log.len()), puts, "nobody is asked for nothing");
    let other = make_or_change(&mut events, (&id, Holds::Values), &nothing, None).await.unwrap_err();
    assert!(other.message.contains("holds blobs: take 'coracle blob'"), "{other}");
}
