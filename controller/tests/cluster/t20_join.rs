//! Goal: a join gives one id however often it is tried, and one that the cluster has forgotten begins anew.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use crate::running::{found, found_with, join, own_record, until};
use coracle_controller::identity;
use coracle_proto::id::RequestId;
use coracle_proto::pb::control_server::{Control, ControlServer};
use coracle_proto::pb::{
    ExchangeReply, ForwardAnswers, ForwardBatch, JoinReply, JoinRequest, NodeProcesses, NodeStatus, Orders,
    ProposeReply, ProposeRequest, SoftBatch, TellReply, WatchFrame, WatchRequest,
};
use tokio::net::TcpListener;
use tokio_stream::Empty;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// A controller that has forgotten what the first to ask asked for, and is then of no use.
#[derive(Debug, Default, Clone)]
struct Forgetful(Arc<Mutex<Vec<JoinRequest>>>);

type Answer<T> = Result<Response<T>, Status>;

fn no_use<T>() -> Answer<T> {
    Err(Status::unavailable("not asked for here"))
}

#[tonic::async_trait]
impl Control for Forgetful {
    async fn join(&self, request: Request<JoinRequest>) -> Answer<JoinReply> {
        let mut asked = self.0.lock().expect("no panic");
        asked.push(request.into_inner());
        if asked.len() > 1 {
            return no_use();
        }
        Ok(Response::new(JoinReply { forgotten: true, ..JoinReply::default() }))
    }

    type WatchStream = Empty<Result<WatchFrame, Status>>;
    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        no_use()
    }

    type ReportStream = Empty<Result<Orders, Status>>;
    async fn report(&self, _: Request<Streaming<NodeStatus>>) -> Answer<Self::ReportStream> {
        no_use()
    }

    async fn exchange(&self, _: Request<SoftBatch>) -> Answer<ExchangeReply> {
        no_use()
    }

    async fn tell(&self, _: Request<NodeProcesses>) -> Answer<TellReply> {
        no_use()
    }

    async fn propose(&self, _: Request<ProposeRequest>) -> Answer<ProposeReply> {
        no_use()
    }

    type ForwardStream = Empty<Result<ForwardAnswers, Status>>;
    async fn forward(&self, _: Request<Streaming<ForwardBatch>>) -> Answer<Self::ForwardStream> {
        no_use()
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_is_forgotten_begins_anew() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let controller = found(dirs[0].path());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let forgetful = Forgetful::default();
    let seeds = [listener.local_addr().unwrap().to_string(), controller.seed()];
    let service = ControlServer::new(forgetful.clone());
    tokio::spawn(
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
    );

    let begun = RequestId::new(7);
    let pending = dirs[1].path().join("join");
    std::fs::write(&pending, format!("{begun} 1\n")).unwrap();
    let identity = identity::join(dirs[1].path(), &seeds, &own_record("late")).await.unwrap();
    assert_eq!(identity.node.get(), 2);
    assert!(!pending.exists(), "it is answered");
    let asked = forgetful.0.lock().unwrap().clone();
    assert_eq!(asked[0].request_id, begun.to_wire());
    assert!(asked[1..].iter().all(|again| again.request_id != begun.to_wire()), "{asked:?}");
    controller.stop().await;
}
