//! Goal: values are read and changed where their bucket is, and a change is done once.

use std::time::Duration;

use coracle_proto::id::ClusterId;
use coracle_proto::status::Code;

use super::asking::World;
use super::fake::{BlobBucket, Store};
use crate::clock;
use crate::values::{Bucket, Change, Holds, Listing, Write, Written};

const LONG: Duration = Duration::from_secs(10);

fn bucket(name: &str) -> Bucket {
    Bucket { namespace: "shop".parse().unwrap(), name: name.to_owned() }
}

fn set(key: &str, value: &str, if_version: Option<u64>) -> Write {
    let change = Change::Set { data: value.to_owned().into(), ttl: None, if_version };
    Write { key: key.to_owned().into(), change }
}

async fn write(world: &World, writes: Vec<Write>) -> Result<Vec<Written>, Code> {
    let written = world.stores.write(&bucket("b"), writes, 3, clock::now() + LONG).await;
    written.map_err(|refusal| refusal.code)
}

async fn value(world: &World, key: &str) -> Option<String> {
    let value = world.stores.value(&bucket("b"), key.as_bytes(), clock::now() + LONG).await.unwrap();
    value.map(|it| String::from_utf8(it.data.to_vec()).unwrap())
}

#[tokio::test]
async fn values_are_changed_together_and_read_back() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().buckets.insert("b".to_owned(), [].into());
    let increment = Write { key: "n".into(), change: Change::Increment { by: 3 } };
    let written = write(&world, vec![set("a", "1", Some(0)), increment.clone(), increment]).await.unwrap();
    assert_eq!(written.iter().map(|it| it.number).collect::<Vec<_>>(), [None, Some(3), Some(6)]);
    assert_eq!(
        (value(&world, "a").await.as_deref(), value(&world, "n").await.as_deref()),
        (Some("1"), Some("6"))
    );
    assert_eq!(value(&world, "none").await, None);
    for (key, version) in [("a", Some(written[0].version)), ("n", Some(written[2].version)), ("", None)] {
        let found = world.stores.version(&bucket("b"), key.as_bytes(), clock::now() + LONG).await;
        assert_eq!(found, Ok(version), "{key}");
    }
    let version = written[0].version;
    assert_eq!(
        write(&world, vec![set("z", "", None), set("a", "2", Some(version + 9))]).await,
        Err(Code::Conflict)
    );
    assert_eq!(value(&world, "z").await, None, "all or nothing");
    let gone = Write { key: "a".into(), change: Change::Delete };
    assert_eq!(write(&world, vec![set("z", "", None), gone]).await.map(|it| it[1].existed), Ok(true));
    assert_eq!(store.state().writes[0].hops, 3);
    let place = store.state().writes[0].place.clone().unwrap();
    assert_eq!((place.namespace.as_str(), place.bucket.as_str()), ("shop", "b"));
    assert_eq!(place.cluster_id, ClusterId::new(77).to_wire());
}

#[tokio::test]
async fn keys_come_in_pages() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().buckets.insert("b".to_owned(), [].into());
    let keys = ["a/1", "a/2", "a/3", "a/4", "b"];
    write(&world, keys.iter().map(|key| set(key, "", None)).collect()).await.unwrap();
    let (mut found, mut after) = (Vec::new(), bytes::Bytes::new());
    loop {
        let listing = Listing { prefix: "a/".into(), after, most: 0 };
        let page = world.stores.values(&bucket("b"), listing, clock::now() + LONG).await.unwrap();
        assert!(page.keys.iter().all(|(_, version)| *version > 0));
        found.extend(page.keys.into_iter().map(|(key, _)| key));
        after = page.after;
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(found, keys[..4]);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_done_once() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().buckets.insert("b".to_owned(), [].into());
    store.state().loses = 2;
    write(&world, vec![Write { key: "n".into(), change: Change::Increment { by: 1 } }]).await.unwrap();
    assert_eq!(value(&world, "n").await.as_deref(), Some("1"));
    let asked: Vec<_> = store.state().writes.iter().map(|it| it.request.clone().unwrap()).collect();
    assert!(asked.len() == 3 && asked.iter().all(|it| *it == asked[0]), "{asked:?}");
}

#[tokio::test]
async fn whoever_leads_is_found_and_a_bucket_that_is_not_there_is_told() {
    let (other, leader) = (Store::start().await, Store::start().await);
    other.state().follows = true;
    let world = World::new(&[&other, &leader]);
    leader.state().buckets.insert("b".to_owned(), [].into());
    assert_eq!(value(&world, "a").await, None);
    let deadline = || clock::now() + LONG;
    leader.state().blob_buckets.insert("files".to_owned(), BlobBucket::default());
    let kinds = [("b", Some(Holds::Values)), ("files", Some(Holds::Blobs))];
    for (name, holds) in kinds.into_iter().chain(["a", "b0", "c", "g"].map(|name| (name, None))) {
        assert_eq!(world.stores.holds(&bucket(name), deadline()).await, Ok(holds), "{name}");
    }
    let (none, key) = (bucket("none"), b"a");
    let asked = world.stores.value(&none, key, deadline()).await.map_err(|it| it.code);
    assert_eq!(asked, Err(Code::BucketNotFound));
    let listed = world.stores.values(&none, Listing::default(), deadline()).await.map_err(|it| it.code);
    assert_eq!(listed, Err(Code::BucketNotFound));
    let written =
        world.stores.write(&none, vec![set("a", "", None)], 0, deadline()).await.map_err(|it| it.code);
    assert_eq!(written, Err(Code::BucketNotFound));
}

#[tokio::test]
async fn many_who_change_something_at_once_ask_once_how_far_the_group_is() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().buckets.insert("b".to_owned(), [].into());
    let all = (0..32).map(|number| write(&world, vec![set(&format!("k{number}"), "", None)]));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let state = store.state();
    assert_eq!((state.asked, state.writes.len()), (1, 32));
}

/// One who is gone does not hold up the others, and they wait no longer than they have time.
#[tokio::test]
async fn where_nobody_answers_each_waits_as_long_as_it_may() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().buckets.insert("b".to_owned(), [].into());
    store.state().follows = true;
    let (ours, writes) = (bucket("b"), || vec![set("a", "", None)]);
    let within = |limit| world.stores.write(&ours, writes(), 0, clock::now() + limit);
    let gone = tokio::time::timeout(Duration::from_millis(100), within(LONG)).await;
    assert!(gone.is_err(), "nobody answers it");
    let all = (0..32).map(|_| within(Duration::from_millis(300)));
    let all = tokio::time::timeout(LONG / 2, futures::future::join_all(all)).await.unwrap();
    assert!(all.iter().all(Result::is_err), "{all:?}");
    store.state().follows = false;
    assert!(within(LONG).await.is_ok());
}
