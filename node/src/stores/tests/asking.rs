//! Goal: whoever leads is found and asked; what was lost on the way is told from what was refused.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, InvocationId, Revision};
use coracle_proto::pb;
use coracle_proto::status::Code;

use super::fake::{GROUP, Store};
use crate::clock;
use crate::stores::{Ended, Event, Message, Published, State, Stores, Submission};
use crate::view::{Stamp, View, ViewHandle};

const CLUSTER: ClusterId = ClusterId::new(77);
const LONG: Duration = Duration::from_secs(10);

pub(super) struct World {
    view: ViewHandle,
    pub(super) stores: Stores,
}

impl World {
    pub(super) fn new(stores: &[&Store]) -> Self {
        let view = ViewHandle::with(View { cluster: CLUSTER, ..View::default() });
        let world = Self { stores: Stores::new(view.clone(), CLUSTER), view };
        world.shows(stores);
        world
    }

    fn shows(&self, stores: &[&Store]) {
        self.view.update(|view| {
            let revision = Revision::new(view.routing.stamp.revision.get() + 1);
            let changes = if stores.is_empty() { vec![] } else { Store::records(stores) };
            view.routing.take(Stamp { revision, hash: None }, changes, true)
        });
    }

    async fn submit(&self, id: u128, within: Duration) -> Result<(InvocationId, bool), Code> {
        let event = Event {
            kind: "async".to_owned(),
            source: "s".to_owned(),
            id: String::new(),
            attributes: [].into(),
            head: None,
            data: Bytes::from_static(b"x"),
        };
        let submission = Submission {
            function: "f".parse().unwrap(),
            invocation: InvocationId::new(id),
            event,
            idempotency_key: String::new(),
            fingerprint: Bytes::new(),
        };
        let submitted = self.stores.submit(submission, clock::now() + within).await;
        submitted.map(|it| (it.invocation, it.repeated)).map_err(|refusal| refusal.code)
    }

    async fn publish(&self, to: &str, ids: &[(u128, &str)]) -> Result<Vec<Published>, Code> {
        let message = |(invocation, id): &(u128, &str)| {
            let event = Event {
                kind: String::new(),
                source: "s".to_owned(),
                id: (*id).to_owned(),
                attributes: [("type".to_owned(), "t".to_owned())].into(),
                head: None,
                data: Bytes::from_static(b"x"),
            };
            let (invocation, group) = (InvocationId::new(*invocation), "g".to_owned());
            let (delay, fingerprint) = (Duration::from_millis(1500), "f".into());
            Message { invocation, event, group, delay, fingerprint }
        };
        let (namespace, messages) = ("shop".parse().unwrap(), ids.iter().map(message).collect());
        let published = self.stores.publish(&namespace, to, messages, clock::now() + LONG).await;
        published.map_err(|refusal| refusal.code)
    }

    async fn state(&self, id: u128, waits: Duration) -> Result<State, Code> {
        let deadline = clock::now() + LONG + waits;
        let asked = self.stores.get(GroupId::new(GROUP), InvocationId::new(id), waits, deadline).await;
        asked.map(|record| record.state).map_err(|refusal| refusal.code)
    }
}

#[tokio::test]
async fn the_leader_is_found_among_the_members_and_found_again() {
    let (one, two) = (Store::start().await, Store::start().await);
    one.state().follows = true;
    let world = World::new(&[&one, &two]);
    assert_eq!(world.submit(1, LONG).await, Ok((InvocationId::new(1), false)));
    assert_eq!((one.state().submits.len(), two.state().submits.len()), (0, 1), "the status said who leads");
    one.state().follows = false;
    two.state().follows = true;
    assert_eq!(world.submit(2, LONG).await, Ok((InvocationId::new(2), false)));
    assert_eq!((one.state().submits.len(), two.state().submits.len()), (1, 2));
    assert_eq!(world.submit(3, LONG).await, Ok((InvocationId::new(3), false)));
    assert_eq!(
        (one.state().submits.len(), two.state().submits.len()),
        (2, 2),
        "who answered last is asked first"
    );
}

#[tokio::test]
async fn a_member_that_comes_by_the_view_is_asked() {
    let (gone, there) = (Store::start().await, Store::start().await);
    gone.state().follows = true;
    let world = World::new(&[&gone]);
    let (submitted, ()) = tokio::join!(world.submit(1, LONG), async { world.shows(&[&gone, &there]) });
    assert_eq!(submitted, Ok((InvocationId::new(1), false)));
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_done_once() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().loses = 2;
    assert_eq!(world.submit(1, LONG).await, Ok((InvocationId::new(1), false)));
    let state = store.state();
    assert_eq!((state.messages.len(), state.submits.len()), (1, 3));
    let ids: Vec<_> = state.submits.iter().map(|it| it.request.clone().unwrap()).collect();
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn what_may_have_been_done_is_said_to_be_unknown() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    let short = Duration::from_millis(300);
    store.state().loses = u32::MAX;
    assert_eq!(world.submit(1, short).await, Err(Code::OutcomeUnknown));
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().loses = 1;
    let follows = async {
        crate::worker::tests::until("one was lost", || store.state().loses == 0).await;
        store.state().follows = true;
    };
    assert_eq!(
        tokio::join!(world.submit(2, short), follows).0,
        Err(Code::OutcomeUnknown),
        "refused after that"
    );
    assert_eq!(world.submit(3, short).await, Err(Code::NotLeader), "nothing was lost");
}

