//! Records: what stands in frames, one behind the other, each with its length before it.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::GroupId;
use coracle_proto::pb::raft as pb;
use prost::Message as _;

use super::raft::{
    entry_from_wire, entry_to_wire, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire,
};
use super::record::Stored as _;
use crate::options::HostIdentity;
use crate::types::{Entry, LogId, Vote};

/// The format of what this build writes. A newer one is refused, never guessed at.
const FORMAT: u32 = 1;

/// What a group's log says, beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GroupState {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    /// The state on disk is at least as new.
    pub(crate) checkpoint: Option<LogId>,
}

impl GroupState {
    /// The first index that the log has to keep: it is not purged, or the state on the disk lacks it.
    pub(crate) fn floor(&self) -> u64 {
        let next = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
        next(self.purged).min(next(self.checkpoint))
    }
}

/// The first record of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) identity: HostIdentity,
    pub(crate) number: u64,
    pub(crate) groups: Vec<(GroupId, GroupState)>,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Entry(GroupId, Entry),
    Vote(GroupId, Vote),
    Committed(GroupId, LogId),
    Purged(GroupId, LogId),
    /// The log of a group ends here.
    Truncated(GroupId, Option<LogId>),
    Head(SegmentHead),
}

impl Record {
    /// Appends this record to a frame's body.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        use pb::log_record::Kind;
        let (group, kind) = match self {
            Self::Entry(group, entry) => (*group, Kind::Entry(entry_to_wire(entry))),
            Self::Vote(group, vote) => (*group, Kind::Vote(vote_to_wire(vote))),
            Self::Committed(group, id) => (*group, Kind::Committed(log_id_to_wire(id))),
            Self::Purged(group, id) => (*group, Kind::Purged(log_id_to_wire(id))),
            Self::Truncated(group, after) => {
                (*group, Kind::Truncated(pb::Truncated { after: after.as_ref().map(log_id_to_wire) }))
            }
            Self::Head(head) => (GroupId::META, Kind::Head(head_to_wire(head))),
        };
        let record = pb::LogRecord { group: group.get(), kind: Some(kind) };
        to.reserve(record.encoded_len() + prost::length_delimiter_len(record.encoded_len()));
        // A Vec grows as it must: there is no lack of room.
        let _ = record.encode_length_delimited(to);
    }

    fn from_wire(record: pb::LogRecord) -> Result<Self, DecodeError> {
        use pb::log_record::Kind;
        let group = GroupId::new(record.group);
        Ok(match record.kind.in_field("kind")? {
            Kind::Entry(entry) => Self::Entry(group, entry_from_wire(entry)?),
            Kind::Vote(vote) => Self::Vote(group, vote_from_wire(&vote)),
            Kind::Committed(id) => Self::Committed(group, log_id_from_wire(&id)),
            Kind::Purged(id) => Self::Purged(group, log_id_from_wire(&id)),
            Kind::Truncated(pb::Truncated { after }) => {
                Self::Truncated(group, after.as_ref().map(log_id_from_wire))
            }
            Kind::Head(head) => Self::Head(head_from_wire(head)?),
        })
    }
}

/// The records of a frame's body.
pub(crate) fn decode(mut body: Bytes) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let record = pb::LogRecord::decode_length_delimited(&mut body).map_err(|error| error.to_string())?;
        records.push(Record::from_wire(record).map_err(|error| error.to_string())?);
    }
    Ok(records)
}

fn head_to_wire(head: &SegmentHead) -> pb::LogHead {
    let group = |(group, state): &(GroupId, GroupState)| pb::GroupState {
        group: group.get(),
        vote: state.vote.as_ref().map(vote_to_wire),
        committed: state.committed.as_ref().map(log_id_to_wire),
        purged: state.purged.as_ref().map(log_id_to_wire),
        checkpoint: state.checkpoint.as_ref().map(log_id_to_wire),
    };
    pb::LogHead {
        format: FORMAT,
        identity: Some(head.identity.to_message()),
        number: head.number,
        groups: head.groups.iter().map(group).collect(),
    }
}

fn head_from_wire(head: pb::LogHead) -> Result<SegmentHead, DecodeError> {
    if head.format != FORMAT {
        return Err(DecodeError::new(
            "format",
            format!("the log has format {}, this build reads {FORMAT}", head.format),
        ));
    }
    let group = |state: pb::GroupState| {
        let id = |id: Option<pb::LogId>| id.as_ref().map(log_id_from_wire);
        let vote = state.vote.as_ref().map(vote_from_wire);
        let (committed, purged) = (id(state.committed), id(state.purged));
        (GroupId::new(state.group), GroupState { vote, committed, purged, checkpoint: id(state.checkpoint) })
    };
    Ok(SegmentHead {
        identity: HostIdentity::from_message(head.identity.in_field("identity")?)?,
        number: head.number,
        groups: head.groups.into_iter().map(group).collect(),
    })
}
