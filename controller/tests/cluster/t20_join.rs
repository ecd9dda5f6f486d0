//! Goal: nodes that join become voters, as many as the cluster was made for.

use crate::running::{found_with, join, until};

/// A founder says how many voters there should be: with the default the fourth would not become one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_has_as_many_voters_as_it_was_made_for() {
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = vec![found_with(dirs[0].path(), 4)];
    let seeds = [nodes[0].seed()];
    for dir in &dirs[1..] {
        nodes.push(join(dir.path(), &seeds).await);
    }
    until("four voters", async || {
        let status = nodes[0].status().await?;
        (status.nodes.iter().filter(|node| node.voter).count() == 4).then_some(())
    })
    .await;
    for node in nodes {
        node.stop().await;
    }
}
