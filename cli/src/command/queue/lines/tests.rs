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
    let done = publisher.all(Batches::of(opened), &mut signals, &talk.progress(None)).await;
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
