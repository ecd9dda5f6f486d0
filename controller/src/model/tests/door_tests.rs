//! Goal: what was let in once is read and kept for ever; who asks today keeps the bounds of today.

use coracle_proto::codec::Door;
use coracle_proto::pb::{self, command::Kind};
use coracle_proto::record::{Outcome, Record};
use coracle_raft::{Position, StateMachine as _};
use prost::Message as _;

use crate::machine::MetaMachine;
use crate::model::codec::{self, DecodeError};
use crate::model::samples::{Asked, TERM, deploy, envelope, version};
use crate::model::{ClusterState, VERSIONS_MAX};

/// A deploy as a program with wider bounds wrote it: more routes, hosts and replicas, a longer name.
fn wide() -> (Vec<u8>, String) {
    let mut wire = pb::Envelope::decode(&codec::encode(&envelope(deploy("a", 1)))[..]).unwrap();
    let name = "Name_".repeat(20);
    let Some(Kind::Deploy(deploy)) = wire.command.as_mut().unwrap().kind.as_mut() else { panic!("a deploy") };
    let spec = deploy.spec.as_mut().unwrap();
    (spec.replicas, spec.hosts) = (1000, vec!["A Host".to_owned(); 200]);
    deploy.name = name.clone();
    deploy.routes = (0..60)
        .map(|number| pb::RouteSpec {
            path: format!("/{}/{number}", "p".repeat(2000)),
            r#match: pb::RouteMatch::Prefix.into(),
            ..pb::RouteSpec::default()
        })
        .collect();
    wire.request_id = vec![9; 16].into();
    (wire.encode_to_vec(), name)
}

#[test]
fn a_command_beyond_todays_bounds_is_refused_to_who_asks_and_read_off_the_log() {
    let (bytes, name) = wide();
    assert!(matches!(codec::decode(&bytes, Door::Api), Err(DecodeError::Field(_))));
    let read = codec::decode(&bytes, Door::Disk).unwrap();
    assert_eq!(codec::encode(&read), bytes, "nothing of it is lost");

    let mut asked = Asked::cluster(1);
    let outcome = asked.state.apply(TERM, read).outcome;
    assert!(matches!(outcome, Outcome::Deployed { .. }), "{outcome:?}");
    let state = &asked.state;
    assert_eq!(state.routes().count(), 60);

    let mut machine = MetaMachine::restore(&mut std::iter::empty()).unwrap();
    for command in [codec::encode(&Asked::founding()), bytes.into()] {
        machine.apply(Position::default(), &command).unwrap();
    }
    let stored: Vec<_> = machine.records().collect();
    let restored = MetaMachine::restore(&mut stored.into_iter()).unwrap();
    assert_eq!(restored.state().hash(), machine.state().hash());
    assert_eq!(restored.state().functions().next().unwrap().id.name.as_str(), name);
}

#[test]
fn a_state_with_more_than_there_may_be_today_is_restored() {
    let mut asked = Asked::cluster(1);
    let first = asked.deploy("a", 1);
    let model = asked.state.version(&first).cloned().unwrap();
    let mut function = asked.state.function(&first.function).cloned().unwrap();
    for number in 2..=VERSIONS_MAX as u64 + 5 {
        let id = version("a", number);
        function.latest = id.number;
        asked.state.put(Record::Version(coracle_proto::record::Version { id, ..model.clone() }));
    }
    asked.state.put(Record::Function(function));
    let mut cluster = asked.state.cluster().cloned().unwrap();
    cluster.voters_wanted = 99;
    asked.state.put(Record::Cluster(cluster));
    let restored = ClusterState::restore(asked.state.records()).unwrap();
    assert_eq!(restored.hash(), asked.state.hash());
}
