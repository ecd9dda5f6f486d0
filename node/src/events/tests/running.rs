//! What the tests of messages have in common: a node that takes them from one store.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::InvocationState;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::events::{Events, Options};
use crate::front::tests::world::{CLUSTER, Plan, World};
use crate::stores::Stores;
use crate::stores::tests::fake::Store;
use crate::worker::tests::{Guest, text, until};

/// A node and its store.
pub(super) struct Node {
    pub(super) world: World,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Node {
    /// Takes at most four messages at once.
    pub(super) async fn start(plan: Plan) -> Self {
        Self::with(plan, Duration::from_secs(10)).await
    }

    pub(super) async fn with(plan: Plan, drain_timeout: Duration) -> Self {
        Self::of(plan, drain_timeout, Duration::ZERO).await
    }

    pub(super) async fn of(plan: Plan, drain_timeout: Duration, news_timeout: Duration) -> Self {
        Self::taking(plan, 4, (drain_timeout, news_timeout)).await
    }

    /// Takes at most so many messages at once.
    pub(super) async fn taking(
        plan: Plan,
        at_once_max: u32,
        (drain_timeout, news_timeout): (Duration, Duration),
    ) -> Self {
        let (world, store) = (plan.start().await, Store::start().await);
        world.change(Store::records(&[&store]));
        let options = Options { node: NodeId::new(1), at_once_max, drain_timeout, news_timeout };
        let stores = Stores::new(world.view.clone(), CLUSTER);
        let (view, metrics) = (world.view.clone(), Arc::clone(&world.metrics));
        let events = Events::new(options, view, stores, world.dispatcher.clone(), metrics, Handle::current());
        let stop = CancellationToken::new();
        let task = tokio::spawn(events.run(stop.clone()));
        Self { world, store, stop, task }
    }

    /// Waits until a message is in that state.
    pub(super) async fn comes_to(&self, index: usize, state: InvocationState) {
        until(&format!("message {index} is {state:?}"), || self.store.message(index).state == state).await;
    }

    /// Makes the view say how it is followed.
    pub(super) fn hears(&self, following: bool, told: bool) {
        self.world.view.update(|view| {
            (view.routing.following, view.routing.told) = (following, told);
            true
        });
    }

    /// Stops it and waits for its end.
    pub(super) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("an end").unwrap();
    }
}

/// Answers when it is told to.
pub(super) fn waiting() -> (Arc<Notify>, Arc<Guest>) {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let guest = Guest::new(move |call: Call| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            call.receipt.over(None);
            Ok(text("ok"))
        }
    });
    (go, guest)
}
