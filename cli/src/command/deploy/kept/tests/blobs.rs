//! Buckets of blobs, webhooks, and looking without doing.

use super::*;

const PHOTOS: &str = "[function.work]
component = 'a.wasm'
blobs = ['uploads:read', 'thumbs']
[bucket.uploads]
holds = 'blobs'
access = 'read'
bytes = '1TiB'
[bucket.thumbs]
holds = 'blobs'
[[trigger]]
function = 'work'
on = 'blob.created'
bucket = 'uploads'
batch = { max = 10, wait = '5s' }
[[trigger]]
function = 'there'
on = 'webhook'
verify = 'github'
secret = 'hub'
name = 'push'
path = '/in'
";

fn with_secret() -> Kept {
    let secret = pb::SecretDetail { secret: "hub".to_owned(), ..pb::SecretDetail::default() };
    Kept { secrets: vec![secret], ..Kept::default() }
}

fn blobs(name: &str) -> pb::KvBucket {
    let holds = pb::KvHolds::Blobs.into();
    pb::KvBucket { bucket: name.to_owned(), holds, ..pb::KvBucket::default() }
}

#[tokio::test]
async fn buckets_of_blobs_and_webhooks_are_made_changed_and_pruned() {
    let world = World::new(with_secret()).await;
    world.deploy(PHOTOS, None).await.unwrap();
    assert_eq!(
        world.changes(),
        [
            "put bucket uploads 1000000 1099511627776",
            "put bucket thumbs 1000000 10737418240",
            "put watcher uploads work",
            "put webhook push there",
        ]
    );
    world.store.with(|kept| {
        let uploads = &kept.buckets[0];
        assert_eq!((uploads.holds(), uploads.access()), (pb::KvHolds::Blobs, pb::BlobAccess::Read));
        let delivery = |queue: &str| {
            let found = kept.queues.iter().find(|it| it.queue == queue).unwrap();
            found.spec.clone().unwrap().delivery.unwrap_or_default()
        };
        let batch = delivery("bucket/uploads/work");
        assert_eq!((batch.batch_max, batch.batch_wait_ms), (10, 5000));
        assert_eq!(delivery("webhook/push").path, "/in");
    });
    world.deploy(PHOTOS, None).await.unwrap();
    assert!(world.changes().is_empty(), "all of it is as it is to be");
    let other = PHOTOS.replace("'read'", "'open'").replace("path = '/in'", "path = '/other'");
    world.deploy(&other, None).await.unwrap();
    assert_eq!(
        world.changes(),
        ["put bucket uploads 1000000 1099511627776", "put webhook push there"],
        "what is told otherwise"
    );
    world.deploy(WORK, Some(Prune { force: true, yes: true })).await.unwrap();
    let gone = world.changes();
    for what in ["drop webhook push", "drop queue webhook/push", "drop bucket uploads", "drop bucket thumbs"]
    {
        assert!(gone.iter().any(|it| it == what), "no '{what}' in {gone:?}");
    }
}

#[tokio::test]
async fn what_holds_something_else_or_has_no_secret_is_refused_by_name() {
    let world = World::new(Kept { buckets: vec![blobs("uploads")], ..Kept::default() }).await;
    let text = format!(
        "{WORK}keyvalue = ['uploads']\nblobs = ['rows']\n[bucket.rows]\n[[trigger]]\nfunction = 'work'\nbucket = 'uploads'\n\
         on = 'kv.set'\n[[trigger]]\nfunction = 'work'\non = 'webhook'\nverify = 'slack'\nsecret = 'none'\n"
    );
    let failure = world.deploy(&text, None).await.unwrap_err();
    for said in [
        "coracle.toml:1: function work: bucket 'uploads' holds blobs, and values are needed",
        "coracle.toml:1: function work: bucket 'rows' holds values, and blobs are needed",
        "coracle.toml:7: trigger of work by bucket uploads: bucket 'uploads' holds blobs, and values are needed",
        "coracle.toml:11: webhook work: there is no secret 'none': 'coracle secret set none'",
    ] {
        assert!(failure.message.contains(said), "no '{said}' in\n{failure}");
    }
    assert_eq!((world.changes().len(), world.deployed()), (0, 0));
    let never = world.deploy("[bucket.uploads]\nkeys = 5\n", None).await.unwrap_err();
    assert!(never.message.contains("what bucket 'uploads' holds never changes"), "{never}");
}

#[tokio::test]
async fn a_bucket_that_is_being_deleted_is_none_that_is_there() {
    let dropping = pb::KvBucket {
        keys_max: 1_000_000,
        bytes_max: 10 << 30,
        access: pb::BlobAccess::Signed.into(),
        dropping: true,
        ..blobs("thumbs")
    };
    let world = World::new(Kept { buckets: vec![dropping], ..Kept::default() }).await;
    let wanted = "[bucket.thumbs]\nholds = 'blobs'\n";
    world.deploy(wanted, None).await.unwrap();
    assert_eq!(
        world.changes(),
        ["put bucket thumbs 1000000 10737418240"],
        "it is asked for, and not unchanged"
    );
    world.deploy(WORK, Some(Prune { force: false, yes: true })).await.unwrap();
    assert!(world.changes().is_empty(), "it goes by itself");
}

