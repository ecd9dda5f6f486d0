//! Goal: what the view no longer has takes no memory of the gateway.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::key::Key;
use coracle_proto::record::Change;
use tokio::sync::Notify;

use super::world::Plan;
use crate::worker::tests::{Guest, text, until};

#[tokio::test]
async fn connections_to_a_node_that_was_removed_are_given_up() {
    let guest = || Guest::new(async |_| Ok(text("ok")));
    let world = Plan::remote(vec![guest(), guest()]).start().await;
    let remote = world.dispatcher.remote();
    // One of two at random, or the one that is less busy.
    let begun = crate::clock::now();
    while remote.peers() < 2 {
        assert_eq!(world.get("/f").await.status, 200);
        assert!(begun.elapsed().as_secs() < 10, "one is never called");
    }
    world.change(vec![Change::remove(Key::Node(NodeId::new(2)))]);
    until("it is forgotten", || remote.peers() == 1).await;
    assert_eq!(world.get("/f").await.status, 200);
}

#[tokio::test]
async fn connections_to_a_node_that_is_not_called_are_closed() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&started), Arc::clone(&go));
    let guest = Guest::new(move |_| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.notify_one();
            wait.notified().await;
            Ok(text("ok"))
        }
    });
    let world = Plan::remote(vec![guest]).start().await;
    let remote = world.dispatcher.remote();
    let calling = async {
        started.notified().await;
        remote.close_idle(Duration::ZERO);
        assert_eq!(remote.peers(), 1, "a call is open on it");
        go.notify_one();
    };
    assert_eq!(tokio::join!(world.get("/f"), calling).0.status, 200);
    remote.close_idle(Duration::from_secs(3600));
    assert_eq!(remote.peers(), 1, "it was called just now");
    until("its call has ended", || {
        remote.close_idle(Duration::ZERO);
        remote.peers() == 0
    })
    .await;
    go.notify_one();
    assert_eq!(world.get("/f").await.status, 200);
}
