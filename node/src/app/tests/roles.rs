//! Goal: a node that is only a gateway calls one that is only a worker, and neither does what the other is for.

use std::collections::BTreeSet;

use coracle_proto::id::NodeId;
use coracle_proto::pb::StatRequest;
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::record::{Addresses, Node, Record, Replica, Role};

use super::controller::Controller;
use super::whole::{CLUSTER, Plane, answers, guest, state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_calls_a_worker_and_each_does_its_own_only() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (controller, address, _serving) = Controller::start(CLUSTER).await;
    let gateway = Plane::start_as(one.path(), &[address], 1, &[Role::Gateway]);
    let worker = Plane::start_as(two.path(), &[address], 2, &[Role::Worker]);
    let stored = worker.put(&guest("hello-min.component.wasm")).await;
    assert_eq!(stored.holders, [2]);

    let mut records = Vec::new();
    for record in state(&worker, &stored, 5) {
        match record {
            Record::Node(node) => records.extend([
                Record::Node(Node {
                    roles: BTreeSet::from([Role::Gateway]),
                    addresses: Addresses::default(),
                    ..node.clone()
                }),
                Record::Node(Node { id: NodeId::new(2), roles: BTreeSet::from([Role::Worker]), ..node }),
            ]),
            Record::Replica(it) => records.push(Record::Replica(Replica { node: NodeId::new(2), ..it })),
            other => records.push(other),
        }
    }
    controller.set(5, records);
    answers(&gateway).await;
    let (_, answer) = gateway.get("/hello").await.unwrap();
    assert!(answer.contains("coracle-node: 2"), "{answer}");
    assert!(worker.get("/hello").await.is_none(), "it is no gateway");

    let stat = StatRequest { digest: stored.digest.clone(), renew: false };
    let held = ArtifactsClient::connect(worker.url()).await.unwrap().stat(stat.clone()).await.unwrap();
    assert!(held.into_inner().held);
    let refused = ArtifactsClient::connect(gateway.url()).await.unwrap().stat(stat).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented, "it is no worker");
    gateway.end().await;
    worker.end().await;
}
