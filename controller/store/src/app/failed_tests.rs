//! A store whose disk failed ends, whatever its replicas do.

use std::collections::BTreeMap;

use coracle_proto::id::Revision;
use coracle_raft::Seat;

use super::*;
use crate::book::Arrangement;
use crate::world::{GROUP, SOON, World};

/// Whose replica cannot begin, or has ended, tells of it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_failed_ends_without_a_replica_too() {
    let world = World::start().await;
    world.submit("f").await;
    world.break_disk();
    // Its end writes tables.
    let seat = Seat { address: "127.0.0.1:1".to_owned(), ..Seat::default() };
    let members = BTreeMap::from([(NodeId::new(2), seat)]);
    let arranged =
        Arrangement { group: GROUP, revision: Revision::new(2), members, begun: true, stays: false };
    world.replicas.arrange(arranged.clone()).await.unwrap();
    assert!(world.replicas.all().is_empty());
    let ended = tokio::time::timeout(SOON, stopped(&world.replicas)).await.expect("it ends");
    assert!(matches!(&ended, RunError::Failed { tainted: false, .. }), "{ended}");
    assert!(!ended.is_configuration(), "the next process goes on from what the log has");
    world.replicas.close().await;
}
