//! Tests of the leader's orders.

use super::*;
use crate::clock;
use crate::model::Command;
use crate::model::samples::Asked;

const POLICY: OrdersPolicy =
    OrdersPolicy { copies: 3, grace: Duration::from_secs(600), live_within: Duration::from_secs(2) };

struct World {
    asked: Asked,
    seen: BTreeMap<NodeId, Seen>,
    now: Instant,
}

impl World {
    /// Nodes that all reported just now and hold nothing.
    fn of(nodes: u64) -> Self {
        let mut world = Self { asked: Asked::cluster(nodes), seen: BTreeMap::new(), now: clock::now() };
        for node in 1..=nodes {
            world.holds(node, &[]);
        }
        world
    }

    fn holds(&mut self, node: u64, held: &[(u8, u64)]) {
        let artifact = |(digest, age_ms): &(u8, u64)| pb::HeldArtifact {
            digest: vec![*digest; 32].into(),
            size: 1,
            age_ms: *age_ms,
        };
        let artifacts = held.iter().map(artifact).collect();
        let status = pb::NodeStatus { node, artifacts, ..pb::NodeStatus::default() };
        self.seen.insert(NodeId::new(node), Seen::first(&status, self.now));
    }

    fn orders(&self) -> BTreeMap<u64, pb::Orders> {
        let orders = compute(&self.asked.state, &self.seen, POLICY, self.now);
        orders.into_iter().map(|(node, orders)| (node.get(), orders)).collect()
    }

    fn told_to_hold(&self, digest: u8) -> Vec<u64> {
        let wanted = |orders: &pb::Orders| orders.hold.iter().any(|hold| hold[..] == [digest; 32]);
        self.orders().into_iter().filter(|(_, orders)| wanted(orders)).map(|(node, _)| node).collect()
    }
}

#[test]
fn missing_copies_are_made_by_who_runs_them_first() {
    let mut world = World::of(5);
    let version = world.asked.deploy("a", 7);
    assert_eq!(world.told_to_hold(7), [0; 0], "nobody has it to give");
    world.holds(1, &[(7, 0)]);
    world.asked.assign(&version, &[4]);
    let told = world.told_to_hold(7);
    assert!(told.len() == 2 && told.contains(&4), "{told:?}");
    assert_eq!(world.told_to_hold(7), told, "asked again it says the same");
    world.holds(2, &[(7, 0)]);
    world.holds(4, &[(7, 0)]);
    assert_eq!(world.told_to_hold(7), [0; 0]);
}

#[test]
fn as_many_copies_as_there_are_live_workers() {
    let mut world = World::of(3);
    world.asked.deploy("a", 7);
    world.holds(1, &[(7, 0)]);
    world.holds(2, &[(7, 0)]);
    assert_eq!(world.told_to_hold(7), [3]);
    world.now += Duration::from_secs(3);
    world.holds(1, &[(7, 0)]);
    assert_eq!(world.orders().keys().copied().collect::<Vec<_>>(), [1], "the others are silent");
    assert_eq!(world.told_to_hold(7), [0; 0]);
}

#[test]
fn only_what_no_version_names_and_is_old_is_removed() {
    let mut world = World::of(1);
    world.asked.deploy("a", 7);
    world.holds(1, &[(7, 700_000), (8, 700_000), (9, 599_999)]);
    let orders = world.orders().remove(&1).unwrap();
    assert_eq!(orders.remove.len(), 1);
    assert_eq!(orders.remove[0].digest[..], [8; 32]);
    assert_eq!(orders.remove[0].older_than_ms, 600_000);
    assert_eq!(orders.remove[0].revision, world.asked.state.revision().get());
}

#[test]
fn holders_of_what_is_missing_are_named_as_sources() {
    let mut world = World::of(20);
    for id in (1..=20).map(NodeId::new) {
        let mut node = world.asked.state.node(id).unwrap().clone();
        node.addresses.data = format!("10.0.0.{id}:7402");
        world.asked.run(Command::UpdateNode { node });
    }
    let version = world.asked.deploy("a", 7);
    world.asked.assign(&version, &[1]);
    world.holds(20, &[(7, 0)]);
    let sources = world.orders().remove(&1).unwrap().sources;
    assert_eq!(sources.first().map(String::as_str), Some("10.0.0.20:7402"));
    assert_eq!(sources.len(), SOURCES_MAX);
}
