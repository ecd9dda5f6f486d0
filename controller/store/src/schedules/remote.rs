//! The clocks of other stores.

use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb::ReadClockRequest;
use coracle_proto::pb::clocks_client::ClocksClient;
use coracle_transport::{Dialer, Purpose};
use tokio::task::JoinSet;

use crate::clock;

/// Who does not answer by then is left out. A new leader waits for it before it fires.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Who answered, how long that took, and what its clock showed: Unix milliseconds.
pub(super) type Answer = (NodeId, Duration, u64);

/// Asks all of them at once.
pub(super) async fn read_clocks(cluster: ClusterId, stores: Vec<(NodeId, String)>) -> Vec<Answer> {
    let mut asking = JoinSet::new();
    for (node, address) in stores {
        asking.spawn(async move {
            let asked = read(cluster, &address);
            Some((node, tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok()??))
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = asking.join_next().await {
        if let Ok(Some((node, (took, unix_ms)))) = done {
            answers.push((node, took, unix_ms));
        }
    }
    answers
}

async fn read(cluster: ClusterId, address: &str) -> Option<(Duration, u64)> {
    let channel = Dialer::new(Purpose::Question(ANSWER_TIMEOUT)).connect(address).await.ok()?;
    let asked = clock::now();
    let reply =
        ClocksClient::new(channel).read(ReadClockRequest { cluster_id: cluster.to_wire() }).await.ok()?;
    Some((clock::now().saturating_duration_since(asked), reply.into_inner().unix_ms))
}
