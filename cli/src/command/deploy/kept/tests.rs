//! Goal: a manifest's queues, topics, buckets, triggers and schedules are looked at first, made in order, changed by key, and
//! taken away only where that is asked for.

mod blobs;

use std::time::Duration;

use coracle_proto::pb;

use crate::client::fake::{Fake, FakeStore, Kept, Script, queue};
use crate::client::{Deadline, Targets};
use crate::command::deploy::{Plan, Prune, deploy_all, read_manifest, try_all};
use crate::exit::{Exit, Failure};
use crate::manifest::Manifest;
use crate::output::{Row as _, Talk};

const LONG: Duration = Duration::from_secs(10);
const WORK: &str = "[function.work]\ncomponent = 'a.wasm'\n";

/// A cluster, and a project of it.
struct World {
    folder: tempfile::TempDir,
    node: Fake,
    store: FakeStore,
}

impl World {
    async fn new(kept: Kept) -> Self {
        let store = FakeStore::start(kept).await;
        let stores = vec![store.address.clone()];
        let functions = vec!["there".to_owned()];
        let node = Fake::start(Script { stores, functions, ..Script::default() }).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wasm"), [5_u8; 100]).unwrap();
        Self { folder, node, store }
    }

    async fn deploy(&self, manifest: &str, prune: Option<Prune>) -> Result<(), Failure> {
        let (wanted, targets, plan) = self.planned(manifest, prune)?;
        deploy_all(&wanted, targets, plan).await.1
    }

    /// Without changing anything; a line for each thing.
    async fn try_out(&self, manifest: &str, prune: Option<Prune>) -> Result<Vec<String>, Failure> {
        let (wanted, targets, plan) = self.planned(manifest, prune)?;
        let planned = try_all(&wanted, targets, plan).await?;
        Ok(planned.iter().map(|it| it.cells().join(" ").trim_end().to_owned()).collect())
    }

    fn planned(&self, manifest: &str, prune: Option<Prune>) -> Result<(Manifest, Targets, Plan), Failure> {
        std::fs::write(self.folder.path().join("coracle.toml"), manifest).unwrap();
        let wanted = read_manifest(self.folder.path())?;
        let (deadline, talk) = (Deadline::after(LONG), Talk::new(true, true));
        let targets = Targets::given(vec![self.node.address.clone()]);
        Ok((wanted, targets, Plan { deadline, wait: true, talk, prune }))
    }

    /// What was changed since it was asked last, without what was only asked.
    fn changes(&self) -> Vec<String> {
        let log = self.store.with(|kept| std::mem::take(&mut kept.log));
        log.into_iter().filter(|line| !line.starts_with("dry")).collect()
    }

    fn deployed(&self) -> usize {
        self.node.with(|script| script.changes.len())
    }
}

const ALL: &str = "[function.work]
component = 'a.wasm'
[queue.jobs]
function = 'work'
[topic.news]
[bucket.images]
keys = 10
[schedule.nightly]
cron = '@daily'
function = 'work'
[[trigger]]
function = 'work'
topic = 'news'
retry = { attempts = 5 }
[[trigger]]
function = 'there'
bucket = 'images'
filter = { suffix = '.jpg' }
[[trigger]]
function = 'work'
schedule = '@hourly'
";

#[tokio::test]
async fn everything_is_made_in_order_and_then_left_alone() {
    let world = World::new(Kept::default()).await;
    world.deploy(ALL, None).await.unwrap();
    assert_eq!(
        world.changes(),
        [
            "put bucket images 10 1073741824",
            "put topic news",
            "put queue jobs",
            "put queue jobs work",
            "put subscriber news work",
            "put watcher images there",
            "put schedule nightly",
            "put schedule work",
        ]
    );
    assert_eq!(world.deployed(), 1);
    let told = world.store.with(|kept| {
        let subscriber = kept.queues.iter().find(|it| it.queue == "topic/news/work").unwrap();
        (subscriber.spec.as_ref().unwrap().attempts, kept.buckets[0].watchers[0].suffix.clone())
    });
    assert_eq!(told, (5, ".jpg".to_owned()));
    world.deploy(ALL, None).await.unwrap();
    assert!(world.changes().is_empty(), "all of it is as it is to be");
}

