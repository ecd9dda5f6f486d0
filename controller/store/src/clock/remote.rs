//! The clocks of other stores.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb::ReadClockRequest;
use coracle_proto::pb::clocks_client::ClocksClient;
use coracle_transport::{Dialer, Purpose};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::now;

/// Who does not answer by then is left out. A new leader waits for it before it fires.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Who answered, how long that took, and what its clock showed: Unix milliseconds.
pub(super) type Answer = (NodeId, Duration, u64);

/// Connections to other stores, kept while they are members and answer. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Remote(Arc<Mutex<BTreeMap<NodeId, (String, Channel)>>>);

impl Remote {
    /// Asks all of them at once, and forgets others.
    pub(super) async fn read_clocks(
        &self,
        cluster: ClusterId,
        stores: BTreeMap<NodeId, String>,
    ) -> Vec<Answer> {
        self.kept().retain(|node, (address, _)| stores.get(node) == Some(address));
        let mut asking = JoinSet::new();
        for (node, address) in stores {
            let remote = self.clone();
            asking.spawn(async move {
                let asked = remote.read(cluster, node, &address);
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok().flatten();
                if answer.is_none() {
                    // It may be another process by now, or the way there another one.
                    remote.kept().remove(&node);
                }
                answer.map(|(took, unix_ms)| (node, took, unix_ms))
            });
        }
        let mut answers = Vec::new();
        while let Some(done) = asking.join_next().await {
            answers.extend(done.ok().flatten());
        }
        answers
    }

    async fn read(&self, cluster: ClusterId, node: NodeId, address: &str) -> Option<(Duration, u64)> {
        let kept = self.kept().get(&node).map(|(_, channel)| channel.clone());
        let channel = match kept {
            Some(channel) => channel,
            None => {
                let new = Dialer::new(Purpose::Question(ANSWER_TIMEOUT)).connect(address).await.ok()?;
                self.kept().insert(node, (address.to_owned(), new.clone()));
                new
            }
        };
        let asked = now();
        let request = ReadClockRequest { cluster_id: cluster.to_wire() };
        let reply = ClocksClient::new(channel).read(request).await.ok()?;
        Some((now().saturating_duration_since(asked), reply.into_inner().unix_ms))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<NodeId, (String, Channel)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use coracle_proto::pb::ReadClockReply;
    use coracle_proto::pb::clocks_server::{Clocks, ClocksServer};
    use coracle_transport::{Acceptor, Port};
    use tokio::net::TcpListener;
    use tonic::service::Routes;
    use tonic::{Request, Response, Status};

    use super::*;

    /// Remembers over which connections it was asked.
    #[derive(Default, Clone)]
    struct Clock(Arc<Mutex<BTreeSet<Option<std::net::SocketAddr>>>>);

    #[tonic::async_trait]
    impl Clocks for Clock {
        async fn read(&self, asked: Request<ReadClockRequest>) -> Result<Response<ReadClockReply>, Status> {
            self.0.lock().unwrap().insert(asked.remote_addr());
            Ok(Response::new(ReadClockReply { unix_ms: 77 }))
        }
    }

    #[tokio::test]
    async fn a_store_is_asked_over_one_connection_and_one_that_is_gone_is_left_out() {
        let clock = Clock::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Routes::new(ClocksServer::new(clock.clone()));
        let server = tokio::spawn(Acceptor::new(Port::Store).serve(listener, routes, std::future::pending()));
        let remote = Remote::default();
        let (cluster, node) = (ClusterId::new(1), NodeId::new(2));
        let ask = || remote.read_clocks(cluster, BTreeMap::from([(node, address.clone())]));
        for _ in 0..3 {
            let answers = ask().await;
            assert!(matches!(answers[..], [(id, took, 77)] if id == node && took <= ANSWER_TIMEOUT));
        }
        assert_eq!(clock.0.lock().unwrap().len(), 1);
        server.abort();
        server.await.unwrap_err();
        remote.read_clocks(cluster, BTreeMap::new()).await;
        assert!(remote.kept().is_empty(), "no member any more");
        assert!(ask().await.is_empty());
        assert!(remote.kept().is_empty(), "a connection that is of no use");
    }
}
