//! Goal: whatever comes off the log, in whatever order: every invariant holds, equal logs make equal states,
//! and a repeated request changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::codec::Door;
use coracle_proto::id::{ClusterId, Digest, Epoch, GroupId, NodeId, RequestId, Revision, VersionNumber};
use coracle_proto::key::Key;
use coracle_proto::pb;
use coracle_proto::record::{Kind, Node, NodeState, Outcome, Record, Role, Weight};
use coracle_proto::route::{RouteGrant, RouteSpec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::model::samples::{CLUSTER, TERM, function, node, spec, version};
use crate::model::{ClusterState, Command, Envelope, Placement, Switch, codec, invariant};

const NAMES: [&str; 5] = ["a", "b", "shop/a", "shop-b/a", "shop/b"];
const ROUTES: [&str; 5] = ["/a/*", "/x", "/x/*", "host.example/*", "/shop/a/*"];

fn names() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn nodes() -> impl Strategy<Value = Node> {
    let roles = proptest::sample::subsequence(Role::ALL.to_vec(), 0..=3);
    (0_u64..7, roles).prop_map(|(id, roles)| {
        let roles: BTreeSet<Role> = roles.into_iter().collect();
        Node { id: NodeId::new(id), roles, ..node("a") }
    })
}

fn states() -> impl Strategy<Value = NodeState> {
    proptest::sample::select(vec![NodeState::Alive, NodeState::Dead, NodeState::Leaving])
}

fn deploys() -> impl Strategy<Value = Command> {
    let routes = proptest::sample::subsequence(ROUTES.to_vec(), 0..3);
    (names(), routes, 0_u8..4, 1_u32..4).prop_map(|(name, routes, digest, replicas)| Command::Deploy {
        function: function(name),
        spec: spec(replicas),
        routes: routes.into_iter().map(|route| route.parse::<RouteSpec>().unwrap()).collect(),
        route_grants: if replicas == 3 { vec![RouteGrant::Anyone] } else { Vec::new() },
        digest: Digest::new([digest; 32]),
        size: 1,
        kind: Kind::CommandModule,
    })
}

fn traffics() -> impl Strategy<Value = Command> {
    let weights = proptest::collection::vec((0_u64..16, 0_u32..3), 0..3);
    (names(), weights).prop_map(|(name, weights)| Command::SetTraffic {
        function: function(name),
        traffic: weights
            .into_iter()
            .map(|(number, weight)| Weight { version: VersionNumber::new(number), weight })
            .collect(),
    })
}

fn assigns() -> impl Strategy<Value = Command> {
    let add = proptest::collection::vec((0_u64..7).prop_map(NodeId::new), 0..4);
    let drop = proptest::collection::vec((0_u64..7, 0_u64..2), 0..4);
    let placement = (names(), 1_u64..5, add, drop).prop_map(|(name, number, add, drop)| {
        let drop = drop.into_iter().map(|(node, epoch)| (NodeId::new(node), Epoch::new(epoch))).collect();
        Placement { version: version(name, number), add, drop }
    });
    let switch = (names(), 0_u64..2)
        .prop_map(|(name, updated)| Switch { function: function(name), updated: Revision::new(updated) });
    (proptest::collection::vec(placement, 0..4), proptest::collection::vec(switch, 0..2))
        .prop_map(|(placements, switches)| Command::Assign { placements, switches })
}

fn groups() -> impl Strategy<Value = Command> {
    let members = proptest::collection::btree_set((0_u64..7).prop_map(NodeId::new), 0..4);
    (0_u32..3, members, any::<bool>()).prop_map(|(group, members, begun)| Command::SetGroup {
        group: GroupId::new(group),
        members,
        begun,
    })
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => (nodes(), 0_u32..9).prop_map(|(first, voters_wanted)| Command::CreateCluster { name: "p".into(), first, voters_wanted }),
        3 => nodes().prop_map(|node| Command::RegisterNode { node }),
        2 => nodes().prop_map(|node| Command::UpdateNode { node }),
        3 => (0_u64..7, states()).prop_map(|(node, state)| Command::MarkNode { node: NodeId::new(node), state }),
        2 => (0_u64..7).prop_map(|node| Command::RemoveNode { node: NodeId::new(node) }),
        12 => deploys(),
        4 => traffics(),
        1 => names().prop_map(|name| Command::DeleteFunction { function: function(name) }),
        20 => assigns(),
        1 => (0_u32..9).prop_map(|voters| Command::SetVotersWanted { voters }),
        1 => (1_u32..=2).prop_map(|format| Command::RaiseFormat { format }),
        6 => groups(),
        1 => Just(Command::KeepTime),
    ]
}

/// Mostly of this cluster; request ids come again now and then.
fn envelopes() -> impl Strategy<Value = Envelope> {
    let stranger = (prop::bool::weighted(0.03), prop::bool::weighted(0.03), prop::bool::weighted(0.1));
    (commands(), stranger, 0_u128..400, 0_u64..90, any::<(u16, u64)>()).prop_map(
        |(command, (cluster, group, expects), request, revision, (time_ms, random))| Envelope {
            cluster: if cluster { ClusterId::new(1) } else { CLUSTER },
            group: GroupId::new(u32::from(group)),
            request: RequestId::new(request),
            since: Revision::ZERO,
            time_ms: time_ms.into(),
            random,
            expected: Revision::new(if expects { revision } else { 0 }),
            trace: if random % 2 == 0 {
                String::new()
            } else {
                format!("00-{random:032x}-{time_ms:016x}-01")
            },
            term: (random % 8 < 2).then_some(TERM + random % 8),
            command,
        },
    )
}

