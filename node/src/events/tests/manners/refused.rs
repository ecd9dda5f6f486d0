//! Goal: what one call for many messages came to is done once, or not at all and said so of each.

use super::*;

/// What was said of each attempt: `done`, or after how long it comes again and why, or why it failed.
fn words(node: &Node) -> Vec<String> {
    let word = |it: &pb::SettleRequest| match it.verdict.clone().unwrap() {
        Verdict::Done(done) => format!("done {}", done.others.len() + 1),
        Verdict::Offer(offer) => format!("offer {}", offer.error),
        Verdict::Retry(retry) => format!("retry {}", retry.error),
        Verdict::Dead(dead) => format!("dead {}", dead.error),
    };
    node.store.state().settles.iter().map(word).collect()
}

#[tokio::test]
async fn a_batch_whose_effects_are_refused_for_what_others_do_is_made_again_uncounted() {
    const NAMES: &str = "{\"batchItemFailures\":[{\"itemIdentifier\":\"e3\"}]}";
    for (code, why, name) in [
        (Code::Conflict, "offer what it had read was changed", "overtaken"),
        (Code::QueueFull, "offer what it wrote and published was refused", "full"),
    ] {
        let (_, guest) = guest(200, &[], NAMES, None);
        let node = Node::start(Plan::local(Arc::clone(&guest))).await;
        node.store.keep("b", "k", 7);
        node.store.state().refuses_effects = vec![code];
        for id in 1..=3 {
            put(&node, id, &batch(3, 100));
        }
        until("those that it does not name are done", || {
            let state = node.store.state();
            state.messages[..2].iter().all(|it| it.state == Succeeded)
        })
        .await;
        assert!(guest.calls() >= 2, "{}", guest.calls());
        let words = words(&node);
        assert_eq!(words[0], "done 2");
        assert!(words[1..4].iter().all(|it| it.starts_with(why)), "also of the one that it names: {words:?}");
        assert_eq!(node.world.metrics.events.count_again(name), 3);
        for index in 0..2 {
            let message = node.store.message(index);
            assert_eq!((message.reports.len(), message.delivery.attempt), (1, 1), "{message:?}");
        }
        node.end().await;
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter_and_counts_for_the_others() {
    let (_, guest) = guest(200, &[], "", None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.state().refuses_effects = vec![Code::InvalidArgument];
    for id in 1..=3 {
        put(&node, id, &batch(3, 100));
    }
    node.comes_to(0, Dead).await;
    for index in [1, 2] {
        node.comes_to(index, Succeeded).await;
        assert_eq!(node.store.message(index).reports.len(), 2, "its attempt counts");
    }
    assert!(words(&node)[2..4].iter().all(|it| it.starts_with("retry ")), "{:?}", words(&node));
    node.end().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_does_nothing_twice() {
    let (_, guest) = guest(200, &[], "", None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.state().loses = 1;
    for id in 1..=3 {
        put(&node, id, &batch(3, 60_000));
    }
    until("all are done", || node.store.all_done()).await;
    until("its places are free", || node.world.metrics.events.running.get() == 0).await;
    assert_eq!(guest.calls(), 1);
    assert!(words(&node).iter().all(|it| it == "done 3"), "{:?}", words(&node));
    node.end().await;
}

#[tokio::test]
async fn a_call_that_names_some_and_was_overtaken_is_made_again() {
    let names = "{\"batchItemFailures\":[{\"itemIdentifier\":\"e1\"},{\"itemIdentifier\":\"e2\"}]}";
    let (_, guest) = guest(200, &[], names, None);
    let node = Node::start(Plan::local(Arc::clone(&guest))).await;
    node.store.keep("b", "k", 8);
    for id in 1..=2 {
        put(&node, id, &batch(2, 100));
    }
    until("it was made again", || guest.calls() >= 2).await;
    node.store.keep("b", "k", 7);
    node.comes_to(0, Dead).await;
    assert_eq!(node.store.message(0).reports.len(), 3, "only what had read what was there");
    assert!(words(&node)[0].starts_with("offer "), "{:?}", words(&node));
    node.end().await;
}
