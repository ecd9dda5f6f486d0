//! Goal: rounds lead to where all should stand, take nothing away too early, and then stay quiet.

mod churn;

use std::collections::BTreeSet;

use coracle_proto::id::FunctionId;
use coracle_proto::record::{Node, NodeState, Outcome};

use super::*;
use crate::model::Command;
use crate::model::samples::{Asked, node, spec};
use crate::placer::POLICY;

/// A cluster whose workers make ready what they are given: one report tells of the attempt, the next of its end.
struct World {
    asked: Asked,
    soft: Soft,
    /// Versions that cannot be made ready, and where.
    broken: BTreeSet<(VersionId, NodeId)>,
    silent: BTreeSet<NodeId>,
}

impl World {
    fn of(nodes: u64) -> Self {
        let mut world = Self {
            asked: Asked::cluster(nodes),
            soft: Soft::new(),
            broken: BTreeSet::new(),
            silent: BTreeSet::new(),
        };
        world.work();
        world
    }

    /// Each worker reports what it was given; says whether one of them is still at work.
    fn work(&mut self) -> bool {
        self.soft = self.asked.state.nodes().map(|node| (node.id, self.report(node.id))).collect();
        let mut told = self.soft.values().flat_map(|node| node.replicas.values());
        told.any(|replica| replica.readiness == Readiness::Preparing)
    }

    fn report(&self, node: NodeId) -> NodeSoft {
        let told = |replica: &Replica| {
            let broken = self.broken.contains(&(replica.version.clone(), node));
            let before = self.soft.get(&node).and_then(|soft| soft.replicas.get(&replica.version));
            let (readiness, attempts) = match before.is_some_and(|before| before.epoch == replica.epoch) {
                true if broken => (Readiness::Failed, ATTEMPTS_MAX),
                true => (Readiness::Ready, 0),
                false => (Readiness::Preparing, 0),
            };
            (replica.version.clone(), ReplicaSoft { epoch: replica.epoch, readiness, attempts })
        };
        let replicas = self.asked.state.replicas_on(node).map(told).collect();
        NodeSoft { suspect: self.silent.contains(&node), replicas, ..NodeSoft::default() }
    }

    fn plan(&self) -> Plan {
        plan(&self.asked.state, &self.soft, &POLICY)
    }

    fn apply(&mut self, plan: &Plan) {
        let (placements, switches) = (plan.placements.clone(), plan.switches.clone());
        self.asked.run(Command::Assign { placements, switches });
    }

    /// Plans and works until a round is empty; how many rounds that took.
    fn settle(&mut self) -> usize {
        let mut quiet = false;
        for round in 0..1000 {
            let plan = self.plan();
            if plan.is_empty() {
                if quiet {
                    return round;
                }
                quiet = !self.work();
                continue;
            }
            quiet = false;
            assert!(plan.placements.len() <= PLACEMENTS_MAX);
            let (ready, served) = (self.ready(), self.served());
            self.apply(&plan);
            let still = self.ready();
            assert!(served.is_subset(&self.served()), "calls were given to what is not ready: {plan:?}");
            for (function, before) in ready {
                let floor = before.min(self.floor());
                assert!(
                    still[&function] >= floor,
                    "'{function}' was left with {} of {before}",
                    still[&function]
                );
            }
            self.work();
        }
        panic!("it never settles");
    }

    /// Ready replicas that no plan may go below, whatever it moves.
    fn floor(&self) -> usize {
        let live = self.asked.state.nodes().filter(|node| node.state == NodeState::Alive).count();
        if self.broken.is_empty() { live.clamp(1, 2) } else { 1 }
    }

    /// How many replicas of any version of each function are ready.
    fn ready(&self) -> BTreeMap<FunctionId, usize> {
        let ready = |replica: &&Replica| {
            let told = self.soft.get(&replica.node).and_then(|soft| soft.replicas.get(&replica.version));
            told.is_some_and(|told| told.epoch == replica.epoch && told.readiness == Readiness::Ready)
        };
        let of = |id: &FunctionId| self.asked.state.replicas_of_function(id).filter(ready).count();
        self.asked.state.functions().map(|function| (function.id.clone(), of(&function.id))).collect()
    }

    /// Functions that answer: a version that takes calls is ready where calls are sent.
    fn served(&self) -> BTreeSet<FunctionId> {
        let survey = Survey::new(&self.asked.state, &self.soft);
        let serves = |replica: &&Replica| {
            let function = self.asked.state.function(&replica.version.function);
            function.is_some_and(|function| function.serves(replica.version.number))
                && survey.answers(replica)
        };
        self.asked.state.replicas().filter(serves).map(|it| it.version.function.clone()).collect()
    }

    fn mark(&mut self, node: u64, state: NodeState) {
        let node = NodeId::new(node);
        assert_eq!(self.asked.run(Command::MarkNode { node, state }).outcome, Outcome::Done);
    }

