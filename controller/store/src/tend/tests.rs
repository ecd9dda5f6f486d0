//! What is due over a real group, whose time an earlier leader has brought far ahead.

use coracle_proto::id::NodeId;

use super::*;
use crate::model::{Claimed, Place, Ticket, Verdict};
use crate::world::{GROUP, SOON, World};

/// Less than an entry may bring a group's time on, and more than any wait of a test.
const AHEAD_MS: u64 = 30 * 60 * 1000;

fn queue() -> Place {
    Place::parse("shop", "function/f").unwrap()
}

/// Waits for what is ready and claims it.
async fn claim(world: &World) -> Claimed {
    let claimed = async {
        loop {
            let until_ms = world.served.clock.now_ms() + 60_000;
            let claim = Op::Claim { queue: queue(), node: NodeId::new(7), most: 1, until_ms };
            match world.done(claim).await {
                Outcome::Claimed(claimed) if claimed.is_empty() => {
                    tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
                }
                Outcome::Claimed(mut claimed) => return claimed.remove(0),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(SOON, claimed).await.expect("it becomes ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_on_at_the_usual_pace_though_the_groups_time_is_ahead() {
    let world = World::start().await;
    world.submit("f").await;
    world.jump(AHEAD_MS).await;
    let now_ms = world.served.clock.now_ms();
    assert!(now_ms > clock::unix_ms() + AHEAD_MS / 2, "the group is far ahead");
    let first = claim(&world).await;
    let ticket = Ticket { queue: queue(), message: first.message, fence: first.fence };
    let verdict = Verdict::Retry { after_ms: Some(300), error: "again".to_owned() };
    world.done(Op::Settle { ticket, verdict, report: None, answer: None }).await;
    let second = claim(&world).await;
    assert_eq!(second.attempt, 2);
    let passed_ms = world.served.clock.now_ms() - now_ms;
    assert!((300..60_000).contains(&passed_ms), "{passed_ms}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_lets_claims_lapse_when_nodes_had_time_to_tell() {
    const GRACE: Duration = Duration::from_millis(300);
    const _: () = assert!(GRACE.as_millis() * 4 < CLAIMS_GRACE.as_millis());
    let world = World::start().await;
    let id = world.submit("f").await;
    // A busy machine may need longer for the entry than the lease lasts, which is then refused.
    loop {
        let until_ms = world.served.clock.now_ms() + 50;
        let claim = Op::Claim { queue: queue(), node: NodeId::new(7), most: 1, until_ms };
        if matches!(world.done(claim).await, Outcome::Claimed(_)) {
            break;
        }
    }
    let begun = clock::now();
    // Beside the group's own, which waits for longer.
    let tends = tokio::spawn(tend(GROUP, world.served.clone(), GRACE));
    let lapsed = async {
        while model::counts(&world.served.replica.state(), &queue()).unwrap().lapsed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
        }
    };
    tokio::time::timeout(CLAIMS_GRACE, lapsed).await.expect("its lease was over long ago");
    assert!(clock::now().saturating_duration_since(begun) >= GRACE, "not before");
    tends.abort();
    let seen = model::invocation(&world.served.replica.state(), id).unwrap().unwrap();
    assert_eq!(seen.record.reports.len(), 1, "that attempt counts");
    world.end().await;
}
