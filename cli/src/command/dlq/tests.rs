//! Goal: dead letters are named as people name them, moved once, and those that are none are told.

use clap::Parser;
use coracle_proto::pb::InvocationState;

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script, queue, record};
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn verb(line: &str) -> Result<Verb, String> {
    let words = ["dlq"].into_iter().chain(line.split(' '));
    Line::try_parse_from(words).map(|line| line.args.verb).map_err(|error| error.to_string())
}

fn show_args(line: &str) -> Result<Named, Failure> {
    match verb(line).unwrap() {
        Verb::Show(args) => args.named(),
        other => panic!("{other:?}"),
    }
}

fn list_args(line: &str) -> (Option<String>, Option<String>, Option<String>) {
    match verb(line).unwrap() {
        Verb::List(args) => {
            (args.which.map(|it| it.to_string()), args.queue, args.namespace.map(|it| it.to_string()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_letter_is_named_by_its_id_or_by_its_number() {
    let id = "ab".repeat(16);
    assert_eq!(show_args(&format!("show {id}")).unwrap(), Named::Invocation(id.parse().unwrap()));
    let number = show_args("show shop/cart --message 7").unwrap();
    assert_eq!(number, Named::Message("shop/cart".parse().unwrap(), 7));
    let failure = show_args("show shop/cart").unwrap_err();
    assert!(failure.exit == Exit::Usage && failure.message.contains("--message N"), "{failure}");
}

#[test]
fn a_queue_or_all_of_a_namespace_are_listed() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(list_args("list shop/cart"), (some("shop/cart"), None, None));
    assert_eq!(list_args("list --queue jobs --namespace shop"), (None, some("jobs"), some("shop")));
    assert_eq!(list_args("list --namespace shop"), (None, None, some("shop")), "all queues are");
    assert!(verb("list cart --namespace shop").is_err(), "it says its namespace itself");
}

#[test]
fn which_dead_letters_are_meant_is_said() {
    assert!(verb("redrive cart").unwrap_err().contains("<ID>"));
    assert!(verb("purge cart --all").is_ok());
    let id = "ab".repeat(16);
    assert!(verb(&format!("redrive cart {id}")).is_ok());
    assert!(verb(&format!("redrive cart {id} --all")).is_err());
}

/// A cluster whose store knows these.
async fn events(kept: Kept) -> (Events, FakeStore) {
    let store = FakeStore::start(kept).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    (Events::of(node.client().await).unwrap(), store)
}

fn letters(count: u64) -> Vec<pb::InvocationRecord> {
    (1..=count).map(|number| record(number, InvocationState::Dead)).collect()
}

#[tokio::test]
async fn all_are_moved_though_the_store_moves_some_at_once() {
    let (mut events, store) = events(Kept { records: letters(5), at_once: 2, ..Kept::default() }).await;
    let cart: Which = "cart".parse().unwrap();
    let queue = cart.resolve(&mut events, "dlq redrive").await.unwrap();
    assert_eq!(moves::all(&mut events, &queue, Way::Redrive).await.unwrap(), 5);
    assert_eq!(store.with(|kept| kept.moves.clone()), [(0, 0), (3, 1000), (5, 1000)]);
    let nobody: Which = "nobody".parse().unwrap();
    let failure = nobody.resolve(&mut events, "dlq purge").await.unwrap_err();
    assert!(failure.exit == Exit::NotFound && failure.message.contains("queue-not-found"), "{failure}");
}

#[tokio::test]
async fn a_name_that_a_queue_and_a_function_have_is_not_guessed() {
    let queues = vec![queue("cart", "")];
    let (mut events, _store) = events(Kept { records: letters(1), queues, ..Kept::default() }).await;
    let which: Which = "cart".parse().unwrap();
    let failure = which.resolve(&mut events, "dlq list").await.unwrap_err();
    assert!(failure.message.contains("say 'function/cart' or 'queue/cart'"), "{failure}");
    let own: Which = "queue/cart".parse().unwrap();
    assert_eq!(own.resolve(&mut events, "dlq list").await.unwrap().queue, "cart");
}

#[tokio::test]
async fn one_that_dies_again_is_not_run_for_ever() {
    let kept = Kept { records: letters(3), at_once: 2, die_again: true, ..Kept::default() };
    let (mut events, store) = events(kept).await;
    let moved = moves::all(&mut events, &"function/cart".parse().unwrap(), Way::Redrive).await.unwrap();
    assert_eq!((moved, store.with(|kept| kept.moves.len())), (3, 2), "each once");
}

#[tokio::test]
async fn one_is_moved_by_its_number_and_once() {
    let kept = Kept { records: letters(2), lost_answers: 1, ..Kept::default() };
    let (mut events, store) = events(kept).await;
    let function: Which = "cart".parse().unwrap();
    let id = InvocationId::new(2);
    assert_eq!(moves::one(&mut events, &function, id, Way::Purge).await.unwrap(), 1);
    assert_eq!(store.with(|kept| kept.moves.clone()), [(2, 3); 2], "the answer of the first was lost");
    let failure = moves::one(&mut events, &function, id, Way::Purge).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict, "{failure}");
    assert!(failure.message.contains("it is dropped"), "{failure}");
    let other = moves::one(&mut events, &"other".parse().unwrap(), InvocationId::new(1), Way::Purge).await;
    assert!(other.unwrap_err().message.contains("not of 'other' but of 'function/cart'"));
    let unknown = moves::one(&mut events, &function, InvocationId::new(9), Way::Purge).await.unwrap_err();
    assert!(unknown.message.contains("invocation-not-found"), "{unknown}");
}

#[tokio::test]
async fn a_list_goes_on_over_pages_and_ends_at_its_limit() {
    let (mut events, _store) = events(Kept { records: letters(5), at_once: 2, ..Kept::default() }).await;
    let namespace = Namespace::default();
    for (limit, expected) in [(100, 5), (5, 5), (3, 3), (1, 1)] {
        let rows = super::letters(&mut events, &namespace, "function/cart", limit).await.unwrap();
        assert_eq!(rows.len(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_body_and_no_other_one_in_its_place() {
    let mut records = letters(3);
    records[1].state = InvocationState::Succeeded.into();
    let (mut events, _store) = events(Kept { records, ..Kept::default() }).await;
    let found = letter(&mut events, Named::Invocation(InvocationId::new(3))).await.unwrap();
    assert_eq!((found.record.unwrap().message, found.body.unwrap().data), (3, "asked".into()));
    let cart: Which = "cart".parse().unwrap();
    let found = letter(&mut events, Named::Message(cart.clone(), 1)).await.unwrap();
    assert_eq!(found.record.unwrap().message, 1);
    for named in [Named::Message(cart, 2), Named::Invocation(InvocationId::new(2))] {
        let failure = letter(&mut events, named).await.unwrap_err();
        assert!(failure.exit == Exit::NotFound && failure.message.contains("is no dead letter"), "{failure}");
    }
}
