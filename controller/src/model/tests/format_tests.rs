//! Goal: formats rise, time goes on by steps, and a decision counts in its own term only.

use bytes::Bytes;
use coracle_proto::codec::Door;
use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::record::{NodeState, Outcome};
use coracle_proto::status::Code;
use prost::Message as _;

use crate::model::codec::{self, DecodeError};
use crate::model::samples::{Asked, TERM, deploy};
use crate::model::{COMMAND_FORMAT, Command, Envelope, TIME_STEP_MAX_MS};

fn format_of(asked: &Asked) -> u32 {
    asked.state.cluster().unwrap().version
}

fn at(asked: &mut Asked, time_ms: u64) -> u64 {
    let envelope = Envelope { time_ms, ..asked.envelope(Command::KeepTime) };
    asked.state.apply(TERM, envelope);
    asked.state.cluster().unwrap().time_ms
}

#[test]
fn every_cluster_begins_with_the_first_format_and_rises() {
    let mut asked = Asked::cluster(1);
    assert_eq!(format_of(&asked), 1, "its log may be read by a program of that format");
    for format in [COMMAND_FORMAT, 1] {
        assert_eq!(asked.run(Command::RaiseFormat { format }).outcome, Outcome::Done);
        assert_eq!(format_of(&asked), COMMAND_FORMAT, "never down");
    }
}

#[test]
fn a_raise_stops_who_cannot_read_what_comes_after_it() {
    let raise = |format| codec::encode(&Asked::cluster(1).envelope(Command::RaiseFormat { format }));
    assert!(codec::decode(&raise(COMMAND_FORMAT), Door::Disk).is_ok());
    let higher = raise(COMMAND_FORMAT + 1);
    assert_eq!(codec::decode(&higher, Door::Disk), Err(DecodeError::UnknownCommand));
    let mut understated = pb::Envelope::decode(&higher[..]).unwrap();
    understated.format = 1;
    let read = codec::decode(&understated.encode_to_vec(), Door::Disk);
    assert_eq!(read, Err(DecodeError::UnknownCommand));
}

#[test]
fn one_wrong_clock_moves_time_on_by_an_hour_at_most() {
    let mut asked = Asked::cluster(1);
    let ten_years = 10 * 365 * 24 * TIME_STEP_MAX_MS;
    asked.run(Command::RaiseFormat { format: COMMAND_FORMAT });
    assert_eq!(at(&mut asked, 1_000), 1_000);
    assert_eq!(at(&mut asked, ten_years), 1_000 + TIME_STEP_MAX_MS);
    assert_eq!(at(&mut asked, 2_000), 1_000 + TIME_STEP_MAX_MS, "and never back");
    assert_eq!(at(&mut asked, 3 * TIME_STEP_MAX_MS), 1_000 + 2 * TIME_STEP_MAX_MS, "a late one catches up");
    let deployed = Envelope { time_ms: ten_years, ..asked.envelope(deploy("a", 1)) };
    asked.state.apply(TERM, deployed);
    let made_ms = asked.state.versions().next().unwrap().created_ms;
    assert_eq!(made_ms, asked.state.cluster().unwrap().time_ms);
}

#[test]
fn the_leaders_stamp_is_the_one_that_counts() {
    let mut asked = Asked::cluster(1);
    let envelope = Envelope { time_ms: 7, ..asked.envelope(deploy("a", 1)) };
    let stamped = codec::stamped(&codec::encode(&envelope), 9);
    let stamped = codec::stamped(&stamped, 8);
    let read = codec::decode(&stamped, Door::Disk).unwrap();
    assert_eq!(read, Envelope { time_ms: 8, ..envelope });
    assert_eq!(codec::stamped(&Bytes::new(), 0), Bytes::new());
}

#[test]
fn a_decision_counts_in_its_own_term_only() {
    let mut asked = Asked::cluster(2);
    let node = NodeId::new(2);
    let mark = |asked: &mut Asked, term| {
        let mark = Command::MarkNode { node, state: NodeState::Dead };
        let envelope = Envelope { term: Some(term), ..asked.envelope(mark) };
        let read = codec::decode(&codec::encode(&envelope), Door::Disk).unwrap();
        assert_eq!(read, envelope);
        asked.state.apply(TERM, envelope).outcome
    };
    for other in [TERM - 1, TERM + 1] {
        let outcome = mark(&mut asked, other);
        assert!(
            matches!(&outcome, Outcome::Rejected(refusal) if refusal.code == Code::Conflict),
            "{outcome:?}"
        );
        assert_eq!(asked.state.node(node).unwrap().state, NodeState::Alive);
    }
    assert_eq!(mark(&mut asked, TERM), Outcome::Done);
    assert_eq!(asked.state.node(node).unwrap().state, NodeState::Dead);
}
