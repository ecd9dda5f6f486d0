//! What a dispatcher looks up once is what the view says now.

use std::sync::Arc;

use coracle_proto::id::{Epoch, InvocationId, NodeId, Revision, StoreId, VersionId, VersionNumber};
use coracle_proto::key::Key;
use coracle_proto::record::{
    Addresses, Change, Function, Node, NodeState, Record, Replica, Role, Version, Weight,
};
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::resolved::{Resolutions, Resolved};
use crate::balance::{Candidate, Rank};
use crate::view::{NodeSoft, Phase, ReplicaSoft, Stamp, View, ViewHandle};
use crate::worker::tests::{metrics, version};

const HERE: NodeId = NodeId::new(1);

struct World {
    view: ViewHandle,
    resolutions: Resolutions,
    version: Arc<Version>,
}

impl World {
    fn new() -> Self {
        let (view, version) = (ViewHandle::with(View::default()), version("f", Draft::default()));
        let world = Self { view, resolutions: Resolutions::new(Some(HERE), metrics()), version };
        let node = Node {
            id: HERE,
            name: "n1".into(),
            roles: Role::DEFAULT.into_iter().collect(),
            zone: String::new(),
            version: String::new(),
            addresses: Addresses::default(),
            state: NodeState::Alive,
            registered: Revision::new(1),
            slots: 2,
            memory_bytes: 1 << 30,
            store: StoreId::UNKNOWN,
        };
        let replica = Replica { version: world.version.id.clone(), node: HERE, epoch: Epoch::new(3) };
        let version = Version::clone(&world.version);
        world.put([Record::Node(node), Record::Version(version), Record::Replica(replica)]);
        world.divides(&[(1, 1)]);
        world
    }

    fn change(&self, changes: Vec<Change>) {
        self.view.update(|view| {
            let revision = Revision::new(view.routing.stamp.revision.get() + 1);
            view.routing.take(Stamp { revision, hash: None }, changes, false)
        });
    }

    fn put<const N: usize>(&self, records: [Record; N]) {
        self.change(records.into_iter().map(Change::put).collect());
    }

    /// The function's traffic: versions with their weights.
    fn divides(&self, traffic: &[(u64, u32)]) {
        let weight = |&(number, weight)| Weight { version: VersionNumber::new(number), weight };
        self.put([Record::Function(Function {
            id: self.version.id.function.clone(),
            latest: VersionNumber::new(1),
            traffic: traffic.iter().map(weight).collect(),
            next: vec![],
            routes: vec![],
            route_grants: vec![],
            created_ms: 0,
            updated_ms: 0,
            updated: Revision::new(1),
        })]);
    }

    fn resolved(&self) -> Arc<Resolved> {
        self.resolutions.get(&self.view.load(), &self.version.id.function).unwrap()
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.resolved().chosen(InvocationId::new(0)).unwrap().candidates.to_vec()
    }

    fn rank(&self) -> Rank {
        self.candidates()[0].rank
    }
}

#[test]
fn whatever_changes_is_seen_by_the_next_call() {
    let world = World::new();
    let here = Candidate { node: HERE, local: true, epoch: Epoch::new(3), rank: Rank::Unknown };
    assert_eq!(world.candidates(), [here]);
    for (sequence, phase, rank) in [(1, Phase::Compiling, Rank::NotReady), (2, Phase::Ready, Rank::Ready)] {
        let replica = ReplicaSoft { epoch: Epoch::new(3), phase };
        let replicas = [(world.version.id.clone(), replica)].into_iter().collect();
        let soft = NodeSoft { node: HERE, incarnation: 1, sequence, replicas, ..NodeSoft::default() };
        world.view.update(|view| view.take_soft(soft));
        assert_eq!(world.rank(), rank);
    }
    world.change(vec![Change::remove(Key::Node(HERE))]);
    assert_eq!(world.rank(), Rank::Leaving);
    world.change(vec![Change::remove(Key::Replica(world.version.id.clone(), HERE))]);
    assert_eq!(world.candidates(), []);
    world.change(vec![Change::remove(Key::Function(world.version.id.function.clone()))]);
    let gone = world.resolutions.get(&world.view.load(), &world.version.id.function).unwrap_err();
    assert_eq!(gone.code(), Code::FunctionNotFound);
}

#[test]
fn nothing_is_looked_up_twice_in_one_view() {
    let world = World::new();
    assert!(Arc::ptr_eq(&world.resolved(), &world.resolved()));
    let before = world.resolved();
    let old = world.view.load();
    world.divides(&[(1, 2)]);
    let after = world.resolved();
    assert!(!Arc::ptr_eq(&before, &after));
    // A call that began before goes on with its own view, and puts nothing out of the newer one.
    let late = world.resolutions.get(&old, &world.version.id.function).unwrap();
    assert!(!Arc::ptr_eq(&late, &after) && Arc::ptr_eq(&after, &world.resolved()));
}

#[test]
fn calls_are_divided_by_weight_and_a_version_that_is_missing_is_named() {
    let world = World::new();
    let second = VersionId { number: VersionNumber::new(2), ..world.version.id.clone() };
    world.put([Record::Version(Version { id: second, ..Version::clone(&world.version) })]);
    world.divides(&[(1, 3), (2, 1)]);
    let resolved = world.resolved();
    let number = |random: u64| resolved.number(InvocationId::new(u128::from(random) << 64)).get();
    assert_eq!([0, 1, 2, 3, 4].map(number), [1, 1, 1, 2, 1]);
    world.divides(&[(7, 1)]);
    let error = world.resolved().chosen(InvocationId::new(0)).unwrap_err();
    assert!(error.code() == Code::NoReplica && error.to_string().contains("f@7"), "{error}");
}
