//! Goal: each line is published once, whatever breaks, and what was acknowledged is told where it ends early.

use std::fmt::Write as _;

use clap::Parser;

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script};

const LONG: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

struct Ran {
    done: Result<(), Failure>,
    sum: Sum,
    /// What is not known of.
    left: usize,
    store: FakeStore,
}

impl Ran {
    fn data(&self) -> Vec<String> {
        let text = |message: &pb::PublishMessage| {
            String::from_utf8(message.body.clone().unwrap().data.to_vec()).unwrap()
        };
        self.store.with(|kept| kept.published.iter().map(text).collect())
    }
}

async fn ran(lines: &str, kept: Kept, patience: Duration) -> Ran {
    ran_with(&Flags::default(), lines, kept, patience).await
}

async fn ran_with(flags: &Flags, lines: &str, kept: Kept, patience: Duration) -> Ran {
    let store = FakeStore::start(kept).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    let events = Events::of(node.client_for(patience).await).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let to = "jobs".parse().unwrap();
    let mut publisher = Publisher::new(&to, flags, events, patience);
    let opened = input::open(file.path()).await.unwrap();
    let (mut signals, talk) = (Signals::new().unwrap(), Talk::new(true, true));
    let lines = Batches::of(opened, publisher.head_bytes());
    let done = publisher.all(lines, &mut signals, &talk.progress(None)).await;
    Ran { done, sum: publisher.sum, left: publisher.under_way.len(), store }
}

/// The numbers from 0 on.
fn numbers(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, "{number}").unwrap();
    }
    text
}