#[tokio::test]
async fn refusals_that_no_other_store_would_change_come_at_once() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().refuses = Some(Code::QueueFull);
    assert_eq!(world.submit(1, LONG).await, Err(Code::QueueFull));
    assert_eq!(store.state().submits.len(), 1);
    assert_eq!(world.state(9, Duration::ZERO).await, Err(Code::InvocationNotFound));
    world.shows(&[]);
    assert_eq!(world.submit(1, LONG).await, Err(Code::NoStore));
}

#[tokio::test]
async fn a_leader_that_is_overloaded_says_so_at_once_and_is_asked_again() {
    let (other, leader) = (Store::start().await, Store::start().await);
    other.state().follows = true;
    let world = World::new(&[&other, &leader]);
    leader.state().refuses = Some(Code::Overloaded);
    let begun = clock::now();
    for id in 1..=3 {
        assert_eq!(world.submit(id, LONG).await, Err(Code::Overloaded));
    }
    assert!(begun.elapsed() < LONG);
    assert_eq!((other.state().submits.len(), leader.state().submits.len()), (0, 3));
    // What was lost before may have been done.
    leader.state().deaf = 1;
    assert_eq!(world.submit(4, LONG).await, Err(Code::OutcomeUnknown));
}

#[tokio::test]
async fn nobody_there_is_no_lost_answer() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    world.submit(1, LONG).await.unwrap();
    drop(store);
    let (_socket, nowhere) = crate::front::tests::world::nobody();
    let mut gone = Store::start().await;
    gone.address = nowhere;
    world.shows(&[&gone]);
    assert_eq!(world.submit(2, Duration::from_secs(1)).await, Err(Code::NoQuorum));
}

#[tokio::test]
async fn whoever_waits_is_told_of_the_end() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.put("f", 5, "x");
    assert_eq!(world.state(5, Duration::ZERO).await, Ok(State::Waiting));
    let (told, ()) = tokio::join!(world.state(5, Duration::from_secs(60)), async { store.cancel(0) });
    assert_eq!(told, Ok(State::Ended(Ended::Cancelled)));
    store.state().messages[0].state = pb::InvocationState::Dead;
    let (group, id) = (GroupId::new(GROUP), InvocationId::new(5));
    let retried = world.stores.retry(group, id, clock::now() + LONG).await.unwrap();
    assert_eq!(retried.state, State::Waiting);
    let refused = world.stores.retry(group, id, clock::now() + LONG).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let cancelled = world.stores.cancel(group, id, clock::now() + LONG).await.unwrap();
    assert_eq!(cancelled.state, State::Ended(Ended::Cancelled));
}

#[tokio::test]
async fn what_is_published_is_kept_and_each_message_has_its_word() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().queues.insert("jobs".to_owned());
    store.state().topics.insert("news".to_owned(), 3);
    let word = |id: u128, repeated, message, copies| {
        let invocation = (id > 0).then_some(InvocationId::new(id));
        Published { invocation, repeated, message, copies }
    };
    let first = world.publish("jobs", &[(1, "a"), (2, "")]).await;
    assert_eq!(first, Ok(vec![word(1, false, Some(1), 1), word(2, false, Some(2), 1)]));
    let again = world.publish("jobs", &[(3, "a"), (4, "b")]).await;
    assert_eq!(again, Ok(vec![word(1, true, Some(1), 1), word(4, false, Some(3), 1)]));
    assert_eq!(world.publish("news", &[(5, "c")]).await, Ok(vec![word(0, false, None, 3)]));
    let sent = store.state().publishes[0].clone();
    assert_eq!((sent.place.unwrap().namespace.as_str(), sent.to.as_str()), ("shop", "jobs"));
    let message = &sent.messages[0];
    assert_eq!((message.group.as_str(), message.delay_ms), ("g", 1500));
    let body = message.body.as_ref().unwrap();
    assert_eq!((body.kind.as_str(), body.id.as_str(), body.attributes["type"].as_str()), ("", "a", "t"));
}

#[tokio::test]
async fn what_is_published_and_its_answer_lost_is_kept_once() {
    let store = Store::start().await;
    let world = World::new(&[&store]);
    store.state().queues.insert("jobs".to_owned());
    store.state().loses = 1;
    assert_eq!(world.publish("jobs", &[(1, "")]).await.unwrap().len(), 1);
    assert_eq!(store.published(), (1, 2));
    assert_eq!(world.publish("none", &[(2, "")]).await, Err(Code::QueueNotFound));
    store.state().refuses = Some(Code::QueueFull);
    assert_eq!(world.publish("jobs", &[(3, "")]).await, Err(Code::QueueFull));
    assert_eq!(store.published(), (1, 4));
}
