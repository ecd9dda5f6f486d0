//! Goal: functions in every language, as their own tools build them, run on three nodes; the example `sum` among them.

use std::path::PathBuf;
use std::time::Duration;

use coracle_tests::{Client, Cluster, big_guest, eventually, example_sum, guest, guests_small};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Name, file, method, path below the name, body, a part of the answer.
type Case = (&'static str, PathBuf, &'static str, &'static str, &'static str, &'static str);

fn cases() -> Vec<Case> {
    let small = guests_small()
        .into_iter()
        .map(|(name, file, method, path, body, expected)| (name, guest(file), method, path, body, expected));
    let numbers = "{\"numbers\":[1,2,3]}";
    let big = [
        ("js-greets", big_guest("js-fetch-event.component.wasm"), "GET", "?name=Ada", "", "Ada"),
        ("js-adds", big_guest("js-fetch-event.component.wasm"), "POST", "", numbers, "6"),
        ("sum", example_sum(), "POST", "", numbers, "{\"sum\":6}"),
        ("py-greets", big_guest("py-http.component.wasm"), "GET", "?name=Ada", "", "Ada"),
        ("py-adds", big_guest("py-http.component.wasm"), "POST", "", numbers, "6"),
        ("go-wc", big_guest("go-wc.wasm"), "POST", "", "one two three\n", "\"words\":3"),
        ("qjs", big_guest("qjs-cmd.component.wasm"), "POST", "", numbers, "6"),
    ];
    small.chain(big).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_language_runs_on_three_nodes() {
    let cluster = Cluster::start(PROGRAM, 3).await;
    let client = Client::new(Duration::from_secs(60));
    for (name, file, method, path, body, expected) in cases() {
        cluster.deploy(name, &file, &["--timeout", "60s", "--wait-timeout", "280s"]).await;
        for node in 0..3 {
            let url = cluster.url(node, &format!("/{name}{path}"));
            eventually(&format!("{name} answers at node {node}"), async || {
                let answer = client.send(method.parse().unwrap(), &url, &[], body.into()).await?;
                if answer.status == 200 && answer.text().contains(expected) {
                    return Ok(());
                }
                Err(format!("{} {:?}", answer.status, answer.text()))
            })
            .await;
        }
    }
}
