//! Goal: an invocation is found in whichever group has it, asked for until somebody answers, and changed once.

use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script, record};

const LONG: Duration = Duration::from_secs(10);

/// A cluster with a data group for each of these.
async fn events(groups: Vec<Kept>) -> (Events, Vec<FakeStore>) {
    let mut stores = Vec::new();
    for kept in groups {
        stores.push(FakeStore::start(kept).await);
    }
    let addresses = stores.iter().map(|store| store.address.clone()).collect();
    let node = Fake::start(Script { stores: addresses, ..Script::default() }).await;
    (Events::of(node.client().await).unwrap(), stores)
}

fn knowing(number: u64, state: InvocationState) -> Kept {
    Kept { records: vec![record(number, state)], ..Kept::default() }
}

fn id(number: u128) -> InvocationId {
    InvocationId::new(number)
}

#[tokio::test]
async fn whichever_group_knows_it_is_asked() {
    let groups = vec![knowing(1, InvocationState::Dead), knowing(2, InvocationState::Running)];
    let (mut events, _stores) = events(groups).await;
    assert_eq!(events.find(id(2)).await.unwrap().group, 2);
    assert_eq!(events.find(id(1)).await.unwrap().record.state(), InvocationState::Dead);
    let unknown = events.find(id(3)).await.unwrap_err();
    assert_eq!(unknown.exit, Exit::NotFound);
    assert!(unknown.message.contains("code invocation-not-found"), "{unknown}");
}

#[tokio::test]
async fn a_group_that_says_no_is_not_one_that_does_not_know() {
    let refusing =
        Kept { refusals: [Refusal::new(Code::WrongCluster, "of another").into()].into(), ..Kept::default() };
    let (mut events, _stores) = events(vec![refusing, Kept::default()]).await;
    assert!(events.find(id(3)).await.unwrap_err().message.contains("wrong-cluster"));
}

#[tokio::test]
async fn who_does_not_lead_any_more_is_asked_again() {
    let refusals = [Refusal::new(Code::NotLeader, "another one").into(), tonic::Status::unavailable("reset")];
    let kept = Kept { refusals: refusals.into(), ..knowing(1, InvocationState::Dead) };
    let (mut events, _stores) = events(vec![kept]).await;
    assert_eq!(events.find(id(1)).await.unwrap().record.message, 1);
}

#[tokio::test]
async fn the_end_is_waited_for_and_has_its_answer() {
    let kept = Kept { reads_until_end: 3, ..knowing(1, InvocationState::Running) };
    let (mut events, stores) = events(vec![kept]).await;
    let reply = events.ended(id(1), LONG).await.unwrap();
    assert_eq!(reply.record.unwrap().state(), InvocationState::Succeeded);
    assert_eq!(reply.answer.unwrap().body, "done");
    let waits = stores[0].with(|kept| kept.waits_ms.clone());
    assert_eq!((waits.len(), waits[0]), (4, 0), "it is found first");
    assert!(waits[1..].iter().all(|wait| (1..=5_000).contains(wait)), "{waits:?}");
}

#[tokio::test]
async fn what_does_not_end_is_given_up() {
    let kept = Kept { reads_until_end: usize::MAX, ..knowing(1, InvocationState::Running) };
    let (mut events, _stores) = events(vec![kept]).await;
    let failure = events.ended(id(1), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.message.contains("has not ended after 50 ms"), "{failure}");
}

#[tokio::test]
async fn a_change_keeps_its_id_on_each_retry() {
    let kept = Kept { lost_answers: 2, ..knowing(1, InvocationState::Running) };
    let (mut events, stores) = events(vec![kept]).await;
    let found = events.change(id(1), Change::Cancel).await.unwrap();
    assert_eq!(found.record.state(), InvocationState::Cancelled);
    let changes = stores[0].with(|kept| kept.changes.clone());
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|it| it.id == changes[0].id && it.id.len() == 16 && it.since == 41));
}

#[tokio::test]
async fn without_a_store_it_is_said_at_once_and_one_that_begins_is_waited_for() {
    let node = Fake::start(Script::default()).await;
    let failure = Events::of(node.client().await).unwrap().find(id(1)).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Server);
    assert!(failure.message.contains("code no-store") && failure.message.contains("role store"), "{failure}");

    let begins = Fake::start(Script { has_store: true, ..Script::default() }).await;
    let mut events = Events::of(begins.client_for(LONG).await).unwrap();
    let store = FakeStore::start(knowing(1, InvocationState::Dead)).await;
    let (found, ()) = tokio::join!(events.find(id(1)), async {
        // Once it was asked in vain.
        while begins.with(|script| script.group_lists) == 0 {
            tokio::task::yield_now().await;
        }
        begins.with(|script| script.stores = vec![store.address.clone()]);
    });
    assert_eq!(found.unwrap().group, 1);
    let never = Fake::start(Script { has_store: true, ..Script::default() }).await;
    let client = never.client_for(Duration::from_secs(1)).await;
    let failure = Events::of(client).unwrap().find(id(1)).await.unwrap_err();
    assert!(failure.message.contains("not-leader"), "{failure}");
}
