//! Goal: one controller founds a cluster, answers, refuses what it must, and comes back from its store.

use crate::running::{found, start, until};
use coracle_controller::model::COMMAND_FORMAT;
use coracle_controller::{Listener, RunError, identity};
use coracle_proto::pb::process_client::ProcessClient;
use coracle_proto::pb::{
    self, ChangeContext, Deploy, DeployRequest, InfoRequest, InspectRequest, JoinRequest, ProposeRequest,
    RollbackRequest,
};
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_answers_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    let status = until("a leader and a record", async || {
        node.status().await.filter(|status| status.quorum && status.nodes.len() == 1)
    })
    .await;
    assert_eq!(status.leader, 1);
    assert_eq!(status.cluster_name, "boat");
    assert!(status.nodes[0].voter);
    let info = node.admin().info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.cluster_id, node.identity.cluster.to_wire());
    assert_eq!(info.controllers, [node.seed()]);

    let mut process = ProcessClient::new(node.channel());
    let inspected = process.inspect(InspectRequest { metrics: true }).await.unwrap().into_inner();
    assert!(inspected.ready, "{:?}", inspected.reasons);
    assert!(inspected.metrics.contains("coracle_raft_leader 1"), "{}", inspected.metrics);
    assert!(inspected.metrics.contains("coracle_raft_fsync_seconds_bucket"), "{}", inspected.metrics);
    assert!(!inspected.metrics.contains("# EOF"));

    let (dir_path, identity, address) = node.stop().await;
    let node = start(&dir_path, identity, address);
    let again = until("the same cluster", async || node.status().await.filter(|status| status.quorum)).await;
    assert!(again.revision >= status.revision, "{} after {}", again.revision, status.revision);
    assert!(again.term > status.term);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_learn_the_services_by_reflection() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(node.channel());
    let mut answers = client.server_reflection_info(tokio_stream::iter([list])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["coracle.v1.Admin", "coracle.v1.Control"] {
        assert!(names.iter().any(|known| known == name), "no {name} in {names:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_codes() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a leader", async || node.status().await.filter(|status| status.quorum && status.leader == 1))
        .await;
    let deploy = Deploy { name: "hello".into(), digest: vec![7; 32].into(), ..Deploy::default() };
    let asked = DeployRequest { context: None, deploy: Some(deploy) };
    let code = |status: tonic::Status| Refusal::from_status(&status).code;
    assert_eq!(code(node.admin().deploy(asked).await.unwrap_err()), Code::NoWorker);

    let context = ChangeContext { request_id: vec![1; 16].into(), since: 0, expected: 0 };
    let asked =
        RollbackRequest { context: Some(context), name: "nobody".into(), ..RollbackRequest::default() };
    assert_eq!(code(node.admin().rollback(asked).await.unwrap_err()), Code::FunctionNotFound);

    let foreign = JoinRequest { cluster_id: vec![9; 16].into(), ..JoinRequest::default() };
    assert_eq!(code(node.control().join(foreign).await.unwrap_err()), Code::WrongCluster);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_join_gives_one_id() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a leader", async || node.status().await.filter(|status| status.quorum && status.leader == 1))
        .await;
    let join = |request: u8| {
        let record = coracle_proto::codec::node_to_wire(&crate::running::own_record("worker"));
        let worker = pb::Node { roles: vec![pb::Role::Worker.into()], ..record };
        JoinRequest { node: Some(worker), request_id: vec![request; 16].into(), ..JoinRequest::default() }
    };
    let mut control = node.control();
    let first = control.join(join(1)).await.unwrap().into_inner();
    assert_eq!(control.join(join(1)).await.unwrap().into_inner().node_id, first.node_id);
    assert_eq!(control.join(join(2)).await.unwrap().into_inner().node_id, first.node_id + 1);
    let gone = JoinRequest { known_id: 77, cluster_id: first.cluster_id, ..join(3) };
    let refused = Refusal::from_status(&control.join(gone).await.unwrap_err());
    assert_eq!(refused.code, Code::NodeNotFound, "{refused}");
    node.stop().await;
}

/// Every voter halts at a command in the log that it cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_cannot_be_read_never_gets_into_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    let status = async || {
        let done = |status: &pb::StatusReply| status.quorum && status.format == COMMAND_FORMAT;
        node.status().await.filter(done)
    };
    let before = until("a leader and nothing more to decide", status).await.revision;
    let unknown = pb::Envelope {
        cluster_id: node.identity.cluster.to_wire(),
        request_id: vec![1; 16].into(),
        command: None,
        ..pb::Envelope::default()
    };
    let newer = pb::Envelope {
        command: Some(pb::Command { kind: Some(pb::command::Kind::SetVotersWanted(Default::default())) }),
        format: 99,
        ..unknown.clone()
    };
    for (envelope, code) in [
        (vec![0xff; 9], Code::InvalidArgument),
        (unknown.encode_to_vec(), Code::UpgradeRequired),
        (newer.encode_to_vec(), Code::UpgradeRequired),
    ] {
        let asked = ProposeRequest { envelope: envelope.into() };
        let refused = Refusal::from_status(&node.control().propose(asked).await.unwrap_err());
        assert_eq!(refused.code, code, "{refused}");
    }
    assert_eq!(status().await.expect("it leads on").revision, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let first = Listener::bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = Listener::bind(first.address()).unwrap_err();
    assert!(matches!(error, RunError::Bind { .. }) && !error.is_configuration());
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_without_its_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a leader", async || node.status().await.filter(|status| status.quorum)).await;
    let (path, identity, address) = node.stop().await;
    let again = identity::load(&path).unwrap().unwrap();
    assert_eq!(again, identity);
    // Taken away, and emptied: the mount point of a disk that is not mounted is an empty folder.
    let log = path.join("raft");
    for emptied in [false, true] {
        std::fs::remove_dir_all(path.join("raft")).unwrap();
        if emptied {
            std::fs::create_dir_all(&log).unwrap();
        }
        let error = start(&path, identity.clone(), address).ended().await.unwrap_err();
        assert!(error.is_configuration(), "{error}");
        assert_eq!(error.code(), Some(Code::StoreDamaged), "{error}");
        assert!(error.to_string().ends_with(&format!("is {})", path.display())), "{error}");
        assert!(!log.join("state").exists(), "a second log was begun");
    }
}