#[tokio::test]
async fn only_what_is_told_otherwise_is_told_anew() {
    let world = World::new(Kept::default()).await;
    world.deploy(ALL, None).await.unwrap();
    let _ = world.changes();
    let other = ALL.replace("keys = 10", "keys = 20").replace("attempts = 5", "attempts = 6");
    world.deploy(&other, None).await.unwrap();
    assert_eq!(world.changes(), ["put bucket images 20 1073741824", "put subscriber news work"]);
    let hands =
        other.replace("[queue.jobs]\nfunction = 'work'", "[queue.jobs]\nfunction = 'there'\nattempts = 9");
    world.deploy(&hands, None).await.unwrap();
    let changes = world.changes();
    assert_eq!(
        changes,
        ["put queue jobs work", "put queue jobs there"],
        "it goes on until the trigger is made"
    );
    let nobody = hands.replace("function = 'there'\nattempts = 9", "attempts = 9");
    world.deploy(&nobody, None).await.unwrap();
    assert_eq!(world.changes(), ["put queue jobs"], "nobody takes its messages any more");
}

#[tokio::test]
async fn a_queue_of_the_cluster_keeps_what_it_was_told_beside_its_function() {
    let mut jobs = queue("jobs", "");
    jobs.spec = Some(pb::QueueSpec { attempts: 9, ..pb::QueueSpec::default() });
    let world = World::new(Kept { queues: vec![jobs], ..Kept::default() }).await;
    let trigger = "[[trigger]]\nfunction = 'there'\nqueue = 'jobs'\nretry = { max-age = '1h' }\n";
    world.deploy(trigger, None).await.unwrap();
    assert_eq!(world.changes(), ["put queue jobs there"]);
    let spec = world.store.with(|kept| kept.queues[0].spec.clone().unwrap());
    assert_eq!((spec.attempts, spec.age_ms, spec.function.as_str()), (9, 3_600_000, "there"));
    world.deploy(trigger, None).await.unwrap();
    assert!(world.changes().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_refused_at_once_with_its_line_and_nothing_is_done() {
    let world = World::new(Kept { queues: vec![queue("taken", "")], ..Kept::default() }).await;
    let text = format!(
        "{WORK}[queue.jobs]\nfunction = 'nobody'\n[topic.taken]\n[[trigger]]\nfunction = 'work'\nbucket = 'images'\n\
         [[trigger]]\nfunction = 'work'\ntopic = 'quiet'\n[[trigger]]\nfunction = 'work'\nqueue = 'none'\n\
         [schedule.s]\ncron = 'never'\nfunction = 'work'\n"
    );
    let failure = world.deploy(&text, None).await.unwrap_err();
    for said in [
        "coracle.toml:4: trigger of nobody by queue jobs: function 'nobody': there is no function",
        "coracle.toml:5: topic taken: 'taken' is a queue",
        "coracle.toml:7: trigger of work by bucket images: there is no bucket 'images', neither in the cluster nor",
        "coracle.toml:10: trigger of work by topic quiet: there is no topic 'quiet'",
        "coracle.toml:13: trigger of work by queue none: there is no queue 'none'",
        "coracle.toml:15: schedule s: 'never' is no time",
    ] {
        assert!(failure.message.contains(said), "no '{said}' in\n{failure}");
    }
    assert_eq!(failure.exit, Exit::Refused, "they are not alike");
    assert_eq!((world.changes().len(), world.deployed()), (0, 0));
    let one = world.deploy("[[trigger]]\nfunction = 'there'\ntopic = 'quiet'\n", None).await.unwrap_err();
    assert_eq!(one.exit, Exit::NotFound);
}

#[tokio::test]
async fn what_is_not_named_stays_and_goes_where_that_is_asked_for() {
    let world = World::new(Kept::default()).await;
    world.deploy(ALL, None).await.unwrap();
    let _ = world.changes();
    let left = format!("{WORK}[queue.jobs]\n");
    world.deploy(&left, None).await.unwrap();
    assert_eq!(world.changes(), ["put queue jobs"], "its function alone is told otherwise");
    let prune = Some(Prune { force: false, yes: true });
    let others = world.deploy(&left, prune).await.unwrap_err();
    let said =
        "trigger of there by bucket images (for 'there', which is not of this manifest) is in use; --force";
    assert!(others.exit == Exit::Conflict && others.message.contains(said), "{others}");
    assert!(world.changes().is_empty());
    world.deploy(&left, Some(Prune { force: true, yes: true })).await.unwrap();
    assert_eq!(
        world.changes(),
        [
            "drop schedule nightly",
            "drop schedule work",
            "drop subscriber news work",
            "drop queue topic/news/work",
            "drop watcher images there",
            "drop queue bucket/images/there",
            "drop topic news",
            "drop bucket images",
        ]
    );
    world.deploy(WORK, prune).await.unwrap();
    assert_eq!(world.changes(), ["drop queue jobs"]);
}

#[tokio::test]
async fn what_holds_something_is_pruned_by_force_only() {
    let queues = vec![pb::QueueDetail { dead: 2, ..queue("jobs", "work") }, queue("theirs", "there")];
    let buckets = vec![pb::KvBucket { bucket: "images".to_owned(), keys: 1, ..pb::KvBucket::default() }];
    let world = World::new(Kept { queues, buckets, ..Kept::default() }).await;
    let failure = world.deploy(WORK, Some(Prune { force: false, yes: true })).await.unwrap_err();
    assert_eq!((failure.exit, world.deployed()), (Exit::Conflict, 0), "before anything is deployed");
    assert!(
        failure.message.contains(
            "queue jobs (2 messages), queue theirs (for 'there', which is not of this manifest), bucket images \
             (1 value) are in use; --force"
        ),
        "{failure}"
    );
    let unasked = world.deploy(WORK, Some(Prune { force: true, yes: false })).await.unwrap_err();
    assert_eq!((unasked.exit, world.deployed()), (Exit::Usage, 0), "there is nobody to ask");
    world.deploy(WORK, Some(Prune { force: true, yes: true })).await.unwrap();
    assert_eq!(world.changes(), ["drop queue jobs", "drop queue theirs", "drop bucket images"]);
}

#[tokio::test]
async fn functions_alone_need_no_store() {
    let world = World::new(Kept::default()).await;
    world.node.with(|script| script.stores.clear());
    world.deploy(WORK, None).await.unwrap();
    assert_eq!(
        (world.deployed(), world.node.with(|script| script.group_lists)),
        (1, 1),
        "it was only looked"
    );
    let failure = world.deploy("[topic.news]", None).await.unwrap_err();
    assert!(failure.message.contains("code no-store"), "{failure}");
}

#[tokio::test]
async fn what_functions_are_granted_is_of_the_file_or_of_the_cluster_and_is_not_pruned() {
    let buckets = vec![pb::KvBucket { bucket: "images".to_owned(), ..pb::KvBucket::default() }];
    let world = World::new(Kept { queues: vec![queue("jobs", "")], buckets, ..Kept::default() }).await;
    let granted = format!("{WORK}keyvalue = ['images:read', 'none']\npublish = ['jobs', 'news', 'nobody']\n");
    let failure = world.deploy(&format!("{granted}[topic.news]\n"), None).await.unwrap_err();
    for said in [
        "coracle.toml:1: function work: there is no bucket 'none', neither in the cluster nor here",
        "coracle.toml:1: function work: there is no queue or topic 'nobody'",
    ] {
        assert!(failure.message.contains(said), "no '{said}' in\n{failure}");
    }
    assert_eq!(failure.message.lines().count(), 2, "{failure}");
    assert_eq!((failure.exit, world.deployed()), (Exit::NotFound, 0));
    let good = format!("{WORK}keyvalue = ['images:read']\npublish = ['jobs']\n");
    world.deploy(&good, Some(Prune { force: true, yes: true })).await.unwrap();
    assert!(world.changes().is_empty(), "they are named by what is granted");
}

#[tokio::test]
async fn a_queue_to_which_a_message_comes_meanwhile_stays_as_it_was() {
    let queues = vec![queue("jobs", "work"), queue("topic/news/work", "work")];
    let world = World::new(Kept { queues, late: 1, ..Kept::default() }).await;
    let prune = Some(Prune { force: false, yes: true });
    let failure = world.deploy(WORK, prune).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert!(failure.message.contains("--prune: queue jobs stays: "), "{failure}");
    assert_eq!(world.changes(), ["put queue jobs", "put queue jobs work"], "its function takes the message");
    world.store.with(|kept| kept.queues[0].ready = 0);
    world.deploy(WORK, prune).await.unwrap();
    assert_eq!(
        world.changes(),
        ["put queue jobs", "drop queue jobs", "drop queue topic/news/work"],
        "that of nobody goes too"
    );
}

#[tokio::test]
async fn a_trigger_whose_queue_is_filled_again_is_left_as_it_is() {
    let world = World::new(Kept::default()).await;
    let news = format!("{WORK}[topic.news]\n[[trigger]]\nfunction = 'work'\ntopic = 'news'\n");
    world.deploy(&news, None).await.unwrap();
    let _ = world.changes();
    let present = super::Present::default();
    let manifest = read_manifest(world.folder.path()).unwrap();
    assert!(super::unnamed::unnamed(&manifest, &present).is_empty());
    let targets = Targets::given(vec![world.node.address.clone()]);
    let client = crate::client::Client::connect(targets, Deadline::after(LONG), Talk::new(true, true)).await;
    let mut events = crate::command::events::Events::of(client.unwrap()).unwrap();
    let queue = "topic/news/work".parse().unwrap();
    let what = super::unnamed::What::Subscriber("news".parse().unwrap(), "work".to_owned(), queue);
    let unnamed = super::Unnamed { what, holds: 0, others: Vec::new() };
    world.store.with(|kept| kept.queues.iter_mut().for_each(|it| it.ready = 1));
    let failure = Prune { force: false, yes: true }.delete(&unnamed, &mut events).await.unwrap_err();
    assert!(failure.message.contains("(1 message) is not empty any more, and stays"), "{failure}");
    assert!(world.changes().is_empty(), "it is still subscribed");
}

#[tokio::test]
async fn what_was_named_last_is_told_too() {
    let world = World::new(Kept { queues: vec![queue("jobs", "")], ..Kept::default() }).await;
    std::fs::write(world.folder.path().join("coracle.toml"), WORK).unwrap();
    let manifest = read_manifest(world.folder.path()).unwrap();
    let targets = Targets::given(vec![world.node.address.clone()]);
    let talk = Talk::new(true, true);
    let client = crate::client::Client::connect(targets, Deadline::after(LONG), talk).await.unwrap();
    let mut events = crate::command::events::Events::of(client).unwrap();
    let unnamed = super::left(&manifest, &mut events).await;
    assert_eq!(unnamed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["queue jobs"]);
}

#[tokio::test]
async fn sizes_that_look_alike_are_told_apart() {
    let world = World::new(Kept::default()).await;
    let sized = |size: &str| format!("{WORK}[queue.jobs]\nsize = '{size}'\n");
    world.deploy(&sized("1024MiB"), None).await.unwrap();
    let _ = world.changes();
    world.deploy(&sized("1GiB"), None).await.unwrap();
    assert!(world.changes().is_empty());
    world.deploy(&sized("1025MiB"), None).await.unwrap();
    assert_eq!(world.changes(), ["put queue jobs"]);
}

#[tokio::test]
async fn what_a_trigger_does_not_say_of_its_queue_stays() {
    let world = World::new(Kept::default()).await;
    let trigger = |source: &str, retry: &str| {
        format!("{WORK}[topic.news]\n[bucket.images]\n[[trigger]]\nfunction = 'work'\n{source}\n{retry}\n")
    };
    for source in ["topic = 'news'", "bucket = 'images'"] {
        let bounded = "retry = { messages = 7, size = '1MiB', dead-keep = '1d' }";
        world.deploy(&trigger(source, bounded), None).await.unwrap();
        let _ = world.changes();
        world.deploy(&trigger(source, ""), None).await.unwrap();
        assert!(world.changes().is_empty(), "{source}");
        world.deploy(&trigger(source, "retry = { attempts = 9 }"), None).await.unwrap();
        let spec = world.store.with(|kept| kept.queues.last().unwrap().spec.clone().unwrap());
        assert_eq!((spec.messages_max, spec.bytes_max, spec.attempts), (7, 1 << 20, 9), "{source}");
        assert_eq!(spec.dead_keep_ms, 86_400_000, "{source}");
    }
}

#[tokio::test]
async fn what_functions_of_others_may_use_is_pruned_by_force_only() {
    let world = World::new(Kept { queues: vec![queue("jobs", "")], ..Kept::default() }).await;
    let spec = pb::FunctionSpec { publish: vec!["jobs".to_owned()], ..pb::FunctionSpec::default() };
    world.node.with(|script| script.granted = vec![("theirs".to_owned(), spec)]);
    let failure = world.deploy(WORK, Some(Prune { force: false, yes: true })).await.unwrap_err();
    assert!(
        failure.message.contains("queue jobs (for 'theirs', which is not of this manifest)"),
        "{failure}"
    );
    assert_eq!((failure.exit, world.deployed()), (Exit::Conflict, 0));
    world.deploy(WORK, Some(Prune { force: true, yes: true })).await.unwrap();
    assert_eq!(world.changes(), ["drop queue jobs"]);
}

#[tokio::test]
async fn what_is_answered_goes_where_something_is_by_then() {
    let world = World::new(Kept::default()).await;
    let chain = "[queue.a]\nreply = 'b'\n[queue.b]\nreply = 'c'\n[queue.c]\nreply = 'news'\n[topic.news]\n";
    world.deploy(chain, None).await.unwrap();
    assert_eq!(world.changes(), ["put topic news", "put queue c", "put queue b", "put queue a"]);
    let failure = world.deploy("[queue.d]\nreply = 'nowhere'\n", None).await.unwrap_err();
    assert!(failure.message.contains("reply: there is no queue or topic 'nowhere'"), "{}", failure.message);
    assert!(world.changes().is_empty());
}