    fn held(&self, node: u64) -> usize {
        self.asked.state.replicas_on(NodeId::new(node)).count()
    }
}

#[test]
fn each_function_gets_its_replicas_and_then_nothing_moves() {
    for (nodes, holders) in [(1, 1), (2, 2), (3, 2), (7, 2)] {
        let mut world = World::of(nodes);
        let versions: Vec<_> = (0..20).map(|number| world.asked.deploy(&format!("f{number}"), 1)).collect();
        world.settle();
        for version in versions {
            assert_eq!(world.asked.holders(&version).len(), holders, "{nodes} nodes");
        }
    }
}

#[test]
fn jittering_load_moves_nothing() {
    let mut world = World::of(5);
    for number in 0..30 {
        world.asked.deploy(&format!("f{number}"), 1);
    }
    world.settle();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = seed;
    for round in 0..1000 {
        for (node, soft) in &mut world.soft {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(node.get() | 1);
            soft.in_flight = u32::try_from(random >> 56).unwrap();
            soft.suspect = random >> 60 == 0;
        }
        let plan = world.plan();
        assert!(plan.placements.is_empty(), "round {round} of seed {seed} moved {:?}", plan.placements);
    }
}

#[test]
fn a_dead_nodes_replicas_move_and_it_fills_again_when_it_is_back() {
    let mut world = World::of(3);
    for number in 0..30 {
        world.asked.deploy(&format!("f{number}"), 1);
    }
    world.settle();
    let before = world.held(2);
    assert!(before > 10, "{before}");
    let old: Vec<_> = world.asked.state.replicas_on(NodeId::new(2)).cloned().collect();
    world.mark(2, NodeState::Dead);
    world.settle();
    assert_eq!((world.held(1), world.held(2), world.held(3)), (30, 0, 30));
    world.mark(2, NodeState::Alive);
    let rounds = world.settle();
    println!("after {rounds} rounds: {} {} {}", world.held(1), world.held(2), world.held(3));
    assert_eq!((1..=3).map(|node| world.held(node)).sum::<usize>(), 60);
    assert!(world.held(2) >= 15, "{}", world.held(2));
    for replica in world.asked.state.replicas_on(NodeId::new(2)) {
        let known = old.iter().find(|known| known.version == replica.version);
        assert!(known.is_none_or(|known| known.epoch < replica.epoch), "an old epoch is never given again");
    }
}

#[test]
fn many_nodes_that_come_back_fill_together() {
    let mut world = World::of(40);
    for node in 21..=40 {
        world.mark(node, NodeState::Dead);
    }
    for number in 0..60 {
        world.asked.deploy(&format!("f{number}"), 1);
    }
    world.settle();
    for node in 21..=40 {
        world.mark(node, NodeState::Alive);
    }
    let rounds = world.settle();
    println!("after {rounds} rounds");
    assert!((21..=40).all(|node| world.held(node) >= 2), "120 replicas on 40 nodes");
    assert!(rounds <= 15, "{rounds} rounds: it took 31 when one node gave up replicas at a time");
}

#[test]
fn a_leaving_node_gives_up_nothing_before_others_have_it() {
    let mut world = World::of(3);
    let a = world.asked.deploy("a", 1);
    world.settle();
    let leaving = world.asked.holders(&a)[0];
    world.mark(leaving, NodeState::Leaving);
    let first = world.plan();
    assert_eq!((first.placements[0].add.len(), first.placements[0].drop.len()), (1, 0));
    world.apply(&first);
    let heir = first.placements[0].add[0];
    let stale = ReplicaSoft { epoch: Epoch::new(1), readiness: Readiness::Ready, attempts: 0 };
    world.soft.get_mut(&heir).unwrap().replicas.insert(a.clone(), stale);
    assert!(world.plan().placements.is_empty(), "what it once had ready is not what it was given now");
    world.settle();
    assert_eq!(world.held(leaving), 0);
    assert_eq!(world.asked.holders(&a).len(), 2);
}

#[test]
fn a_replica_that_failed_is_placed_around() {
    let mut world = World::of(3);
    let a = world.asked.deploy("a", 1);
    world.settle();
    let failed = NodeId::new(world.asked.holders(&a)[0]);
    world.broken.insert((a.clone(), failed));
    world.work();
    world.settle();
    assert_eq!(world.asked.holders(&a).len(), 3, "the failed one stays, so that it is not chosen again");
    world.broken.clear();
    world.work();
    world.settle();
    assert_eq!(world.asked.holders(&a).len(), 2);
    world.broken.extend((1..=3).map(|node| (a.clone(), NodeId::new(node))));
    world.work();
    world.settle();
    let unplaceable = world.plan().unplaceable;
    assert!(unplaceable[0].to_string().starts_with("no node can hold a@1: node 1 cannot"), "{unplaceable:?}");
}

