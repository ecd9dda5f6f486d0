//! Waits for the end of an invocation over a real group.

use super::*;
use crate::news::FOLLOWED_MAX;
use crate::world::{GROUP, SOON, World, waits};

fn leading(world: &World) -> Leading {
    Leading { served: world.served.clone(), group: GROUP }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_a_replica_that_leads_no_more_is_told() {
    let world = World::start().await;
    let id = world.submit("f").await;
    let leading = leading(&world);
    let mut waiting = Box::pin(ended(&leading, id, SOON * 6));
    assert!(waits(&mut waiting).await, "it has not ended");
    world.replicas.close().await;
    let refused = tokio::time::timeout(SOON, waiting).await.expect("it is told").unwrap_err();
    assert_eq!(refused.code, Code::NotLeader, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_told_though_too_many_are_waited_for() {
    let world = World::start().await;
    let (ends, goes_on) = (world.submit("f").await, world.submit("f").await);
    world.done(Op::Cancel { invocation: ends }).await;
    let follow = |number: usize| world.served.news.follow(InvocationId::new(number as u128));
    let followed: Vec<_> = (0..FOLLOWED_MAX).map(|number| follow(number).expect("there is room")).collect();
    let leading = leading(&world);
    assert!(ended(&leading, ends, SOON).await.is_ok());
    assert!(
        ended(&leading, InvocationId::new(u128::MAX), SOON).await.is_ok(),
        "nor is there one to wait for"
    );
    let refused = ended(&leading, goes_on, SOON).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded, "{refused}");
    drop(followed);
    world.end().await;
}
