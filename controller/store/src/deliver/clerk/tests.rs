//! What the clerk has claimed for a node that is not there any more.

use std::collections::BTreeSet;

use super::*;
use crate::world::{GROUP, SOON, World};

const NODE: NodeId = NodeId::new(7);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_for_a_node_that_left_is_given_back_uncounted() {
    let world = World::start().await;
    let id = world.submit("f").await;
    let mut sessions = Sessions::of_term(1);
    let request = sessions.arrived(NODE, 1, 0, &BTreeSet::new()).expect("it is the first").request;
    let served = world.served.clone();
    let clerk = Clerk {
        group: GROUP,
        replica: served.replica,
        clock: served.clock,
        proposer: served.proposer,
        news: served.news,
        sessions: Arc::new(Mutex::new(sessions)),
        turn: None,
    };
    let (answer, listens) = oneshot::channel();
    let taker = Taker { places: 1, full: BTreeSet::new() };
    let mut waiting = vec![Waiting { node: NODE, request, taker: taker.clone(), answer }];
    let ready = clerk.ready().unwrap();
    let shares = plan(&ready, &[taker]);
    let given = clerk.claim(&ready, &waiting, &shares).await;
    world.runs(id).await;
    drop(listens);
    assert!(clerk.hand_out(&mut waiting, given) && waiting.is_empty());
    let back = async {
        loop {
            let seen = model::invocation(&world.served.replica.state(), id).unwrap().unwrap();
            if seen.phase == model::Phase::Waiting {
                return seen.attempts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
        }
    };
    // A lease is longer.
    const { assert!(SOON.as_millis() < LEASE_MS as u128) };
    assert_eq!(tokio::time::timeout(SOON, back).await.expect("it is given back"), 0);
    let unheard = lock(&clerk.sessions).arrived(NODE, 1, 0, &BTreeSet::new()).expect("it is newer").unheard;
    assert_eq!(unheard, [], "once");
    world.end().await;
}
