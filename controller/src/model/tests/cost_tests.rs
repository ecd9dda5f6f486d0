//! Goal: a command costs what it changes, with ten functions and with a hundred thousand.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::record::{Function, Outcome, Record, Route, Version};

use crate::model::codec::encodings;
use crate::model::samples::{Asked, TERM, deploy, function, node, version};
use crate::model::{Change, Command, FUNCTIONS_MAX, Placement, Switch, default_route, invariant};
use coracle_proto::id::NodeId;
use coracle_proto::record::NodeState;
use coracle_proto::status::Code;

/// So many functions, copies of one: names have one length, so that only the number differs.
fn crowd(functions: usize) -> Asked {
    let mut asked = Asked::cluster(3);
    let first = asked.deploy("f000000", 1);
    let (model, code) = (
        asked.state.function(&first.function).cloned().unwrap(),
        asked.state.version(&first).cloned().unwrap(),
    );
    for number in 1..functions {
        let id = function(&format!("f{number:06}"));
        let spec = default_route(&id).unwrap();
        asked.state.put(Record::Route(Route { spec, function: id.clone() }));
        asked.state.put(Record::Version(Version { id: version(&id.to_string(), 1), ..code.clone() }));
        asked.state.put(Record::Function(Function { id, ..model.clone() }));
    }
    asked
}

fn bytes(changes: &[Change]) -> usize {
    let record = |change: &Change| change.record.as_ref().map_or(0, Bytes::len);
    changes.iter().map(|change| change.key.len() + record(change)).sum()
}

fn commands() -> Vec<Command> {
    vec![
        deploy("g000000", 9),
        deploy("f000003", 7),
        Command::MarkNode { node: NodeId::new(2), state: NodeState::Dead },
        Command::DeleteFunction { function: function("f000004") },
        Command::SetVotersWanted { voters: 5 },
    ]
}

#[test]
fn changed_bytes_do_not_grow_with_the_state() {
    let cost = |functions| {
        let mut asked = crowd(functions);
        let mut costs = Vec::new();
        for command in commands() {
            costs.push(bytes(&asked.run(command).changes));
        }
        // What the planner decides: two replicas, and the calls of the function that was deployed anew.
        let add = [1, 3].map(NodeId::new).to_vec();
        let placements = vec![Placement { version: version("f000005", 1), add, drop: Vec::new() }];
        let id = function("f000003");
        let updated = asked.state.function(&id).unwrap().updated;
        let switches = vec![Switch { function: id, updated }];
        let assigned = asked.run(Command::Assign { placements, switches });
        assert_eq!(assigned.outcome, Outcome::Assigned { added: 2, dropped: 0, switched: 1 });
        costs.push(bytes(&assigned.changes));
        costs
    };
    let (few, many) = (cost(10), cost(FUNCTIONS_MAX - 1));
    println!("bytes changed at 10 functions {few:?}, at {} {many:?}", FUNCTIONS_MAX - 1);
    assert_eq!(few, many);
    assert!(few.iter().all(|bytes| *bytes < 1000));
}

/// Encoding is most of what a change costs beside the disk: the store, the hash and every watcher share one.
#[test]
fn each_changed_record_is_encoded_once() {
    let mut asked = crowd(10);
    let refused = Command::SetVotersWanted { voters: 0 };
    let joins = Command::RegisterNode { node: node("b") };
    let again = deploy("f000003", 7);
    for command in commands().into_iter().chain([refused, joins, again]) {
        let what = format!("{command:?}");
        encodings::take();
        let changes = asked.run(command).changes;
        let put = changes.iter().filter(|change| change.record.is_some()).count();
        assert_eq!(encodings::take(), put, "{what}");
    }
    let envelope = asked.envelope(deploy("f000003", 8));
    asked.state.apply(TERM, envelope.clone());
    encodings::take();
    asked.state.apply(TERM, envelope);
    assert_eq!(encodings::take(), 0, "a repeated request writes nothing");
}

/// The quickest of many, so that other work on the machine does not count.
#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn quickest(asked: &mut Asked, times: u8) -> Duration {
    let one = |digest| {
        let envelope = asked.envelope(deploy("f000003", digest));
        let kept = asked.state.clone();
        let begun = Instant::now();
        let applied = asked.state.apply(TERM, envelope);
        let took = begun.elapsed();
        assert!(!applied.repeated && kept.revision() < asked.state.revision());
        took
    };
    (10..10 + times).map(one).min().unwrap()
}

#[test]
fn time_does_not_grow_with_the_state() {
    let (mut few, mut many) = (crowd(10), crowd(FUNCTIONS_MAX));
    let (short, long) = (quickest(&mut few, 100), quickest(&mut many, 100));
    println!("a deploy with a snapshot held: {short:?} at 10 functions, {long:?} at {FUNCTIONS_MAX}");
    assert!(long < short * 6, "ten thousand times the state took {long:?} instead of {short:?}");
    assert_eq!(many.refused(deploy("one-more", 1)), Code::LimitReached);
    invariant::check(&many.state).unwrap();
}
