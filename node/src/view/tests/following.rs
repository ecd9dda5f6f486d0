//! Goal: the view follows any controller, resumes where it was, never goes back, and survives a restart without one.

use std::path::Path;

use coracle_proto::id::{
    ClusterId, Epoch, FunctionId, GroupId, NodeId, Revision, StoreId, VersionId, VersionNumber,
};
use coracle_proto::key::Key;
use coracle_proto::pb::{self, watch_frame::Body};
use coracle_proto::record::{
    Addresses, Change, DataGroup, Node, NodeState, Record, Replica, Role, Route, SLOTS, SlotTable,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::controller::{Controller, changed, snapshot};
use crate::view::{Follower, Options, Phase, ViewHandle};
use crate::worker::tests::until;

const CLUSTER: ClusterId = ClusterId::new(5);

fn function() -> FunctionId {
    "f".parse().unwrap()
}

fn route(text: &str) -> Record {
    Record::Route(Route { spec: text.parse().unwrap(), function: function() })
}

fn version() -> VersionId {
    VersionId { function: function(), number: VersionNumber::new(1) }
}

fn replica(node: u64) -> Record {
    Record::Replica(Replica { version: version(), node: NodeId::new(node), epoch: Epoch::new(9) })
}

fn node(id: u64, grpc: &str) -> Record {
    Record::Node(Node {
        id: NodeId::new(id),
        name: format!("n{id}"),
        roles: Role::DEFAULT.into_iter().collect(),
        zone: String::new(),
        version: String::new(),
        addresses: Addresses { grpc: grpc.to_owned(), ..Addresses::default() },
        state: NodeState::Alive,
        registered: Revision::new(1),
        slots: 1,
        memory_bytes: 1,
        store: StoreId::UNKNOWN,
    })
}

fn slots(group: u32) -> Record {
    let groups = vec![GroupId::new(group); SLOTS];
    Record::Slots(SlotTable { groups, revision: Revision::new(3) })
}

struct Running {
    view: ViewHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(folder: &Path, controllers: Vec<String>) -> Self {
        let options =
            Options { cluster: CLUSTER, node: NodeId::new(1), folder: folder.to_owned(), controllers };
        let follower = Follower::open(&options);
        let (view, stop) = (follower.view(), CancellationToken::new());
        let task = tokio::spawn(follower.run(stop.clone()));
        Self { view, stop, task }
    }

    fn revision(&self) -> u64 {
        self.view.load().routing.stamp.revision.get()
    }

    fn finds(&self, path: &str) -> bool {
        self.view.load().routing.content.routes().find("", path).is_some()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn it_follows_resumes_and_outlives_its_controller() {
    let (folder, first) = (folder(), Controller::start(CLUSTER).await);
    let second = Controller::start(CLUSTER).await;
    let running = Running::start(folder.path(), vec![first.address.to_string()]);
    until("the first is followed", || first.followed_from() == [0]).await;
    let named = node(2, &second.address.to_string());
    first.send(7, snapshot(vec![named, slots(1), route("/a/*")], false)).await;
    first.send(7, snapshot(vec![replica(2), replica(3)], true)).await;
    until("the snapshot is whole", || running.revision() == 7).await;
    assert!(running.finds("/a/b"));
    assert_eq!(running.view.load().routing.content.replicas(&version()).len(), 2);

    let gone = Key::Replica(version(), NodeId::new(3));
    first.send(8, changed(vec![Change::put(route("/b")), Change::remove(gone)])).await;
    until("the change is there", || running.revision() == 8).await;
    assert!(running.finds("/b") && running.finds("/a/b"));
    assert_eq!(running.view.load().routing.content.replicas(&version()).len(), 1);

    drop(first);
    until("the controller that the view names is followed", || second.followed_from() == [8]).await;
    second.send(9, changed(vec![Change::put(route("/c"))])).await;
    until("it goes on", || running.revision() == 9).await;
    running.end().await;

    let offline = Running::start(folder.path(), vec![]);
    assert_eq!((offline.revision(), offline.finds("/a/x"), offline.finds("/c")), (9, true, true));
    until("it asks the controller that it knows, from where it was", || second.followed_from() == [8, 9])
        .await;
    offline.end().await;
}

#[tokio::test]
async fn it_knows_who_keeps_what_and_keeps_that_itself() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let running = Running::start(folder.path(), vec![controller.address.to_string()]);
    until("it is followed", || controller.followed_from() == [0]).await;
    let group = |id: u32, members: &[u64]| {
        Record::Group(DataGroup {
            id: GroupId::new(id),
            members: members.iter().copied().map(NodeId::new).collect(),
            revision: Revision::new(3),
            begun: true,
        })
    };
    let of_shop = |view: &ViewHandle| {
        let view = view.load();
        let group = view.routing.content.group_of(&"shop".parse().unwrap())?;
        Some((group.id.get(), group.members.iter().map(|id| id.get()).collect::<Vec<_>>()))
    };
    controller.send(5, snapshot(vec![node(2, ""), slots(1)], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    assert_eq!(of_shop(&running.view), None, "the group is not known");
    controller.send(6, changed(vec![Change::put(group(1, &[2, 3])), Change::put(group(2, &[4]))])).await;
    until("the groups are there", || running.revision() == 6).await;
    assert_eq!(of_shop(&running.view), Some((1, vec![2, 3])));
    controller
        .send(7, changed(vec![Change::put(slots(2)), Change::remove(Key::Group(GroupId::new(1)))]))
        .await;
    until("they moved", || running.revision() == 7).await;
    assert_eq!(of_shop(&running.view), Some((2, vec![4])));
    running.end().await;

    let offline = Running::start(folder.path(), vec![]);
    assert_eq!((offline.revision(), of_shop(&offline.view)), (7, Some((2, vec![4]))));
    assert_eq!(offline.view.load().routing.content.groups().len(), 1);
    offline.end().await;
}

#[tokio::test]
async fn a_file_of_an_older_program_serves_and_is_asked_for_anew() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let controllers = vec![controller.address.to_string()];
    let running = Running::start(folder.path(), controllers.clone());
    until("it is followed", || controller.followed_from() == [0]).await;
    controller.send(5, snapshot(vec![route("/a")], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    running.end().await;
    let file = folder.path().join("gateway.view");
    let mut old = std::fs::read(&file).unwrap();
    assert_eq!(old[4..8], [2, 0, 0, 0], "its format");
    old[4] = 1;
    std::fs::write(&file, &old).unwrap();

    let running = Running::start(folder.path(), controllers.clone());
    assert_eq!((running.revision(), running.finds("/a")), (5, true));
    until("everything is asked for", || controller.followed_from() == [0, 0]).await;
    controller.send(4, snapshot(vec![route("/old")], true)).await;
    until("it never goes back", || controller.followed_from() == [0, 0, 0]).await;
    controller.send(5, snapshot(vec![route("/a"), slots(1)], true)).await;
    until("it is there", || !running.view.load().routing.partial).await;
    running.end().await;
    let running = Running::start(folder.path(), controllers);
    until("it goes on", || controller.followed_from() == [0, 0, 0, 5]).await;
    running.end().await;
}

#[tokio::test]
async fn what_an_older_controller_did_not_tell_is_asked_of_the_next() {
    let (folder, first) = (folder(), Controller::start(CLUSTER).await);
    let second = Controller::start(CLUSTER).await;
    let running = Running::start(folder.path(), vec![first.address.to_string()]);
    until("it is followed", || first.followed_from() == [0]).await;
    first.send(5, snapshot(vec![node(2, &second.address.to_string())], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    drop(first);
    until("the next one is asked for everything", || second.followed_from() == [0]).await;
    second.send(5, snapshot(vec![node(2, &second.address.to_string()), slots(1)], true)).await;
    until("there are slots", || running.view.load().routing.since() == Revision::new(5)).await;
    running.end().await;
}

#[tokio::test]
async fn it_never_goes_back() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let running = Running::start(folder.path(), vec![controller.address.to_string()]);
    until("it is followed", || controller.followed_from() == [0]).await;
    controller.send(5, snapshot(vec![route("/a")], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    for (times, old) in [snapshot(vec![route("/old")], true), changed(vec![Change::put(route("/old"))])]
        .into_iter()
        .enumerate()
    {
        controller.send(4, old).await;
        until("it leaves who leads it back, and returns", || controller.followed_from().len() == times + 2)
            .await;
        assert_eq!((running.revision(), running.finds("/a"), running.finds("/old")), (5, true, false));
    }
    assert_eq!(controller.followed_from(), [0, 5, 5]);
    running.end().await;
}

#[tokio::test]
async fn a_part_of_a_snapshot_changes_nothing() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let running = Running::start(folder.path(), vec![controller.address.to_string()]);
    until("it is followed", || controller.followed_from() == [0]).await;
    controller.send(5, snapshot(vec![route("/a")], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    controller.send(6, snapshot(vec![route("/b")], false)).await;
    // The frame after it tells that it was read.
    let soft = pb::NodeStatus::default();
    controller.send(5, Body::Soft(pb::SoftBatch { nodes: vec![soft], ..pb::SoftBatch::default() })).await;
    controller.send(6, snapshot(vec![route("/c")], true)).await;
    until("it is whole", || running.revision() == 6).await;
    assert_eq!((running.finds("/a"), running.finds("/b"), running.finds("/c")), (false, true, true));
    running.end().await;
}

#[tokio::test]
async fn another_cluster_is_not_believed() {
    let (folder, foreign) = (folder(), Controller::start(ClusterId::new(6)).await);
    let own = Controller::start(CLUSTER).await;
    let both = vec![foreign.address.to_string(), own.address.to_string()];
    let running = Running::start(folder.path(), both);
    until("the foreign one is asked", || !foreign.followed_from().is_empty()).await;
    foreign.send(100, snapshot(vec![route("/foreign")], true)).await;
    until("the next one is asked", || own.followed_from() == [0]).await;
    own.send(1, snapshot(vec![route("/own")], true)).await;
    until("its view is taken", || running.revision() == 1).await;
    assert!(!running.finds("/foreign"));
    running.end().await;
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_not_used() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let running = Running::start(folder.path(), vec![controller.address.to_string()]);
    until("it is followed", || controller.followed_from() == [0]).await;
    controller.send(5, snapshot(vec![route("/a")], true)).await;
    until("the snapshot is there", || running.revision() == 5).await;
    running.end().await;
    let file = folder.path().join("gateway.view");
    let good = std::fs::read(&file).unwrap();
    let load = || {
        let (cluster, node) = (CLUSTER, NodeId::new(1));
        let options = Options { cluster, node, folder: folder.path().to_owned(), controllers: vec![] };
        Follower::open(&options).view().load().routing.stamp.revision.get()
    };
    assert_eq!(load(), 5);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x40;
        std::fs::write(&file, &bad).unwrap();
        assert_eq!(load(), 0, "byte {place} was changed");
        std::fs::write(&file, &good[..place]).unwrap();
        assert_eq!(load(), 0, "cut at {place}");
    }
    std::fs::write(&file, &good).unwrap();
    let (cluster, node) = (ClusterId::new(9), NodeId::new(1));
    let options = Options { cluster, node, folder: folder.path().to_owned(), controllers: vec![] };
    assert_eq!(Follower::open(&options).view().load().revision().get(), 0, "of another cluster");
}

/// What changed on node 2 after `since`, up to `changes`.
fn delta(since: u64, changes: u64, sequence: u64, phase: pb::ReplicaPhase) -> pb::SoftBatch {
    let replica = pb::ReplicaStatus {
        namespace: "default".to_owned(),
        name: "f".to_owned(),
        version: 1,
        epoch: 9,
        phase: phase.into(),
        ..pb::ReplicaStatus::default()
    };
    let status = pb::NodeStatus {
        node: 2,
        incarnation: 1,
        sequence,
        changes,
        since,
        replicas: vec![replica],
        ..Default::default()
    };
    pb::SoftBatch { nodes: vec![status], ..pb::SoftBatch::default() }
}

#[tokio::test]
async fn what_nodes_say_is_told_and_only_news_count() {
    let (folder, controller) = (folder(), Controller::start(CLUSTER).await);
    let running = Running::start(folder.path(), vec![controller.address.to_string()]);
    until("it is followed", || controller.followed_from() == [0]).await;
    controller.send(5, snapshot(vec![node(2, "")], true)).await;
    let say = async |sequence, phase: pb::ReplicaPhase| {
        let replica = pb::ReplicaStatus {
            namespace: "default".to_owned(),
            name: "f".to_owned(),
            version: 1,
            epoch: 9,
            phase: phase.into(),
            ..pb::ReplicaStatus::default()
        };
        let status = pb::NodeStatus {
            node: 2,
            incarnation: 1,
            sequence,
            replicas: vec![replica],
            ..Default::default()
        };
        let stranger = pb::NodeStatus { node: 3, ..status.clone() };
        let batch = pb::SoftBatch { nodes: vec![status, stranger], ..pb::SoftBatch::default() };
        controller.send(5, Body::Soft(batch)).await;
    };
    let phase = |epoch| running.view.load().phase(&version(), NodeId::new(2), Epoch::new(epoch));
    say(2, pb::ReplicaPhase::Ready).await;
    until("it is told", || phase(9) == Some(Phase::Ready)).await;
    assert_eq!(phase(8), None, "of another assignment nothing is known");
    say(1, pb::ReplicaPhase::Failed).await;
    say(3, pb::ReplicaPhase::Compiling).await;
    until("the newer one counts", || phase(9) == Some(Phase::Compiling)).await;
    controller.send(5, Body::Soft(delta(1, 4, 0, pb::ReplicaPhase::Ready))).await;
    controller.send(5, Body::Soft(delta(5, 6, 0, pb::ReplicaPhase::Ready))).await;
    controller.send(5, Body::Soft(delta(0, 3, 5, pb::ReplicaPhase::Fetching))).await;
    until("what goes on counts", || phase(9) == Some(Phase::Fetching)).await;
    controller.send(5, Body::Soft(delta(2, 4, 6, pb::ReplicaPhase::Ready))).await;
    until("and so does what overlaps", || phase(9) == Some(Phase::Ready)).await;
    controller.send(5, Body::Soft(delta(4, 5, 7, pb::ReplicaPhase::Unspecified))).await;
    until("what is not assigned is gone", || phase(9).is_none()).await;
    assert!(!running.view.load().soft.contains_key(&NodeId::new(3)), "no such node");
    controller.send(6, changed(vec![Change::remove(Key::Node(NodeId::new(2)))])).await;
    until("the removal is there", || running.revision() == 6).await;
    assert!(running.view.load().soft.is_empty(), "what a removed node said is kept");
    running.end().await;
}
