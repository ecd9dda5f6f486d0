//! What Raft is made of (log ids, votes, members, entries), to and from their messages.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::raft as pb;
use openraft::EntryPayload;

use crate::membership::Seat;
use crate::state_machine::Position;
use crate::types::{Command, Entry, LogId, Membership, SnapshotMeta, StoredMembership, Vote};
use coracle_proto::id::StoreId;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

pub(crate) fn position(id: &LogId) -> Position {
    Position { term: **id.committed_leader_id(), index: id.index() }
}

pub(crate) fn log_id_to_wire(id: &LogId) -> pb::LogId {
    let Position { term, index } = position(id);
    pb::LogId { term, index }
}

pub(crate) fn log_id_from_wire(id: &pb::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn vote_to_wire(vote: &Vote) -> pb::Vote {
    pb::Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from_wire(vote: &pb::Vote) -> Vote {
    if vote.committed { Vote::new_committed(vote.term, vote.node) } else { Vote::new(vote.term, vote.node) }
}

pub(crate) fn membership_to_wire(membership: &Membership) -> pb::Membership {
    let voters = |set: &BTreeSet<u64>| pb::Voters { nodes: set.iter().copied().collect() };
    let member = |(&node, seat): (&u64, &Seat)| pb::Member {
        node,
        address: seat.address.clone(),
        store: seat.store.get(),
    };
    pb::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

pub(crate) fn membership_from_wire(wire: pb::Membership) -> Result<Membership, DecodeError> {
    if wire.configs.is_empty() && wire.members.is_empty() {
        return Ok(Membership::default());
    }
    let configs = wire.configs.into_iter().map(|voters| voters.nodes.into_iter().collect()).collect();
    let seat = |member: pb::Member| {
        (member.node, Seat { address: member.address, store: StoreId::new(member.store) })
    };
    let members = wire.members.into_iter().map(seat);
    Membership::new(configs, members.collect::<BTreeMap<_, _>>()).in_field("membership")
}

pub(crate) fn stored_membership_to_wire(stored: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
}

pub(crate) fn stored_membership_from_wire(
    wire: pb::StoredMembership,
) -> Result<StoredMembership, DecodeError> {
    let log_id = wire.log_id.as_ref().map(log_id_from_wire);
    Ok(StoredMembership::new(log_id, membership_from_wire(wire.membership.in_field("membership")?)?))
}

pub(crate) fn entry_to_wire(entry: &Entry) -> pb::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => pb::entry::Payload::Blank(pb::Blank {}),
        EntryPayload::Normal(Command(bytes)) => pb::entry::Payload::Command(bytes.clone()),
        EntryPayload::Membership(membership) => {
            pb::entry::Payload::Membership(membership_to_wire(membership))
        }
    };
    pb::Entry { log_id: Some(log_id_to_wire(&entry.log_id)), payload: Some(payload) }
}

pub(crate) fn entry_from_wire(wire: pb::Entry) -> Result<Entry, DecodeError> {
    let log_id = log_id_from_wire(&wire.log_id.in_field("log_id")?);
    let payload = match wire.payload.in_field("payload")? {
        pb::entry::Payload::Blank(pb::Blank {}) => EntryPayload::Blank,
        pb::entry::Payload::Command(bytes) => EntryPayload::Normal(Command(bytes)),
        pb::entry::Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_wire(membership)?)
        }
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn snapshot_meta(
    last_log_id: Option<&pb::LogId>,
    membership: Option<pb::StoredMembership>,
) -> Result<SnapshotMeta, DecodeError> {
    Ok(SnapshotMeta {
        last_log_id: last_log_id.map(log_id_from_wire),
        last_membership: stored_membership_from_wire(membership.in_field("membership")?)?,
    })
}
