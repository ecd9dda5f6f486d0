//! Goal: a circle of calls that are run later ends as any other does.

use super::{later, world};
use crate::front::tests::world::empty;

#[tokio::test]
async fn what_is_to_be_run_later_goes_on_with_the_chain_of_its_caller() {
    let (world, store) = world().await;
    for (index, (name, value, hops)) in
        [("cdn-loop", "coracle, other, coracle", "2"), ("ce-hops", "5", "5"), ("ce-hops", "99", "17")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(later(&world, &[(name, value)], empty()).await.status, 202);
        let attributes = store.state().submits[index].body.clone().unwrap().attributes;
        assert_eq!(attributes["hops"], hops, "{name}: {value}");
    }
}
