//! Goal: each rule of each command, by an example.

use coracle_proto::codec::Door;
use coracle_proto::id::{ClusterId, Epoch, GroupId, NodeId, RequestId, Revision, VersionNumber};
use coracle_proto::record::{Node, NodeState, Outcome, Record, Remembered, Role, Weight};
use coracle_proto::status::Code;

use crate::model::samples::{Asked, TERM, deploy, deploy_at, envelope, function, node, version};
use crate::model::{ClusterState, Command, Envelope, Placement, REMEMBERED_MAX, Switch, VERSIONS_MAX, codec};

fn code(outcome: &Outcome) -> Option<Code> {
    match outcome {
        Outcome::Rejected(refusal) => Some(refusal.code),
        Outcome::Done | Outcome::NodeRegistered(_) | Outcome::Deployed { .. } | Outcome::Assigned { .. } => {
            None
        }
    }
}

#[test]
fn nothing_is_done_before_there_is_a_cluster() {
    let mut state = ClusterState::empty();
    let applied = state.apply(TERM, envelope(deploy("a", 1)));
    assert_eq!(code(&applied.outcome), Some(Code::WrongCluster));
    assert!(applied.changes.is_empty() && state.records().next().is_none());
    assert_eq!(state.revision(), Revision::ZERO);
}

#[test]
fn a_cluster_is_made_once_and_keeps_strangers_out() {
    let mut asked = Asked::cluster(1);
    assert_eq!(asked.state.node(NodeId::new(1)).map(|node| node.state), Some(NodeState::Alive));
    let again = Command::CreateCluster { name: "b".into(), first: node("a"), voters_wanted: 3 };
    assert_eq!(asked.refused(again), Code::Conflict);
    for stranger in [
        Envelope { cluster: ClusterId::new(9), ..asked.envelope(deploy("a", 1)) },
        Envelope { group: GroupId::new(1), ..asked.envelope(deploy("a", 1)) },
    ] {
        assert_eq!(code(&asked.state.apply(TERM, stranger).outcome), Some(Code::WrongCluster));
    }
    assert_eq!(asked.state.revision(), Revision::new(4), "a refused command makes a revision as well");
}

#[test]
fn time_never_goes_back() {
    let mut asked = Asked::cluster(1);
    for time_ms in [50, 20] {
        let late = Envelope { time_ms, ..asked.envelope(Command::SetVotersWanted { voters: 5 }) };
        asked.state.apply(TERM, late);
    }
    assert_eq!(asked.state.cluster().unwrap().time_ms, 50);
}

#[test]
fn node_ids_are_never_used_again() {
    let mut asked = Asked::cluster(3);
    let three = NodeId::new(3);
    assert_eq!(asked.refused(Command::RemoveNode { node: three }), Code::Conflict, "alive");
    asked.run(Command::MarkNode { node: three, state: NodeState::Leaving });
    let dead = Command::MarkNode { node: three, state: NodeState::Dead };
    assert_eq!(asked.refused(dead), Code::Conflict, "who leaves does not stay");
    assert_eq!(asked.run(Command::RemoveNode { node: three }).outcome, Outcome::Done);
    let back = Command::UpdateNode { node: Node { id: three, ..node("a") } };
    assert_eq!(asked.refused(back), Code::NodeRemoved);
    let next = asked.run(Command::RegisterNode { node: node("a") }).outcome;
    assert_eq!(next, Outcome::NodeRegistered(NodeId::new(4)));
    assert_eq!(asked.refused(Command::RemoveNode { node: NodeId::new(9) }), Code::NodeNotFound);
}

#[test]
fn a_version_keeps_the_trace_of_its_deploy() {
    let mut asked = Asked::cluster(1);
    let mut deploy_in = |trace: &str| {
        let envelope = Envelope { trace: trace.into(), time_ms: 1_000, ..asked.envelope(deploy("a", 1)) };
        let outcome = asked.state.apply(TERM, envelope).outcome;
        (outcome, asked.state.version(&version("a", 1)).unwrap().clone())
    };
    let (_, made) = deploy_in("00-aa-bb-01");
    assert_eq!(made.deploy_trace(2_000), Some("00-aa-bb-01"));
    assert_eq!(made.deploy_trace(1_000_000), None, "what moves it later is no part of the deploy");
    let (again, kept) = deploy_in("00-cc-dd-01");
    assert_eq!(again, Outcome::Deployed { version: made.id.number, unchanged: true });
    assert_eq!(kept, made, "another trace is no other version");
}

