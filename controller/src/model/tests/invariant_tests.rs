//! Goal: the checker of invariants bites: each one is broken by hand, and it must say so.

use std::sync::Arc;

use coracle_proto::id::{Epoch, NodeId, RequestId, Revision, StateHash, VersionNumber};
use coracle_proto::key::Key;
use coracle_proto::record::{
    Cluster, Function, NamespaceRecord, Node, Outcome, Record, Remembered, Replica, Role, Route, Version,
    Weight,
};

use crate::model::kept::Kept;
use crate::model::samples::{Asked, function, node, version};
use crate::model::{ClusterState, RestoreError, invariant};

fn healthy() -> ClusterState {
    let mut asked = Asked::cluster(2);
    let a = asked.deploy("a", 1);
    asked.deploy("shop/b", 2);
    asked.assign(&a, &[1, 2]);
    asked.state
}

fn cluster(state: &mut ClusterState, change: impl FnOnce(&mut Cluster)) {
    let mut record = state.cluster().unwrap().clone();
    change(&mut record);
    state.put(Record::Cluster(record));
}

fn of_a(state: &mut ClusterState, change: impl FnOnce(&mut Function)) {
    let mut record = state.function(&function("a")).unwrap().clone();
    change(&mut record);
    state.put(Record::Function(record));
}

fn replica(state: &mut ClusterState, node: u64, epoch: u64) {
    let (version, node, epoch) = (version("a", 1), NodeId::new(node), Epoch::new(epoch));
    state.put(Record::Replica(Replica { version, node, epoch }));
}

fn stranger(state: &mut ClusterState, id: u64) {
    state.put(Record::Node(Node { id: NodeId::new(id), ..node("a") }));
}

fn lonely_version(state: &mut ClusterState, name: &str, number: u64) {
    let version = Version { id: version(name, number), ..state.versions().next().unwrap().clone() };
    state.put(Record::Version(version));
}

fn outcome(state: &mut ClusterState, request: u128, revision: u64) {
    let (request, revision) = (RequestId::new(request), Revision::new(revision));
    state.put(Record::Remembered(Remembered { request, revision, outcome: Outcome::Done }));
}

fn workerless(state: &mut ClusterState) {
    let two = state.node(NodeId::new(2)).unwrap().clone();
    state.put(Record::Node(Node { roles: [Role::Controller].into(), ..two }));
}

type Plant = fn(&mut ClusterState);

const PLANTS: [(&str, Plant); 26] = [
    ("no cluster", |s| drop(s.remove(&Key::Cluster))),
    ("no node is a controller", |s| {
        s.remove(&Key::Node(NodeId::new(1)));
        s.remove(&Key::Node(NodeId::new(2)));
    }),
    ("was never given out", |s| stranger(s, 3)),
    ("was never given out", |s| stranger(s, 0)),
    ("has no role", |s| {
        drop(s.put(Record::Node(Node { id: NodeId::new(2), roles: [].into(), ..node("a") })))
    }),
    ("8 voters wanted", |s| cluster(s, |it| it.voters_wanted = 8)),
    ("is empty or has no record", |s| drop(s.remove(&Key::Namespace("shop".parse().unwrap())))),
    ("is empty or has no record", |s| {
        let name = "lonely".parse().unwrap();
        s.put(Record::Namespace(NamespaceRecord { name, created: Revision::new(1) }));
    }),
    ("no version of 'a' takes calls", |s| of_a(s, |it| it.traffic.clear())),
    ("its latest", |s| of_a(s, |it| it.latest = VersionNumber::new(2))),
    ("leads nowhere", |s| {
        of_a(s, |it| it.traffic.push(Weight { version: VersionNumber::new(7), weight: 1 }))
    }),
    ("leads nowhere", |s| of_a(s, |it| it.next.push(Weight { version: VersionNumber::new(7), weight: 1 }))),
    ("waits for what its calls go to already", |s| of_a(s, |it| it.next.clone_from(&it.traffic))),
    ("stands twice", |s| of_a(s, |it| it.traffic.push(it.traffic[0]))),
    ("has no weight", |s| of_a(s, |it| it.traffic[0].weight = 0)),
    ("is of no function", |s| lonely_version(s, "c", 1)),
    ("was never given out", |s| lonely_version(s, "a", 2)),
    ("11 versions, at most 10", |s| {
        of_a(s, |it| it.latest = VersionNumber::new(11));
        (2..=11).for_each(|number| lonely_version(s, "a", number));
    }),
    ("is not that of 'a'", |s| drop(s.remove(&Key::Route("/a/*".parse().unwrap())))),
    ("routes are stored, but functions name", |s| {
        drop(s.put(Record::Route(Route { spec: "/x".parse().unwrap(), function: function("a") })));
    }),
    ("which is no worker", workerless),
    ("has epoch 99", |s| replica(s, 1, 99)),
    ("a record is of revision 99", |s| of_a(s, |it| it.updated = Revision::new(99))),
    ("a request has two outcomes", |s| {
        let known = s.remembered.values().next().unwrap().record.request.get();
        cluster(s, |it| it.revision = Revision::new(9));
        outcome(s, known, 8);
    }),
    ("is forgotten or of the future", |s| outcome(s, 77, 99)),
    ("the hash is", |s| s.hash = StateHash::new(s.hash.get().wrapping_add(1))),
];

#[test]
fn each_planted_contradiction_is_found() {
    invariant::check(&healthy()).unwrap();
    for (sentence, plant) in PLANTS {
        let mut state = healthy();
        plant(&mut state);
        let Err(broken) = invariant::check(&state) else { panic!("not found: {sentence}") };
        assert!(broken.to_string().contains(sentence), "'{broken}' does not say '{sentence}'");
    }
}

#[test]
fn indexes_that_lost_something_are_found() {
    let plants: [(&str, Plant); 3] = [
        ("the index of node 1 lacks a@1", |s| drop(s.held_by.remove(&NodeId::new(1)))),
        ("has more than the replicas", |s| drop(s.replicas.remove(&(version("a", 1), NodeId::new(1))))),
        ("the index of requests lacks", |s| {
            let (_, revision) = *s.requests.get_min().unwrap();
            let odd = Remembered { request: RequestId::new(999), revision, outcome: Outcome::Done };
            s.remembered.insert(revision, Arc::new(Kept { record: odd, hash: 0 }));
        }),
    ];
    for (sentence, plant) in plants {
        let mut state = healthy();
        plant(&mut state);
        let broken = invariant::check(&state).unwrap_err().to_string();
        assert!(broken.contains(sentence), "'{broken}' does not say '{sentence}'");
    }
}

#[test]
fn a_state_is_not_restored_from_contradictions() {
    let records = || healthy().records().collect::<Vec<_>>();
    assert_eq!(ClusterState::restore(records()).unwrap().hash(), healthy().hash());
    let without_cluster = records().into_iter().skip(1);
    assert!(matches!(ClusterState::restore(without_cluster), Err(RestoreError::Broken(_))));
    let twice = records().into_iter().chain(records().into_iter().take(1));
    assert_eq!(ClusterState::restore(twice).unwrap_err(), RestoreError::Twice(Key::Cluster));
}
