//! Goal: queues are made and told as flags say, what is published is told, and lines arrive each once.

use clap::Parser;
use coracle_proto::pb::InvocationState;
use coracle_proto::status::{Code, Refusal};

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script, queue, record};
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn verb(line: &str) -> Result<Verb, String> {
    let words = ["queue"].into_iter().chain(line.split(' '));
    Line::try_parse_from(words).map(|line| line.args.verb).map_err(|error| error.to_string())
}

async fn events(kept: Kept) -> (Events, FakeStore) {
    let store = FakeStore::start(kept).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    (Events::of(node.client().await).unwrap(), store)
}

#[test]
fn verbs_take_what_they_need() {
    for good in [
        "create shop/jobs --function work --attempts 5 --backoff 2s --dead-keep 7d --size 1MiB",
        "list --function shop/work",
        "publish jobs --data @a.json --type order.placed --attribute region=eu --delay 10s",
        "publish jobs --lines",
        "peek topic/news/mail --limit 5 --bodies",
        "purge function/cart",
        "delete jobs --force",
    ] {
        assert!(verb(good).is_ok(), "{good}");
    }
    for (bad, said) in [
        ("create function/jobs/x", "QUEUE"),
        ("publish jobs --lines --id 7", "--id"),
        ("publish jobs --attribute Region=eu", "a-z and 0-9"),
        ("publish jobs --attribute type=x", "flag of its own"),
        ("peek jobs --limit 0", "--limit"),
    ] {
        assert!(verb(bad).unwrap_err().contains(said), "{bad}: {}", verb(bad).unwrap_err());
    }
}

#[tokio::test]
async fn a_queue_is_made_once_though_the_answer_was_lost() {
    let (mut events, store) = events(Kept { lost_answers: 1, ..Kept::default() }).await;
    let spec = pb::QueueSpec { function: "work".to_owned(), attempts: 5, ..pb::QueueSpec::default() };
    let made = put(&mut events, &"jobs".parse().unwrap(), &spec, false).await.unwrap().unwrap();
    assert_eq!((made.function.as_str(), made.spec.unwrap().attempts), ("work", 5));
    assert_eq!(store.with(|kept| kept.log.clone()), ["put queue jobs work"; 2]);
}

#[tokio::test]
async fn a_list_goes_on_over_pages() {
    let queues = (0..5).map(|number| queue(&format!("q{number}"), "work")).collect();
    let (mut events, _store) = events(Kept { queues, at_once: 2, ..Kept::default() }).await;
    let namespace = Namespace::default();
    assert_eq!(all_queues(&mut events, "queue list", &namespace, "").await.unwrap().len(), 6);
    assert_eq!(all_queues(&mut events, "queue list", &namespace, "work").await.unwrap().len(), 5);
}

#[tokio::test]
async fn one_that_has_messages_is_deleted_by_force_only() {
    let queues = vec![pb::QueueDetail { ready: 3, ..queue("jobs", "") }];
    let (mut events, store) = events(Kept { queues, ..Kept::default() }).await;
    let id: QueueId = "jobs".parse().unwrap();
    let failure = drop_queue(&mut events, &id, false).await.unwrap_err();
    assert!(failure.exit == Exit::Conflict && failure.message.contains("has 3 messages"), "{failure}");
    store.with(|kept| kept.lost_answers = 1);
    assert_eq!(drop_queue(&mut events, &id, true).await.unwrap(), 0, "it went, and the answer was lost");
    assert_eq!(drop_queue(&mut events, &id, true).await.unwrap_err().exit, Exit::NotFound);
}

#[tokio::test]
async fn what_waits_is_listed_as_far_as_was_asked() {
    let records = (1..=5).map(|number| record(number, InvocationState::Waiting)).collect();
    let (mut events, _store) = events(Kept { records, at_once: 2, ..Kept::default() }).await;
    let id: QueueId = "function/cart".parse().unwrap();
    for (limit, expected) in [(100, 5), (5, 5), (3, 3)] {
        let rows = peek::waiting(&mut events, &id, limit, true).await.unwrap();
        assert_eq!(rows.len(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let refusals = [Refusal::new(Code::QueueNotFound, "neither a queue nor a topic").into()].into();
    let (mut events, _store) = events(Kept { refusals, ..Kept::default() }).await;
    let failure = name::get(&mut events, "queue get", &"jobs".parse().unwrap()).await.unwrap_err();
    assert!(failure.exit == Exit::NotFound && failure.message.contains("neither a queue"), "{failure}");
}

#[test]
fn what_was_purged_is_told() {
    assert_eq!(Way::Empty.done(0, "jobs"), "jobs has no messages that wait");
    assert_eq!(Way::Empty.done(1, "jobs"), "1 message of jobs is gone");
    assert_eq!(Way::Empty.done(2, "jobs"), "2 messages of jobs are gone");
    assert_eq!(Way::Purge.done(2, "jobs"), "2 dead letters of jobs are gone");
}

#[tokio::test]
async fn what_is_not_said_of_a_queue_that_is_there_stays_and_changes_are_told() {
    let (mut events, store) = events(Kept::default()).await;
    let mut ran = async |line: &str| {
        let Verb::Create(args) = verb(line).unwrap() else { panic!("{line}") };
        create_or_change(&args, &mut events).await.unwrap()
    };
    assert_eq!(ran("create jobs --attempts 5").await.1, "queue jobs is made, its messages go to nobody");
    store.with(|kept| {
        kept.queues[0] = {
            let spec = pb::QueueSpec { function: "work".into(), attempts: 5, ..pb::QueueSpec::default() };
            pb::QueueDetail { spec: Some(spec), ..queue("jobs", "work") }
        }
    });
    let (made, said) = ran("create jobs --age 1m").await;
    assert_eq!(said, "queue jobs is changed: age 1 m 0 s instead of 6 h 0 m");
    let spec = made.spec.unwrap();
    assert_eq!((made.function.as_str(), spec.attempts, spec.age_ms), ("work", 5, 60_000));
    let (made, said) = ran("create jobs --attempts 5").await;
    assert_eq!((made.function.as_str(), said.as_str()), ("work", "queue jobs is unchanged"));
    let (made, said) = ran("create jobs --no-function").await;
    assert_eq!(said, "queue jobs is changed: nobody instead of function work");
    assert_eq!((made.function.as_str(), made.spec.unwrap().attempts), ("", 5));
    assert_eq!(store.with(|kept| kept.log.len()), 3, "what is unchanged is not told");
    assert!(verb("create jobs --function work --no-function").unwrap_err().contains("--no-function"));
}
