//! Buckets over a real group: listed, watched, and refused by name.

use coracle_proto::pb::{KvSet, KvWatchQueue, KvWatcher, KvWrite, kv_write};
use coracle_proto::status::Code;

use super::super::bench::{refused, request};
use super::*;
use crate::model::counts;
use crate::world::{GROUP, World};

impl World {
    async fn make(&self, bucket: &str) {
        let place = self.bucket().map(|place| KvPlace { bucket: bucket.to_owned(), ..place });
        let put = KvPutBucketRequest {
            place,
            request: request(),
            keys_max: 10,
            bytes_max: 1024,
            ..Default::default()
        };
        self.values().put_bucket(Request::new(put)).await.unwrap();
    }

    fn watch_of(&self, watcher: KvWatcher, queue: Option<KvWatchQueue>) -> Request<KvWatchRequest> {
        let place = self.bucket();
        Request::new(KvWatchRequest {
            place,
            request: request(),
            watcher: Some(watcher),
            queue,
            dry_run: false,
        })
    }

    async fn set(&self, key: &str) -> Result<Response<KvWriteReply>, Status> {
        let set = KvSet { value: "v".into(), ..KvSet::default() };
        let write = KvWrite { key: key.to_owned().into(), change: Some(kv_write::Change::Set(set)) };
        let write = KvWriteRequest { place: self.bucket(), request: request(), writes: vec![write], hops: 0 };
        self.values().write(Request::new(write)).await
    }

    fn events(&self) -> u64 {
        let place = Place::parse("shop", "bucket/a/f").unwrap();
        counts(&self.served.replica.state(), &place).unwrap().published
    }
}