#[test]
fn the_last_controller_stays() {
    let mut asked = Asked::cluster(1);
    let worker = Node { roles: [Role::Worker].into(), ..node("a") };
    asked.run(Command::RegisterNode { node: worker.clone() });
    let one = NodeId::new(1);
    let leaving = Command::MarkNode { node: one, state: NodeState::Leaving };
    assert_eq!(asked.refused(leaving), Code::NodeRequired);
    assert_eq!(asked.refused(Command::UpdateNode { node: Node { id: one, ..worker } }), Code::NodeRequired);
    asked.run(Command::MarkNode { node: one, state: NodeState::Dead });
    assert_eq!(asked.refused(Command::RemoveNode { node: one }), Code::NodeRequired);
}

#[test]
fn a_node_without_the_role_holds_nothing() {
    let mut asked = Asked::cluster(2);
    let a = asked.deploy("a", 1);
    asked.assign(&a, &[1, 2]);
    let roles = [Role::Controller].into();
    asked.run(Command::UpdateNode { node: Node { id: NodeId::new(2), roles, ..node("a") } });
    assert_eq!(asked.holders(&a), [1]);
    asked.assign(&a, &[2]);
    assert_eq!(asked.holders(&a), [1]);
}

#[test]
fn a_deploy_of_the_same_changes_nothing() {
    let mut asked = Asked::cluster(1);
    assert_eq!(asked.deploy("a", 1).number, VersionNumber::new(1));
    let same = asked.run(deploy("a", 1)).outcome;
    assert_eq!(same, Outcome::Deployed { version: VersionNumber::new(1), unchanged: true });
    assert_eq!(asked.deploy("a", 2).number, VersionNumber::new(2));
    asked.run(all_to("a", 1));
    assert_eq!(asked.deploy("a", 2).number, VersionNumber::new(3), "the latest had not all calls");
}

fn all_to(name: &str, version: u64) -> Command {
    let traffic = vec![Weight { version: VersionNumber::new(version), weight: 1 }];
    Command::SetTraffic { function: function(name), traffic }
}

#[test]
fn calls_stay_where_they_are_until_what_was_asked_for_is_ready() {
    let mut asked = Asked::cluster(1);
    asked.deploy("a", 1);
    assert_eq!(asked.traffic("a"), (vec![1], vec![]), "a first version has nothing to wait behind");
    asked.deploy("a", 2);
    assert_eq!(asked.traffic("a"), (vec![1], vec![2]));
    let seen = asked.state.function(&function("a")).unwrap().updated;
    asked.deploy("a", 3);
    assert_eq!(
        asked.traffic("a"),
        (vec![1], vec![3]),
        "a later deploy takes the place of the one that waits"
    );
    let late = vec![Switch { function: function("a"), updated: seen }];
    let none = asked.run(Command::Assign { placements: vec![], switches: late }).outcome;
    assert_eq!(none, Outcome::Assigned { added: 0, dropped: 0, switched: 0 }, "version 2 was ready, not 3");
    let updated = asked.state.function(&function("a")).unwrap().updated;
    assert_eq!(asked.switch("a"), Outcome::Assigned { added: 0, dropped: 0, switched: 1 });
    assert_eq!(asked.traffic("a"), (vec![3], vec![]));
    assert_eq!(asked.state.function(&function("a")).unwrap().updated, updated, "nobody asked for anything");
    assert_eq!(asked.switch("a"), Outcome::Assigned { added: 0, dropped: 0, switched: 0 });
    asked.run(all_to("a", 2));
    assert_eq!(asked.traffic("a"), (vec![3], vec![2]));
    asked.run(all_to("a", 3));
    assert_eq!(asked.traffic("a"), (vec![3], vec![]), "what the calls go to already needs no wait");
}

#[test]
fn versions_that_take_calls_are_not_ended_by_a_deploy() {
    let mut asked = Asked::cluster(1);
    asked.deploy("a", 0);
    for digest in 1..=u8::try_from(VERSIONS_MAX).unwrap() {
        asked.deploy("a", digest);
    }
    assert_eq!(asked.traffic("a"), (vec![1], vec![11]), "the oldest takes the calls still");
    assert!(asked.state.version(&version("a", 2)).is_none());
    let each = [1].into_iter().chain(3..=11).map(VersionNumber::new);
    let traffic = each.map(|version| Weight { version, weight: 1 }).collect();
    asked.run(Command::SetTraffic { function: function("a"), traffic });
    asked.switch("a");
    assert_eq!(asked.refused(deploy("a", 99)), Code::LimitReached);
}

