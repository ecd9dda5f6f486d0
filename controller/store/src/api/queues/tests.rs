//! Dead letters over a real group: each is moved once, a bounded number in a request.

use coracle_proto::id::NodeId;

use super::*;
use crate::clock;
use crate::model::{Ticket, Verdict};
use crate::world::{GROUP, World};

fn queue() -> Place {
    Place::parse("shop", "function/f").unwrap()
}

/// So many are submitted, and all that are ready become dead letters.
async fn bury(world: &World, count: u32) {
    for _ in 0..count {
        world.submit("f").await;
    }
    let claim =
        Op::Claim { queue: queue(), node: NodeId::new(7), most: 200, until_ms: clock::unix_ms() + 60_000 };
    let Outcome::Claimed(claimed) = world.done(claim).await else { panic!("nothing is claimed") };
    for it in claimed {
        let ticket = Ticket { queue: queue(), message: it.message, fence: it.fence };
        let verdict = Verdict::Dead { error: "no".to_owned() };
        world.done(Op::Settle { ticket, verdict, report: None, answer: None }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_moves_some_and_says_where_to_go_on() {
    let world = World::start().await;
    let leading = Leading { served: world.served.clone(), group: GROUP };
    let letters = u32::try_from(MOVE_ENTRIES_MAX).unwrap() + 5;
    bury(&world, letters).await;
    let redrive = |span| Op::Redrive { queue: queue(), span, steps: 1 };
    let first = moved(&leading, (0, 0), redrive).await.unwrap();
    assert_eq!((first.moved, first.next > 0), (20, true), "{first:?}");
    // These die again, and others come: neither is meant.
    bury(&world, 3).await;
    let second = moved(&leading, (first.next, first.to), redrive).await.unwrap();
    assert_eq!((second.moved, second.next), (5, 0), "{second:?}");
    let one = moved(&leading, (first.next, first.next + 1), redrive).await.unwrap();
    assert_eq!(one.moved, 0, "it was moved");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there_is_told() {
    let world = World::start().await;
    let leading = Leading { served: world.served.clone(), group: GROUP };
    let purge = |span| Op::Purge { queue: queue(), kept: Kept::Dead, span, steps: 1 };
    let refusal = moved(&leading, (0, 0), purge).await.unwrap_err();
    assert_eq!(refusal.code, Code::QueueNotFound);
    world.end().await;
}
