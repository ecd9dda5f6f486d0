//! Goal: what is asked for is what was typed.

use clap::Parser;

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script, record};
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn verb(line: &str) -> Result<Verb, String> {
    let words = ["invocation"].into_iter().chain(line.split(' '));
    Line::try_parse_from(words).map(|line| line.args.verb).map_err(|error| error.to_string())
}

fn list_of(line: &str) -> Result<(Namespace, pb::ListInvocationsRequest), Failure> {
    match verb(line).unwrap() {
        Verb::List(args) => asked(&args, 10_000_000),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_is_of_a_function_or_of_a_namespace() {
    let (namespace, request) = list_of("list").unwrap();
    assert_eq!((namespace.as_str(), request), ("default", pb::ListInvocationsRequest::default()));
    let (namespace, request) = list_of("list --function shop/cart").unwrap();
    assert_eq!((namespace.as_str(), request.function.as_str()), ("shop", "cart"));
    let (namespace, request) = list_of("list --namespace shop").unwrap();
    assert_eq!((namespace.as_str(), request.function.as_str()), ("shop", ""));
    assert!(verb("list --namespace shop --function cart").is_err());
}

#[test]
fn a_list_is_narrowed() {
    let trace = "AB".repeat(16);
    let line = format!(
        "list --state dead --state waiting,running --since 1h --until 1970-01-01T02:00:00Z --trace {trace}"
    );
    let (_, request) = list_of(&line).unwrap();
    let states: Vec<_> = request.states().collect();
    assert_eq!(states, [InvocationState::Dead, InvocationState::Waiting, InvocationState::Running]);
    assert_eq!((request.since_ms, request.until_ms), (6_400_000, 7_200_000));
    assert_eq!(request.trace_id, "ab".repeat(16));
    let failure = list_of("list --since yesterday").unwrap_err();
    assert!(failure.exit == Exit::Usage && failure.message.starts_with("--since: "), "{failure}");
    for bad in ["list --state asleep", "list --trace 12", "list --limit 0", "get 12", "wait"] {
        assert!(verb(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_invocation_is_named_by_its_id() {
    let id = "ab".repeat(16);
    for line in ["get", "wait", "cancel", "retry", "result"] {
        assert!(verb(&format!("{line} {id}")).is_ok(), "{line}");
    }
    assert!(matches!(
        verb(&format!("wait {id} --timeout 90s")).unwrap(),
        Verb::Wait(Wait { timeout: Some(timeout), .. }) if timeout == Duration::from_secs(90)
    ));
}

#[tokio::test]
async fn a_list_goes_on_over_pages_and_ends_at_its_limit() {
    let records = (1..=5).map(|number| record(number, InvocationState::Dead)).collect();
    let store = FakeStore::start(Kept { records, at_once: 2, ..Kept::default() }).await;
    let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
    let mut events = Events::of(node.client().await).unwrap();
    for (limit, expected) in [(100, 5), (5, 5), (3, 3), (1, 1)] {
        let request = pb::ListInvocationsRequest::default();
        let rows = super::records(&mut events, &Namespace::default(), request, limit).await.unwrap();
        assert_eq!(rows.len(), expected, "limit {limit}");
    }
}