#[test]
fn the_version_before_stays_until_the_new_one_is_ready() {
    let mut world = World::of(3);
    let first = world.asked.deploy("a", 1);
    world.settle();
    let second = world.asked.deploy("a", 2);
    world.broken.extend((1..=3).map(|node| (second.clone(), NodeId::new(node))));
    world.settle();
    assert_eq!(world.asked.holders(&first).len(), 2, "the new one cannot be made ready");
    assert_eq!(world.asked.traffic("a"), (vec![1], vec![2]), "and is given no calls");
    let third = world.asked.deploy("a", 3);
    world.settle();
    assert_eq!(world.asked.traffic("a"), (vec![3], vec![]));
    assert_eq!(world.asked.holders(&first), [] as [u64; 0]);
    assert_eq!(world.asked.holders(&second), [] as [u64; 0]);
    assert_eq!(world.asked.holders(&third).len(), 2);
}

/// Back to a version that nodes hold still: it needs no wait. To one whose replicas have ended: it does.
#[test]
fn calls_go_back_as_soon_as_the_old_version_is_ready() {
    let mut world = World::of(3);
    world.asked.deploy("a", 1);
    world.settle();
    let back = |world: &mut World| {
        let traffic = vec![Weight { version: coracle_proto::id::VersionNumber::new(1), weight: 1 }];
        let function = crate::model::samples::function("a");
        world.asked.run(Command::SetTraffic { function, traffic });
    };
    let second = world.asked.deploy("a", 2);
    let switched = (0..10).any(|_| {
        world.work();
        let plan = world.plan();
        world.apply(&plan);
        world.asked.traffic("a") == (vec![2], vec![])
    });
    assert!(switched);
    back(&mut world);
    assert_eq!(world.plan().switches.len(), 1, "in the first round after the wish");
    world.settle();
    assert_eq!((world.asked.traffic("a"), world.asked.holders(&second).len()), ((vec![1], vec![]), 0));
    world.asked.deploy("a", 3);
    world.settle();
    back(&mut world);
    assert!(world.plan().switches.is_empty(), "its replicas have ended");
    world.settle();
    assert_eq!(world.asked.traffic("a"), (vec![1], vec![]));
}

#[test]
fn what_is_new_goes_where_its_artifact_is() {
    let mut world = World::of(9);
    let a = world.asked.deploy("a", 7);
    let digest = world.asked.state.version(&a).unwrap().digest;
    for node in [4, 8] {
        world.soft.get_mut(&NodeId::new(node)).unwrap().artifacts.insert(digest);
    }
    let plan = world.plan();
    assert_eq!(plan.placements[0].add.iter().map(|node| node.get()).collect::<BTreeSet<_>>(), [4, 8].into());
}

#[test]
fn one_replica_is_enough_where_it_is_asked_for() {
    let mut world = World::of(3);
    let Command::Deploy { function, routes, route_grants, digest, size, kind, .. } =
        crate::model::samples::deploy("a", 1)
    else {
        panic!("a deploy")
    };
    world.asked.run(Command::Deploy { function, spec: spec(1), routes, route_grants, digest, size, kind });
    world.settle();
    assert_eq!(world.asked.holders(&crate::model::samples::version("a", 1)).len(), 1);
}

#[test]
fn what_nobody_told_ends_nothing() {
    let mut world = World::of(3);
    for number in 0..10 {
        world.asked.deploy(&format!("f{number}"), 1);
    }
    world.settle();
    world.asked.deploy("f0", 2);
    world.settle();
    world.asked.deploy("f0", 3);
    world.soft.clear();
    let plan = world.plan();
    assert!(plan.placements.iter().all(|placement| placement.drop.is_empty()), "{:?}", plan.placements);
}

#[test]
fn replicas_spread_over_zones_that_come_later() {
    let mut world = World::of(2);
    let versions: Vec<_> = (0..10).map(|number| world.asked.deploy(&format!("f{number}"), 1)).collect();
    world.settle();
    world.asked.run(Command::RegisterNode { node: Node { slots: 1, ..node("b") } });
    world.work();
    world.settle();
    for version in versions {
        assert!(world.asked.holders(&version).contains(&3), "{version} stands in one zone");
    }
}

#[test]
fn a_round_is_bounded_and_says_that_there_is_more() {
    let mut world = World::of(3);
    for number in 0..PLACEMENTS_MAX + 10 {
        world.asked.deploy(&format!("f{number}"), 1);
    }
    let plan = world.plan();
    assert!(plan.more && plan.placements.len() == PLACEMENTS_MAX);
    world.apply(&plan);
    let rest = world.plan();
    assert!(!rest.more && rest.placements.len() == 10);
}
