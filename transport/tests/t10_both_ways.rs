//! Goal: what goes out by the dialer comes in at the acceptor, and a silent other end is noticed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use coracle_proto::pb::process_client::ProcessClient;
use coracle_proto::pb::process_server::{Process, ProcessServer};
use coracle_proto::pb::{InspectReply, InspectRequest};
use coracle_transport::{Acceptor, Dialer, Port, Purpose};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// As long as a test waits for what has to happen.
const LONG: Duration = Duration::from_secs(30);

/// Answers at once where it is asked for metrics, and never where it is not.
struct Answers;

#[tonic::async_trait]
impl Process for Answers {
    async fn inspect(&self, request: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        if !request.into_inner().metrics {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(InspectReply::default()))
    }
}

async fn port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn every_purpose_reaches_every_port() {
    let purposes = [
        Purpose::Calls,
        Purpose::Artifact,
        Purpose::Following,
        Purpose::Shared,
        Purpose::Logs,
        Purpose::Upload,
        Purpose::Command,
        Purpose::Question(LONG),
        Purpose::Raft,
    ];
    for served in [Port::Control, Port::Data { streams_max: 8 }] {
        let (listener, address) = port().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async { drop(stopped.await) };
        let services = Routes::new(ProcessServer::new(Answers));
        let server = tokio::spawn(Acceptor::new(served).serve(listener, services, until));
        for purpose in purposes {
            let dialer = Dialer::new(purpose);
            for channel in [dialer.connect(&address).await, dialer.connect_lazily(&address)] {
                let asked = InspectRequest { metrics: true };
                ProcessClient::new(channel.unwrap()).inspect(asked).await.unwrap();
            }
        }
        stop.send(()).unwrap();
        timeout(LONG, server).await.expect("it ends").unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_question_that_is_not_answered_ends_and_another_one_waits() {
    let (listener, address) = port().await;
    let services = Routes::new(ProcessServer::new(Answers));
    tokio::spawn(Acceptor::new(Port::Control).serve(listener, services, std::future::pending()));
    let ask = async |purpose| {
        let channel = Dialer::new(purpose).connect(&address).await.unwrap();
        ProcessClient::new(channel).inspect(InspectRequest { metrics: false }).await
    };
    let soon = Duration::from_millis(50);
    assert!(timeout(LONG, ask(Purpose::Question(soon))).await.expect("an end").is_err());
    assert!(timeout(soon * 4, ask(Purpose::Command)).await.is_err(), "no bound was asked for");
}

#[tokio::test]
async fn who_takes_the_connection_and_says_nothing_is_noticed() {
    let (_silent, address) = port().await;
    let channel = Dialer::new(Purpose::Raft).connect(&address).await.unwrap();
    let mut client = ProcessClient::new(channel);
    let asked = timeout(LONG, client.inspect(InspectRequest { metrics: false })).await;
    assert!(asked.expect("an end").is_err());
}

#[tokio::test]
async fn what_is_no_address_is_refused_at_once() {
    for wrong in ["", "no host:1"] {
        assert!(Dialer::new(Purpose::Shared).connect_lazily(wrong).is_err(), "'{wrong}'");
    }
}
