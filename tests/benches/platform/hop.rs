//! What a call takes more where another node runs it, beside the same exchange of frames with a server that does nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use coracle_proto::pb::worker_client::WorkerClient;
use coracle_proto::pb::worker_server::{Worker, WorkerServer};
use coracle_proto::pb::{self, answer_frame, call_frame};
use coracle_tests::{Cluster, guest};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::process::Server;

/// Calls of one measurement, one after the other.
const CALLS: usize = 3000;
/// Measurements of each, in turn.
const ROUNDS: usize = 5;

/// Answers each call with a head and an end.
struct Echo;

#[tonic::async_trait]
impl Worker for Echo {
    type CallStream = tokio_stream::Iter<std::vec::IntoIter<Result<pb::AnswerFrame, Status>>>;

    async fn call(
        &self,
        request: Request<Streaming<pb::CallFrame>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let first = request.into_inner().message().await?.and_then(|frame| frame.kind);
        let Some(call_frame::Kind::Head(head)) = first else {
            return Err(Status::invalid_argument("no head"));
        };
        let head = pb::AnswerHead { status: 200, first_chunk: head.first_chunk, ..pb::AnswerHead::default() };
        let kinds = [answer_frame::Kind::Head(head), answer_frame::Kind::Tail(pb::AnswerTail::default())];
        let frames: Vec<_> = kinds.map(|kind| Ok(pb::AnswerFrame { kind: Some(kind) })).into();
        Ok(Response::new(tokio_stream::iter(frames)))
    }

    async fn ping(&self, _: Request<pb::PingRequest>) -> Result<Response<pb::PingReply>, Status> {
        Ok(Response::new(pb::PingReply::default()))
    }

    async fn cancel(&self, _: Request<pb::CancelRequest>) -> Result<Response<pb::CancelReply>, Status> {
        Ok(Response::new(pb::CancelReply {}))
    }
}

/// Serves until it is killed.
pub(crate) fn serve(address: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let server =
            tonic::transport::Server::builder().tcp_nodelay(true).add_service(WorkerServer::new(Echo));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
}

/// One function with one replica, called through both of two nodes.
pub(crate) async fn run() {
    println!(
        "\n== hop: what a call takes more where another node runs it; medians of {CALLS} calls, {ROUNDS} rounds"
    );
    let cluster = Cluster::start(crate::PROGRAM, 2).await;
    let component = guest("hello-min.component.wasm");
    cluster.deploy("hello", &component, &["--replicas", "1"]).await;
    for node in 0..2 {
        cluster.answers(node, "/hello").await;
    }
    let answer = cluster.client.get(&cluster.url(0, "/hello")).await.unwrap();
    // Ids are given in the order in which nodes joined.
    let here = answer.header("coracle-node").parse::<usize>().expect("a node's id") - 1;
    let server = Server::start_silent("the echo", |address| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(crate::ECHO).arg(address);
        command
    })
    .await;
    let mut client = WorkerClient::connect(format!("http://{}", server.address)).await.unwrap();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let http = async |node: usize| {
            let url = cluster.url(node, "/hello");
            median(async || assert_eq!(cluster.client.get(&url).await.unwrap().status, 200)).await
        };
        let (local, remote) = (http(here).await, http(1 - here).await);
        let echo = median(async || echo(&mut client).await).await;
        rounds.push((remote.saturating_sub(local), local, remote, echo));
    }
    rounds.sort_unstable();
    let (added, local, remote, echo) = rounds[ROUNDS / 2];
    let ratio = added.as_secs_f64() / echo.as_secs_f64();
    println!(
        "local {local:.0?}, on another node {remote:.0?}: {added:.0?} more; an echo {echo:.0?}: {ratio:.2} of it"
    );
}

async fn echo(client: &mut WorkerClient<tonic::transport::Channel>) {
    let head = pb::CallHead {
        method: "GET".into(),
        path_and_query: "/hello".into(),
        authority: "localhost".into(),
        end: true,
        ..pb::CallHead::default()
    };
    let frame = pb::CallFrame { kind: Some(call_frame::Kind::Head(head)) };
    let mut frames = client.call(tokio_stream::iter([frame])).await.unwrap().into_inner();
    while frames.message().await.unwrap().is_some() {}
}

async fn median(mut call: impl AsyncFnMut()) -> Duration {
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        call().await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took[CALLS / 2]
}
