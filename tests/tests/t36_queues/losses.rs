//! Goal: nodes are killed while messages are published and delivered: none is lost, and those of a group keep their order.

use super::*;

/// Messages of each publisher.
const MESSAGES: usize = 60;
/// Publishers, each with a group of its own.
const GROUPS: usize = 4;

/// Publishes until each message is accepted, whoever is killed meanwhile.
async fn publishes(urls: &[String], group: &str, killed: &tokio::sync::Notify) {
    let client = Client::new(Duration::from_secs(12));
    for number in 0..MESSAGES {
        if number == MESSAGES / 3 {
            killed.notify_one();
        }
        let (id, turn) = (format!("{group}-{number}"), std::cell::Cell::new(number));
        within(Duration::from_secs(20), &format!("{id} is accepted"), async || {
            turn.set(turn.get() + 1);
            let headers = [
                ("ce-specversion", "1.0"),
                ("ce-id", &id),
                ("ce-source", "/test"),
                ("ce-type", "t"),
                ("coracle-group", group),
            ];
            let url = &urls[turn.get() % urls.len()];
            let answer = client.send(Method::POST, url, &headers, id.clone().into()).await?;
            if answer.status == 202 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_and_none_overtakes_its_group() {
    let mut cluster = cluster(3).await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let _ = cluster.run(&["queue", "create", "jobs", "--function", "wc"]).await.ok();
    let urls: Vec<_> = (0..3).map(|node| cluster.url(node, "/.coracle/publish/jobs")).collect();
    let leader = cluster.leading_store(3).await;
    let middle = tokio::sync::Notify::new();
    let groups: Vec<_> = (0..GROUPS).map(|group| format!("group-{group}")).collect();
    let publishing = futures::future::join_all(groups.iter().map(|group| publishes(&urls, group, &middle)));
    let killing = async {
        middle.notified().await;
        cluster.nodes[leader].signal_all(Signal::KILL);
    };
    tokio::join!(publishing, killing);
    cluster.nodes[leader].kill();
    cluster.nodes[leader].start();
    cluster.wait_alive(3).await;

    let all = ended(&cluster, "wc", "succeeded", GROUPS * MESSAGES, AFTER_A_LOSS).await;
    let numbers: BTreeSet<_> =
        all.iter().map(|record| record["message"].as_u64().expect("a number")).collect();
    assert_eq!(numbers.len(), GROUPS * MESSAGES, "each once");
}