#[test]
fn old_versions_go_with_their_replicas() {
    let mut asked = Asked::cluster(1);
    let first = asked.deploy("a", 0);
    asked.assign(&first, &[1]);
    for digest in 1..=u8::try_from(VERSIONS_MAX).unwrap() {
        asked.deploy("a", digest);
        asked.switch("a");
    }
    assert_eq!(asked.state.versions_of(&function("a")).count(), VERSIONS_MAX);
    assert!(asked.state.version(&first).is_none() && asked.holders(&first).is_empty());
    let gone = vec![Weight { version: first.number, weight: 1 }];
    let traffic = Command::SetTraffic { function: function("a"), traffic: gone };
    assert_eq!(asked.refused(traffic), Code::VersionNotFound);
}

#[test]
fn routes_belong_to_one_function() {
    let mut asked = Asked::cluster(1);
    asked.deploy("a", 1);
    assert!(asked.state.route(&"/a/*".parse().unwrap()).is_some());
    assert_eq!(asked.refused(deploy_at("b", 1, &["/b", "/a/*"])), Code::RouteConflict);
    let refusal = asked.run(deploy_at("b", 1, &["/a/*"])).outcome;
    let Outcome::Rejected(refusal) = refusal else { panic!("{refusal:?}") };
    assert_eq!(refusal.message, "route '/a/*' of 'b' belongs to 'a' already");
    assert!(asked.state.function(&function("b")).is_none(), "nothing of a refused deploy stays");
    assert_eq!(asked.refused(deploy_at("b", 1, &["/b", "/b"])), Code::InvalidArgument);
    asked.run(deploy_at("a", 1, &["shop.example/*"]));
    asked.run(deploy_at("b", 1, &["/a/*"]));
    let routes: Vec<_> =
        asked.state.routes().map(|route| (route.spec.to_string(), route.function.to_string())).collect();
    assert_eq!(routes, [("/a/*".into(), "b".into()), ("shop.example/*".into(), "a".into())]);
}

#[test]
fn a_namespace_lives_as_long_as_its_functions() {
    let mut asked = Asked::cluster(1);
    for name in ["shop/a", "shop/b", "shop-b/a", "b"] {
        asked.deploy(name, 1);
    }
    let names = |asked: &Asked| asked.state.namespaces().map(|it| it.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&asked), ["default", "shop", "shop-b"]);
    assert!(asked.state.route(&"/shop/a/*".parse().unwrap()).is_some());
    asked.run(Command::DeleteFunction { function: function("shop/a") });
    assert_eq!(names(&asked), ["default", "shop", "shop-b"]);
    asked.run(Command::DeleteFunction { function: function("shop/b") });
    assert_eq!(names(&asked), ["default", "shop-b"]);
    assert_eq!(
        asked.refused(Command::DeleteFunction { function: function("shop/b") }),
        Code::FunctionNotFound
    );
}

#[test]
fn an_epoch_is_the_revision_of_the_assignment() {
    let mut asked = Asked::cluster(2);
    let a = asked.deploy("a", 1);
    asked.assign(&a, &[1, 1, 7]);
    let epoch = asked.state.replica(&a, NodeId::new(1)).unwrap().epoch;
    assert_eq!(epoch.get(), asked.state.revision().get());
    asked.assign(&a, &[1, 2]);
    assert_eq!(asked.state.replica(&a, NodeId::new(1)).unwrap().epoch, epoch, "assigned already");
    let late = |epoch| Command::Assign {
        placements: vec![Placement { version: a.clone(), add: vec![], drop: vec![(NodeId::new(1), epoch)] }],
        switches: vec![],
    };
    let none = asked.run(late(Epoch::new(epoch.get() - 1))).outcome;
    assert_eq!(none, Outcome::Assigned { added: 0, dropped: 0, switched: 0 });
    let ended = Outcome::Assigned { added: 0, dropped: 1, switched: 0 };
    assert_eq!(asked.run(late(epoch)).outcome, ended);
    asked.assign(&a, &[1]);
    assert!(asked.state.replica(&a, NodeId::new(1)).unwrap().epoch > epoch);
}

