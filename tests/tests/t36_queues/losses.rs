//! Goal: nodes are killed while messages are published and delivered: none is lost, and those of a group keep their order.

use std::collections::BTreeMap;

use coracle_tests::deliveries::Deliveries;

use super::*;

/// Messages of each publisher.
const MESSAGES: usize = 60;
/// Publishers, each with a group of its own.
const GROUPS: usize = 4;

/// Publishes until each message is accepted, whoever is killed meanwhile; the invocations, in their order.
async fn publishes(urls: &[String], group: &str, killed: &tokio::sync::Notify) -> Vec<String> {
    let mut invocations = Vec::with_capacity(MESSAGES);
    let client = Client::new(Duration::from_secs(12));
    for number in 0..MESSAGES {
        if number == MESSAGES / 3 {
            killed.notify_one();
        }
        let (id, turn) = (format!("{group}-{number}"), std::cell::Cell::new(number));
        let accepted = within(Duration::from_secs(20), &format!("{id} is accepted"), async || {
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
            if answer.status == 202 {
                Ok(answer)
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        })
        .await;
        let told = super::accepted(&accepted);
        invocations.push(told[0]["invocation"].as_str().expect("an id").to_owned());
    }
    invocations
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
    let (published, ()) = tokio::join!(publishing, killing);
    cluster.nodes[leader].kill();
    cluster.nodes[leader].start();
    cluster.wait_alive(3).await;

    let all = ended(&cluster, "wc", "succeeded", GROUPS * MESSAGES, AFTER_A_LOSS).await;
    let all = Deliveries {
        sent: published.iter().flatten().cloned().collect(),
        records: all,
        runs: Vec::new(),
        queue: queue(&cluster, "jobs").await,
    };
    assert_eq!(all.wrong(), Vec::<String>::new());
    let records: BTreeMap<_, _> =
        all.records.iter().map(|record| (record["id"].as_str().expect("an id"), record)).collect();
    for group in &published {
        let attempts =
            group.iter().flat_map(|id| records[id.as_str()]["reports"].as_array().expect("reports"));
        let times: Vec<_> = attempts.map(from_to).collect();
        let overtaken = times.windows(2).find(|pair| pair[1].0 < pair[0].1);
        assert_eq!(overtaken, None, "one of a group began before the one before it had ended");
    }
}

/// Milliseconds of the day in which an attempt began and ended.
fn from_to(report: &Value) -> (u64, u64) {
    let text = report["started"].as_str().unwrap_or_else(|| panic!("{report}"));
    // 2026-01-01T12:34:56.789Z
    let part = |from: usize, to: usize| text[from..to].parse::<u64>().expect("digits");
    let begun = ((part(11, 13) * 60 + part(14, 16)) * 60 + part(17, 19)) * 1000 + part(20, 23);
    (begun, begun + report["took_ms"].as_u64().expect("a number"))
}
