//! A deploy against nodes that answer from a script: what is sent, what is told, how it fails.

use std::time::Duration;

use coracle_proto::status::{Code, Refusal};

use super::*;
use crate::client::fake::{Fake, Script};
use crate::exit::Exit;

struct Project(tempfile::TempDir);

impl Project {
    fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("coracle.toml"), manifest).unwrap();
        std::fs::write(folder.path().join("a.wasm"), vec![5_u8; 600_000]).unwrap();
        Self(folder)
    }

    async fn deploy(&self, nodes: &[&Fake], wait: Duration) -> Result<Vec<Deployed>, Failure> {
        let wanted = read_manifest(self.0.path())?;
        let targets = Targets::given(nodes.iter().map(|node| node.address.clone()).collect());
        let plan =
            Plan { deadline: Deadline::after(wait), wait: true, talk: Talk::new(true, true), prune: None };
        let (deployed, done) = deploy_all(&wanted, targets, plan).await;
        done.map(|()| deployed)
    }
}

const ONE: &str = "[function.a]\ncomponent = 'a.wasm'\nroutes = ['/a/*', 'shop.example/x']\n";
const LONG: Duration = Duration::from_secs(10);

fn replica(node: u64, phase: pb::ReplicaPhase, attempts: u32) -> pb::RolloutReplica {
    let reason = if attempts > 0 { "compilation ran out of memory".to_owned() } else { String::new() };
    let status = pb::ReplicaStatus { phase: phase.into(), attempts, reason, ..pb::ReplicaStatus::default() };
    pb::RolloutReplica { node, status: Some(status) }
}

#[tokio::test]
async fn a_manifest_is_deployed_and_its_urls_are_told() {
    let node = Fake::start(Script::default()).await;
    let two = format!("{ONE}[function.b]\ncomponent = 'a.wasm'\nnamespace = 'shop'\n");
    let deployed = Project::new(&two).deploy(&[&node], LONG).await.unwrap();
    let urls: Vec<_> = deployed.iter().flat_map(|one| one.urls().iter().map(String::as_str)).collect();
    assert_eq!(
        urls,
        ["http://127.0.0.1:8080/a", "http://shop.example:8080/x", "http://127.0.0.1:8080/shop/b"]
    );
    assert_eq!(deployed[1].function(), "shop/b");
    assert_eq!((deployed[0].version(), deployed[0].is_unchanged()), (1, false));
    node.with(|script| {
        assert_eq!((script.uploads, script.changes.len()), (2, 2));
        assert_eq!(script.changes[0].1, script.changes[1].1, "one deploy is one trace");
    });
}

#[tokio::test]
async fn the_leader_is_killed_between_commit_and_answer_and_the_version_is_made_once() {
    let lost = Fake::refusing(tonic::Status::unavailable("connection reset")).await;
    let next = Fake::start(Script::default()).await;
    Project::new(ONE).deploy(&[&lost, &next], LONG).await.unwrap();
    assert_eq!((lost.request_ids().len(), next.request_ids().len()), (1, 1));
    assert_eq!(lost.request_ids(), next.request_ids(), "the retry is the same request");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_sent_to_the_next_node() {
    let broken = Fake::start(Script { broken_uploads: 1, ..Script::default() }).await;
    let next = Fake::start(Script::default()).await;
    Project::new(ONE).deploy(&[&broken, &next], LONG).await.unwrap();
    assert_eq!((broken.with(|script| script.uploads), next.with(|script| script.uploads)), (1, 1));
}

#[tokio::test]
async fn a_refused_change_names_its_step_and_code() {
    let node = Fake::refusing(Refusal::new(Code::RouteConflict, "'/a/*' belongs to 'other'")).await;
    let failure = Project::new(ONE).deploy(&[&node], LONG).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert!(
        failure.message.starts_with("deploy a: '/a/*' belongs to 'other' (code route-conflict"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_version_that_fails_everywhere_names_node_and_reason() {
    let failed = pb::RolloutEvent {
        wanted: 1,
        replicas: vec![replica(2, pb::ReplicaPhase::Failed, 3)],
        ..pb::RolloutEvent::default()
    };
    let node = Fake::start(Script { rollout: vec![failed], ..Script::default() }).await;
    let failure = Project::new(ONE).deploy(&[&node], LONG).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.message.contains("node 2 failed: compilation ran out of memory"), "{failure}");
}

#[tokio::test]
async fn a_deadline_says_what_was_waited_for() {
    let slow = pb::RolloutEvent {
        wanted: 2,
        replicas: vec![replica(1, pb::ReplicaPhase::Ready, 0), replica(3, pb::ReplicaPhase::Compiling, 0)],
        ..pb::RolloutEvent::default()
    };
    let node = Fake::start(Script { rollout: vec![slow], ..Script::default() }).await;
    let failure = Project::new(ONE).deploy(&[&node], Duration::from_millis(700)).await.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.message.contains("node 1 ready, node 3 compiling"), "{failure}");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_usage_error() {
    let node = Fake::start(Script::default()).await;
    let missing = Project::new("[function.a]\ncomponent = 'missing.wasm'\n");
    let failure = missing.deploy(&[&node], LONG).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.message.contains("missing.wasm"), "{failure}");
    assert_eq!(node.with(|script| script.uploads), 0);
}
