//! Goal: `--enable-wasip3` reaches the data plane; without it a function of WASI 0.3 is refused, and the flag is named.

use coracle_tests::wasip3::{HELLO, service};
use coracle_tests::{Cluster, Options, guest};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn without_the_flag_a_function_of_0_3_is_refused() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let file = service(cluster.folder(), "service", HELLO).display().to_string();
    let refused = cluster.run(&["deploy", "service", &file]).await.failed_with(4);
    assert!(refused.stderr.contains("'--enable-wasip3'"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_flag_it_answers_on_every_node() {
    let options = Options { nodes: 2, flags: vec!["--enable-wasip3".to_owned()], ..Options::default() };
    let cluster = Cluster::with(PROGRAM, options).await;
    let file = service(cluster.folder(), "service", HELLO);
    cluster.deploy("service", &file, &["--replicas", "2"]).await;
    cluster.deploy("older", &guest("hello-min.component.wasm"), &[]).await;
    for node in 0..2 {
        cluster.answers(node, "/service").await;
        let answer = cluster.client.post(&cluster.url(node, "/service"), "x").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "0123");
        cluster.answers(node, "/older").await;
    }
}