#[tokio::test]
async fn a_dry_run_asks_all_that_can_be_asked_and_changes_nothing() {
    let world = World::new(with_secret()).await;
    let planned = world.try_out(PHOTOS, None).await.unwrap();
    assert_eq!(
        planned,
        [
            "bucket uploads make",
            "bucket thumbs make",
            "trigger of work by bucket uploads make",
            "webhook push make",
            "function work deploy",
        ]
    );
    let asked = world.store.with(|kept| std::mem::take(&mut kept.log));
    assert_eq!(asked, ["dry bucket uploads", "dry bucket thumbs", "dry webhook push there"]);
    assert_eq!(world.deployed(), 0);
    world.deploy(PHOTOS, None).await.unwrap();
    let _ = world.changes();
    let planned = world.try_out(&PHOTOS.replace("'read'", "'open'"), None).await.unwrap();
    assert_eq!(planned[..2], ["bucket uploads change access", "bucket thumbs unchanged"]);
    let asked = world.store.with(|kept| std::mem::take(&mut kept.log));
    assert!(asked.contains(&"dry watcher uploads work".to_owned()), "{asked:?}");
    assert!(asked.iter().all(|it| it.starts_with("dry")), "{asked:?}");
    // Nobody is asked whether it may be deleted, and what is in use is told of.
    let planned = world.try_out(WORK, Some(Prune { force: true, yes: false })).await.unwrap();
    for gone in ["bucket uploads delete", "webhook push delete"] {
        assert!(planned.iter().any(|it| it == gone), "no '{gone}' in {planned:?}");
    }
    world.store.with(|kept| kept.buckets[0].keys = 3);
    let failure = world.try_out(WORK, Some(Prune { force: false, yes: false })).await.unwrap_err();
    assert!(failure.message.contains("bucket uploads (3 blobs)"), "{failure}");
    assert!(world.changes().is_empty());
}

#[tokio::test]
async fn answers_go_to_what_is_there_and_keep_it_from_being_pruned() {
    let world = World::new(with_secret()).await;
    let text = format!(
        "{WORK}[queue.jobs]\nfunction = 'work'\nreply = 'dnoe'\n[topic.news]\n[[trigger]]\nfunction = 'work'\ntopic = 'news'\n\
         reply = 'done'\n[[trigger]]\nfunction = 'work'\non = 'webhook'\nverify = 'slack'\nsecret = 'hub'\nreply = 'enod'\n"
    );
    let failure = world.deploy(&text, None).await.unwrap_err();
    for said in [
        "coracle.toml:3: queue jobs: reply: there is no queue or topic 'dnoe'",
        "coracle.toml:8: trigger of work by topic news: reply: there is no queue or topic 'done'",
        "coracle.toml:12: webhook work: reply: there is no queue or topic 'enod'",
    ] {
        assert!(failure.message.contains(said), "no '{said}' in\n{failure}");
    }
    assert_eq!((world.changes().len(), world.deployed()), (0, 0));

    let good = text.replace("dnoe", "done").replace("enod", "done");
    world.store.with(|kept| kept.queues.push(queue("done", "")));
    let prune = Some(Prune { force: false, yes: true });
    world.deploy(&good, prune).await.unwrap();
    assert!(world.changes().iter().all(|it| !it.starts_with("drop")), "answers go there");
    // The trigger says nothing more of it: the queue's settings stay.
    world.deploy(&good.replace("reply = 'done'\n", ""), prune).await.unwrap();
    let gone = world.changes();
    assert!(gone.iter().all(|it| !it.starts_with("drop")), "its answers go there still: {gone:?}");
    world.deploy(WORK, prune).await.unwrap();
    assert!(world.changes().iter().any(|it| it == "drop queue done"));
}

#[tokio::test]
async fn who_writes_to_what_calls_it_is_told_of() {
    let world = World::new(Kept::default()).await;
    let warnings = |text: &str| {
        std::fs::write(world.folder.path().join("coracle.toml"), text).unwrap();
        super::super::loops::warnings(&read_manifest(world.folder.path()).unwrap())
    };
    assert!(warnings(PHOTOS).is_empty());
    let writes = warnings(&PHOTOS.replace("uploads:read", "uploads"));
    assert_eq!(writes.len(), 1);
    assert!(writes[0].contains("work may write to bucket uploads, whose changes call it"), "{writes:?}");
    let filter =
        PHOTOS.replace("uploads:read", "uploads").replace("batch =", "filter = { prefix = 'in/' }\nbatch =");
    assert!(warnings(&filter).is_empty(), "as it says itself");
}