fn is_each_once(found: Vec<String>, count: usize) {
    let mut found: Vec<usize> = found.iter().map(|it| it.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn all_lines_are_published() {
    let ran = ran(&numbers(10_000), Kept::default(), LONG).await;
    ran.done.clone().unwrap();
    assert_eq!(ran.sum, Sum { published: 10_000, repeated: 0, copies: 10_000 });
    is_each_once(ran.data(), 10_000);
    let ids: std::collections::BTreeSet<_> =
        ran.store.with(|kept| kept.published.iter().map(|it| it.invocation.to_vec()).collect());
    assert_eq!(ids.len(), 10_000, "each is an invocation of its own");
}

#[tokio::test]
async fn lines_of_a_group_stay_in_their_order_whatever_breaks() {
    let line = Line::parse_from(["publish", "--group", "anna"]);
    let kept = Kept { breaks: [1, 0].into(), ..Kept::default() };
    let ran = ran_with(&line.flags, &numbers(2_000), kept, LONG).await;
    ran.done.clone().unwrap();
    assert_eq!(ran.data(), (0..2_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(ran.store.with(|kept| kept.published.iter().all(|it| it.group == "anna")));
}

#[tokio::test]
async fn nothing_is_nothing() {
    let ran = ran("", Kept::default(), LONG).await;
    assert_eq!((ran.done, ran.sum), (Ok(()), Sum::default()));
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_anew_and_no_line_is_published_twice() {
    let ran = ran(&numbers(10_000), Kept { breaks: [3, 0, 5].into(), ..Kept::default() }, LONG).await;
    ran.done.clone().unwrap();
    assert_eq!(ran.sum.published, 10_000);
    is_each_once(ran.data(), 10_000);
    assert!(ran.store.with(|kept| kept.breaks.is_empty()));
}

#[tokio::test]
async fn whoever_leads_no_more_is_left_for_another_one() {
    let kept = Kept { refused_data: [("700", Code::NotLeader)].into(), ..Kept::default() };
    let ran = ran(&numbers(1_000), kept, LONG).await;
    ran.done.clone().unwrap();
    is_each_once(ran.data(), 1_000);
}

#[tokio::test]
async fn a_refusal_ends_it_and_names_the_lines_and_what_is_under_way_is_waited_for() {
    let kept = Kept { refused_data: [("0", Code::InvalidArgument)].into(), ..Kept::default() };
    let ran = ran(&numbers(1_000), kept, LONG).await;
    let failure = ran.done.clone().unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.starts_with("lines 1 to "), "{failure}");
    assert_eq!((ran.sum.published, ran.left), (ran.data().len() as u64, 0), "the sum is what was published");
}

#[tokio::test]
async fn a_queue_that_is_full_is_waited_for_as_long_as_was_said() {
    let full = |times| vec![("0", Code::QueueFull); times].into();
    let room = ran(&numbers(1_000), Kept { refused_data: full(2), ..Kept::default() }, LONG).await;
    room.done.clone().unwrap();
    is_each_once(room.data(), 1_000);
    let kept = Kept { refused_data: full(1_000), ..Kept::default() };
    let never = ran("0\n", kept, Duration::from_millis(500)).await;
    let failure = never.done.clone().unwrap_err();
    assert_eq!((failure.exit, never.sum.published, never.left), (Exit::Throttled, 0, 0));
    assert!(failure.message.starts_with("lines 1 to 1: "), "{failure}");
}

#[tokio::test]
async fn what_nobody_acknowledges_is_not_counted() {
    let ran =
        ran("a\n", Kept { breaks: vec![0; 100].into(), ..Kept::default() }, Duration::from_millis(600)).await;
    let failure = ran.done.clone().unwrap_err();
    assert!(failure.message.contains("outcome-unknown"), "{failure}");
    assert_eq!((ran.sum.published, ran.left), (0, 1), "it may be there: {:?}", ran.data());
}

#[tokio::test]
async fn one_message_gets_past_a_full_queue_too() {
    let kept = Kept { refused_data: vec![("a", Code::QueueFull); 2].into(), ..Kept::default() };
    let store = FakeStore::start(kept).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    let mut events = Events::of(node.client().await).unwrap();
    let to: FunctionId = "jobs".parse().unwrap();
    let common = Common { to: &to, trace: "", now_ms: 0 };
    let message = Flags::default().message(common, None, "a".into());
    super::super::publish::publish(&mut events, &to, message).await.unwrap();
    assert_eq!(store.with(|kept| kept.published.len()), 1);
}

#[tokio::test]
async fn what_is_new_is_asked_since_what_was_heard_last_and_anew_after_a_silence() {
    let line = Line::parse_from(["publish", "--group", "anna"]);
    let batches = 8;
    let lines = numbers(batches * MESSAGES_MAX);
    let store = FakeStore::start(Kept::default()).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    for (quiet, asked_anew) in [(LONG, false), (Duration::ZERO, true)] {
        store.with(|kept| kept.since.clear());
        node.with(|script| script.group_lists = 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &lines).unwrap();
        let (to, events) = ("jobs".parse().unwrap(), Events::of(node.client().await).unwrap());
        let mut publisher = Publisher { quiet, ..Publisher::new(&to, &line.flags, events, LONG) };
        let lines = Batches::of(input::open(file.path()).await.unwrap(), publisher.head_bytes());
        let (mut signals, talk) = (Signals::new().unwrap(), Talk::new(true, true));
        publisher.all(lines, &mut signals, &talk.progress(None)).await.unwrap();
        let since = store.with(|kept| kept.since.clone());
        assert!(since.len() >= batches, "{since:?}");
        let streams = node.with(|script| script.group_lists);
        if asked_anew {
            assert_eq!((streams, since.iter().max()), (since.len(), Some(&41)), "each asks the cluster");
        } else {
            assert_eq!((streams, since[0], since[1]), (1, 41, 42), "the first reply said how far it was");
        }
    }
}

#[tokio::test]
async fn what_was_never_sent_is_known_not_to_be_there() {
    let node = Fake::start(Script { stores: vec!["127.0.0.1:1".to_owned()], ..Script::default() }).await;
    let events = Events::of(node.client_for(Duration::from_millis(400)).await).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a\n").unwrap();
    let (to, flags) = ("jobs".parse().unwrap(), Flags::default());
    let mut publisher = Publisher::new(&to, &flags, events, LONG);
    let lines = Batches::of(input::open(file.path()).await.unwrap(), publisher.head_bytes());
    let (mut signals, talk) = (Signals::new().unwrap(), Talk::new(true, true));
    publisher.all(lines, &mut signals, &talk.progress(None)).await.unwrap_err();
    assert_eq!(publisher.under_way.len(), 0);
}

#[tokio::test]
async fn a_batch_that_is_too_much_for_a_topic_goes_in_parts_in_its_order() {
    let subscriber = pb::Subscriber { function: "mail".to_owned(), ..pb::Subscriber::default() };
    let topic = pb::TopicDetail {
        topic: "jobs".to_owned(),
        subscribers: vec![subscriber; 20],
        ..pb::TopicDetail::default()
    };
    let kept = || Kept { topics: vec![topic.clone()], copies_max: 700, ..Kept::default() };
    let line = Line::parse_from(["publish", "--group", "anna"]);
    let ordered = ran_with(&line.flags, &numbers(1_000), kept(), LONG).await;
    ordered.done.clone().unwrap();
    assert_eq!(ordered.data(), (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(ordered.sum.copies, 20_000);
    let all = ran(&numbers(10_000), kept(), LONG).await;
    all.done.clone().unwrap();
    is_each_once(all.data(), 10_000);
    let never = ran("a\nb\n", Kept { copies_max: 19, ..kept() }, LONG).await;
    let failure = never.done.clone().unwrap_err();
    assert!(failure.message.starts_with("lines 1 to 1: "), "{failure}");
    assert_eq!((never.sum.published, never.left), (0, 0));
}

#[tokio::test]
async fn a_long_head_is_counted() {
    let long = format!("--attribute=about={}", "x".repeat(3_000));
    let line = Line::parse_from(["publish", &long]);
    let ran = ran_with(&line.flags, &numbers(1_000), Kept::default(), LONG).await;
    ran.done.clone().unwrap();
    is_each_once(ran.data(), 1_000);
    assert!(ran.store.with(|kept| kept.since.len()) < 20, "nothing was refused and halved");
}