/// A log that begins with a cluster of two nodes, and where in it one more replica begins.
fn logs() -> impl Strategy<Value = (Vec<Envelope>, usize)> {
    let begin = Command::CreateCluster { name: "p".into(), first: node("a"), voters_wanted: 3 };
    let begin = [begin, Command::RegisterNode { node: node("b") }];
    let begin = begin.into_iter().enumerate().map(|(number, command)| Envelope {
        request: RequestId::new(1000 + u128::try_from(number).unwrap()),
        ..crate::model::samples::envelope(command)
    });
    let begin: Vec<_> = begin.collect();
    let log = proptest::collection::vec(envelopes(), 1..120)
        .prop_map(move |log| begin.iter().cloned().chain(log).collect::<Vec<_>>());
    log.prop_flat_map(|log| {
        let length = log.len();
        (Just(log), 0..length)
    })
}

#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, u32>);

impl Seen {
    fn count(&mut self, outcome: &Outcome, repeated: bool) {
        let kind = match outcome {
            _ if repeated => "repeated",
            Outcome::Done => "done",
            Outcome::NodeRegistered(_) => "registered",
            Outcome::Deployed { unchanged: true, .. } => "unchanged",
            Outcome::Deployed { unchanged: false, .. } => "deployed",
            Outcome::Assigned { added: 0, dropped: 0, switched: 0 } => "nothing assigned",
            Outcome::Assigned { switched: 1.., .. } => "switched",
            Outcome::Assigned { dropped: 0, .. } => "added",
            Outcome::Assigned { .. } => "dropped",
            Outcome::Rejected(refusal) => refusal.code.name(),
        };
        *self.0.entry(kind).or_default() += 1;
    }
}

/// Epochs and revisions cannot be guessed: a drop of epoch 0 is meant for the replica as it stands, a switch of
/// revision 0 for the function.
fn aimed(envelope: &Envelope, state: &ClusterState) -> Envelope {
    let mut envelope = envelope.clone();
    if let Command::Assign { placements, switches } = &mut envelope.command {
        for Placement { version, drop, .. } in placements {
            for (node, epoch) in drop.iter_mut().filter(|(_, epoch)| epoch.get() == 0) {
                *epoch = state.replica(version, *node).map_or(Epoch::new(0), |replica| replica.epoch);
            }
        }
        for Switch { function, updated } in switches.iter_mut().filter(|it| it.updated == Revision::ZERO) {
            *updated = state.function(function).map_or(Revision::ZERO, |function| function.updated);
        }
    }
    envelope
}

fn over_the_wire(record: &Record) -> Record {
    Record::try_from(pb::Record::from(record)).unwrap()
}

fn play(log: &[Envelope], begins: usize, seen: &mut Seen) -> ClusterState {
    let (mut one, mut two) = (ClusterState::empty(), ClusterState::empty());
    let mut late: Option<ClusterState> = None;
    let mut mirror: BTreeMap<Key, Record> = BTreeMap::new();
    for (position, envelope) in log.iter().enumerate() {
        if position == begins {
            late = Some(ClusterState::restore(one.records().map(|record| over_the_wire(&record))).unwrap());
        }
        let envelope = &aimed(envelope, &one);
        let before = one.revision();
        let applied = one.apply(TERM, envelope.clone());
        seen.count(&applied.outcome, applied.repeated);
        invariant::check(&one).unwrap();
        assert_eq!(applied.repeated, one.revision() == before);
        assert_eq!(applied, two.apply(TERM, codec::decode(&codec::encode(envelope), Door::Disk).unwrap()));
        assert_eq!(one.hash(), two.hash());
        if let Some(late) = &mut late {
            assert_eq!(applied, late.apply(TERM, envelope.clone()));
            assert_eq!(one.hash(), late.hash());
        }
        for change in applied.changes.iter().map(codec::decoded) {
            match change.record {
                Some(record) => mirror.insert(change.key, record),
                None => mirror.remove(&change.key),
            };
        }
        let after = (one.revision(), one.hash());
        let again = one.apply(TERM, envelope.clone());
        assert!(again.repeated && again.changes.is_empty() && again.outcome == applied.outcome);
        assert_eq!((one.revision(), one.hash()), after);
    }
    assert!(mirror.into_values().eq(one.records()), "changes do not make the state that they come from");
    one
}

fn check(seed: u64, cases: u32) -> Seen {
    println!("seed {seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let seen = std::cell::RefCell::new(Seen::default());
    let property = |(log, begins): (Vec<Envelope>, usize)| {
        play(&log, begins, &mut seen.borrow_mut());
        Ok(())
    };
    TestRunner::new_with_rng(config, rng).run(&logs(), property).unwrap();
    seen.into_inner()
}

#[test]
fn random_logs_keep_every_promise() {
    let seen = check(rand::random(), 200);
    println!("{:?}", seen.0);
    let met = ["done", "registered", "unchanged", "deployed", "added", "dropped", "switched", "repeated"];
    let refused = ["conflict", "route-conflict", "wrong-cluster", "version-not-found"];
    for kind in met.into_iter().chain(refused) {
        assert!(seen.0.contains_key(kind), "no log had '{kind}': the test does not see what it should");
    }
}

#[test]
fn a_seed_replays() {
    assert_eq!(check(0x00c0_7ac1_e000, 20).0, check(0x00c0_7ac1_e000, 20).0);
}