fn watcher(function: &str) -> KvWatcher {
    KvWatcher { function: function.to_owned(), sets: true, prefix: "p".into(), ..KvWatcher::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_bucket_is_told_in_the_same_write() {
    let world = World::start().await;
    world.make("a").await;
    let queue = Some(KvWatchQueue { messages_max: 1, ..KvWatchQueue::default() });
    let reply = world.values().watch(world.watch_of(watcher("f"), queue)).await.unwrap().into_inner();
    let expected = KvWatcher { queue: "bucket/a/f".into(), ..watcher("f") };
    assert_eq!(reply.bucket.unwrap().watchers, [expected]);
    world.set("other").await.unwrap();
    assert_eq!(world.events(), 0);
    world.set("p1").await.unwrap();
    assert_eq!(world.events(), 1);
    let (code, sentence) = refused(world.set("p2").await);
    assert_eq!(code, Code::QueueFull);
    assert!(sentence.contains("'shop/bucket/a/f'"), "{sentence}");
    let drop = |force| Request::new(KvDropBucketRequest { place: world.bucket(), force, request: request() });
    assert_eq!(refused(world.values().drop_bucket(drop(false)).await).0, Code::Conflict);
    let leave = KvUnwatchRequest { place: world.bucket(), request: request(), function: "f".into() };
    let reply = world.values().unwatch(Request::new(leave)).await.unwrap().into_inner();
    assert!(reply.bucket.unwrap().watchers.is_empty());
    world.set("p2").await.unwrap();
    world.values().drop_bucket(drop(false)).await.unwrap();
    assert_eq!(
        refused(world.values().watch(world.watch_of(watcher("f"), None)).await).0,
        Code::BucketNotFound
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_watcher_is_said_by_name() {
    let world = World::start().await;
    world.make("a").await;
    let attempts = |attempts| Some(KvWatchQueue { attempts, ..KvWatchQueue::default() });
    let nothing = KvWatcher { sets: false, ..watcher("f") };
    for (watcher, queue, part) in [
        (watcher("F"), None, "'watcher.function'"),
        (nothing, None, "neither was asked for"),
        (watcher("f"), attempts(101), "attempts of a queue is 101"),
    ] {
        let (code, sentence) = refused(world.values().watch(world.watch_of(watcher, queue)).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(sentence.contains(part), "{sentence}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_listed_in_pages() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        world.make(name).await;
    }
    world.set("k").await.unwrap();
    let list = async |after: &str, limit| {
        let (cluster_id, namespace, after) = (world.cluster().to_wire(), "shop".to_owned(), after.to_owned());
        let asked = KvListBucketsRequest { cluster_id, group: GROUP.get(), namespace, after, limit };
        world.values().list_buckets(Request::new(asked)).await.unwrap().into_inner()
    };
    let first = list("", 2).await;
    let told: Vec<_> = first.buckets.iter().map(|it| (&it.bucket[..], it.keys, it.keys_max)).collect();
    assert_eq!((told, &first.after[..]), (vec![("a", 1, 10), ("b", 0, 10)], "b"));
    let rest = list("b", 2).await;
    assert_eq!((rest.buckets.len(), &rest.after[..]), (1, ""));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_told_without_its_value_and_a_write_of_nothing_is_refused() {
    let world = World::start().await;
    world.make("a").await;
    world.set("k").await.unwrap();
    let get = async |version_only| {
        let asked = KvGetRequest { place: world.bucket(), key: "k".into(), version_only };
        world.values().get(Request::new(asked)).await.unwrap().into_inner().entry.unwrap()
    };
    let (whole, version) = (get(false).await, get(true).await);
    assert_eq!((&whole.value[..], version.value.len()), (&b"v"[..], 0));
    assert_eq!((version.version, version.key), (whole.version, whole.key));
    let reached = || sequence(&world.served.replica.state()).unwrap();
    let before = reached();
    let nothing = KvWriteRequest { place: world.bucket(), request: request(), writes: Vec::new(), hops: 0 };
    let (code, sentence) = refused(world.values().write(Request::new(nothing)).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(sentence.contains("'writes' is empty"), "{sentence}");
    assert_eq!(reached(), before, "nothing of it is in the log");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_bucket_is_said_by_name() {
    let world = World::start().await;
    let put = async |bucket: &str, keys_max, bytes_max, dry_run| {
        let place = world.bucket().map(|place| KvPlace { bucket: bucket.to_owned(), ..place });
        let put = KvPutBucketRequest {
            place,
            request: request(),
            keys_max,
            bytes_max,
            dry_run,
            ..Default::default()
        };
        world.values().put_bucket(Request::new(put)).await
    };
    for (bucket, keys_max, bytes_max, field) in [
        ("A", 1, 1024, "'place.bucket'"),
        ("a/b", 1, 1024, "'place.bucket'"),
        ("a", 0, 1024, "'keys_max'"),
        ("a", 100_000_001, 1024, "'keys_max'"),
        ("a", 1, 1023, "'bytes_max'"),
        ("a", 1, (64 << 30) + 1, "'bytes_max'"),
    ] {
        let (code, sentence) = refused(put(bucket, keys_max, bytes_max, false).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(sentence.contains(field), "{sentence}");
    }
    put("a", 100_000_000, 64 << 30, true).await.unwrap();
    assert_eq!(refused(world.set("k").await).0, Code::BucketNotFound, "it was only asked");
    put("a", 1, 1024, false).await.unwrap();
    let dry = |watcher| {
        let watch = world.watch_of(watcher, None).into_inner();
        Request::new(KvWatchRequest { dry_run: true, ..watch })
    };
    let reply = world.values().watch(dry(watcher("f"))).await.unwrap().into_inner();
    assert!(reply.bucket.unwrap().watchers.is_empty(), "it was only asked");
    assert_eq!(refused(world.values().watch(dry(watcher("F"))).await).0, Code::InvalidArgument);
    let tiny = Some(KvWatchQueue { bytes_max: 16_383, ..KvWatchQueue::default() });
    let (code, sentence) = refused(world.values().watch(world.watch_of(watcher("f"), tiny)).await);
    assert!(code == Code::InvalidArgument && sentence.contains("bytes_max"), "{sentence}");
    world.end().await;
}