#[test]
fn a_change_since_the_client_looked_is_a_conflict() {
    let mut asked = Asked::cluster(1);
    asked.deploy("a", 1);
    let seen = asked.state.revision();
    let expecting = |asked: &mut Asked, expected, command| {
        let envelope = Envelope { expected, ..asked.envelope(command) };
        code(&asked.state.apply(TERM, envelope).outcome)
    };
    assert_eq!(expecting(&mut asked, seen, deploy("a", 2)), None);
    assert_eq!(expecting(&mut asked, seen, deploy("a", 3)), Some(Code::Conflict));
    let delete = Command::DeleteFunction { function: function("a") };
    assert_eq!(expecting(&mut asked, seen, delete.clone()), Some(Code::Conflict));
    let now = asked.state.revision();
    assert_eq!(expecting(&mut asked, now, delete), None);
    assert_eq!(expecting(&mut asked, now, deploy("a", 4)), Some(Code::Conflict), "it does not exist");
}

#[test]
fn a_repeated_request_changes_nothing() {
    let mut asked = Asked::cluster(1);
    let envelope = asked.envelope(deploy("a", 1));
    let first = asked.state.apply(TERM, envelope.clone());
    let (revision, hash) = (asked.state.revision(), asked.state.hash());
    let again = asked.state.apply(TERM, envelope);
    assert!(again.repeated && !first.repeated && again.changes.is_empty());
    assert_eq!((again.outcome, again.revision), (first.outcome, first.revision));
    assert_eq!((asked.state.revision(), asked.state.hash()), (revision, hash));
}

#[test]
fn the_oldest_outcome_is_forgotten_and_its_request_refused() {
    // A state that remembers as much as it can, made of records: the last command before has revision MAX.
    let full = u64::try_from(REMEMBERED_MAX).unwrap();
    let one = Asked::cluster(1).state;
    let records =
        one.records().filter(|record| !matches!(record, Record::Remembered(_))).map(|record| match record {
            Record::Cluster(cluster) => {
                Record::Cluster(coracle_proto::record::Cluster { revision: Revision::new(full), ..cluster })
            }
            other => other,
        });
    let outcomes = (1..=full).map(|number| {
        let (request, revision) = (RequestId::new(number.into()), Revision::new(number));
        Record::Remembered(Remembered { request, revision, outcome: Outcome::Done })
    });
    let mut state = ClusterState::restore(records.chain(outcomes)).unwrap();
    let ask = |request: u64, since: u64| Envelope {
        request: RequestId::new(request.into()),
        since: Revision::new(since),
        ..envelope(Command::SetVotersWanted { voters: 5 })
    };
    assert!(state.apply(TERM, ask(1, 0)).repeated, "the oldest is still known");
    let applied = state.apply(TERM, ask(full + 1, 0));
    assert_eq!(
        (applied.outcome, applied.changes.len()),
        (Outcome::Done, 3),
        "cluster, outcome, oldest outcome"
    );
    assert_eq!(state.cluster().unwrap().remembered_from, Revision::new(2));
    let late = state.apply(TERM, ask(1, 0));
    assert_eq!(code(&late.outcome), Some(Code::OutcomeUnknown));
    assert_eq!(state.apply(TERM, ask(full + 3, full)).outcome, Outcome::Done);
    crate::model::invariant::check(&state).unwrap();
}

#[test]
fn a_newer_command_is_told_apart_from_damage() {
    use prost::Message as _;
    let known = codec::encode(&envelope(deploy("a", 1)));
    assert_eq!(codec::decode(&known, Door::Disk).unwrap(), envelope(deploy("a", 1)));
    // Field 8, the command, holding a message of kind 900: what a newer program would send.
    let kind = [0xa2_u8, 0x38, 0x00];
    let mut newer = Vec::new();
    coracle_proto::pb::Envelope { command: None, ..coracle_proto::pb::Envelope::decode(&known[..]).unwrap() }
        .encode(&mut newer)
        .unwrap();
    newer.extend([0x42, u8::try_from(kind.len()).unwrap()]);
    newer.extend(kind);
    assert_eq!(codec::decode(&newer, Door::Disk), Err(codec::DecodeError::UnknownCommand));
    assert!(matches!(codec::decode(&known[..known.len() - 1], Door::Disk), Err(codec::DecodeError::Wire(_))));
}
