//! Goal: what the view no longer has takes no memory of the gateway.

use coracle_proto::id::NodeId;
use coracle_proto::key::Key;
use coracle_proto::record::Change;

use super::world::Plan;
use crate::worker::tests::{Guest, text, until};

#[tokio::test]
async fn connections_to_a_node_that_was_removed_are_given_up() {
    let guest = || Guest::new(async |_| Ok(text("ok")));
    let world = Plan::remote(vec![guest(), guest()]).start().await;
    let remote = &world.gateway.inner.remote;
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
