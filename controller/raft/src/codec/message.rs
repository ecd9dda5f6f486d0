//! The messages between members, to and from openraft's requests and answers.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::pb::raft as pb;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::raft::{
    entry_from_wire, entry_to_wire, log_id_from_wire, log_id_to_wire, snapshot_meta, vote_from_wire,
    vote_to_wire,
};
use crate::types::{LogId, SnapshotMeta, Types, Vote};

pub(crate) fn append_to_wire(header: pb::Header, request: &AppendEntriesRequest<Types>) -> pb::AppendRequest {
    pb::AppendRequest {
        header: Some(header),
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries.iter().map(entry_to_wire).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_wire),
    }
}

pub(crate) fn append_from_wire(wire: pb::AppendRequest) -> Result<AppendEntriesRequest<Types>, DecodeError> {
    let vote = vote_from_wire(&wire.vote.in_field("vote")?);
    let within = |field, id: Option<LogId>| within(&vote, field, id);
    let entries: Vec<_> = wire.entries.into_iter().map(entry_from_wire).collect::<Result<_, _>>()?;
    entries.iter().try_for_each(|entry| within("entries", Some(entry.log_id)).map(drop))?;
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id: within("previous", wire.previous.as_ref().map(log_id_from_wire))?,
        entries,
        leader_commit: within("leader_commit", wire.leader_commit.as_ref().map(log_id_from_wire))?,
    })
}

/// What begins a snapshot: whose it is, and what it stands for.
pub(crate) fn snapshot_from_wire(wire: pb::SnapshotStart) -> Result<(Vote, SnapshotMeta), DecodeError> {
    let vote = vote_from_wire(&wire.vote.in_field("vote")?);
    let meta = snapshot_meta(wire.last_log_id.as_ref(), wire.membership)?;
    within(&vote, "last_log_id", meta.last_log_id)?;
    within(&vote, "membership", *meta.last_membership.log_id())?;
    Ok((vote, meta))
}

/// No leader has what a later one made: a log that did would not be read again.
fn within(vote: &Vote, field: &'static str, id: Option<LogId>) -> Result<Option<LogId>, DecodeError> {
    match id.filter(|id| id.leader_id.term > vote.leader_id.term) {
        Some(id) => Err(DecodeError::new(field, format!("{id} is of a later term than {vote}"))),
        None => Ok(id),
    }
}

pub(crate) fn append_reply_to_wire(result: &StreamAppendResult<Types>) -> pb::AppendReply {
    use pb::append_reply::Result as Wire;
    let result = match result {
        Ok(matched) => Wire::Matched(pb::Matched { log_id: matched.as_ref().map(log_id_to_wire) }),
        Err(StreamAppendError::Conflict(at)) => Wire::Conflict(log_id_to_wire(at)),
        Err(StreamAppendError::HigherVote(vote)) => Wire::HigherVote(vote_to_wire(vote)),
    };
    pb::AppendReply { result: Some(result) }
}

pub(crate) fn append_reply_from_wire(
    wire: &pb::AppendReply,
) -> Result<StreamAppendResult<Types>, DecodeError> {
    use pb::append_reply::Result as Wire;
    Ok(match wire.result.as_ref().in_field("result")? {
        Wire::Matched(matched) => Ok(matched.log_id.as_ref().map(log_id_from_wire)),
        Wire::Conflict(at) => Err(StreamAppendError::Conflict(log_id_from_wire(at))),
        Wire::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_wire(vote))),
    })
}

pub(crate) fn vote_request_to_wire(header: pb::Header, request: &VoteRequest<Types>) -> pb::VoteRequest {
    pb::VoteRequest {
        header: Some(header),
        vote: Some(vote_to_wire(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from_wire(wire: &pb::VoteRequest) -> Result<VoteRequest<Types>, DecodeError> {
    let vote = vote_from_wire(wire.vote.as_ref().in_field("vote")?);
    let mut request = VoteRequest::new(vote, wire.last_log_id.as_ref().map(log_id_from_wire));
    request.leadership_transfer = wire.leadership_transfer;
    Ok(request)
}

pub(crate) fn vote_reply_to_wire(reply: &VoteResponse<Types>) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(vote_to_wire(&reply.vote)),
        granted: reply.vote_granted,
        last_log_id: reply.last_log_id.as_ref().map(log_id_to_wire),
    }
}

pub(crate) fn vote_reply_from_wire(wire: &pb::VoteReply) -> Result<VoteResponse<Types>, DecodeError> {
    let vote = vote_from_wire(wire.vote.as_ref().in_field("vote")?);
    Ok(VoteResponse::new(vote, wire.last_log_id.as_ref().map(log_id_from_wire), wire.granted))
}

pub(crate) fn transfer_to_wire(
    header: pb::Header,
    request: &TransferLeaderRequest<Types>,
) -> pb::TransferRequest {
    pb::TransferRequest {
        header: Some(header),
        from_leader: Some(vote_to_wire(request.from_leader())),
        to_node: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_wire),
    }
}

pub(crate) fn transfer_from_wire(
    wire: &pb::TransferRequest,
) -> Result<TransferLeaderRequest<Types>, DecodeError> {
    let from = vote_from_wire(wire.from_leader.as_ref().in_field("from_leader")?);
    Ok(TransferLeaderRequest::new(from, wire.to_node, wire.last_log_id.as_ref().map(log_id_from_wire)))
}

pub(crate) fn transfer_reply_to_wire(reply: TransferLeaderResponse<Types>) -> pb::TransferReply {
    use pb::transfer_reply::Refused;
    let refused = reply.err().map(|error| match error {
        TransferLeaderError::VoteChanged { actual, .. } => Refused::VoteChanged(vote_to_wire(&actual)),
        TransferLeaderError::LogNotFlushed { actual, .. } => {
            Refused::LogNotFlushed(pb::LogNotFlushed { actual: actual.as_ref().map(log_id_to_wire) })
        }
    });
    pb::TransferReply { refused }
}

pub(crate) fn transfer_reply_from_wire(
    request: &TransferLeaderRequest<Types>,
    wire: pb::TransferReply,
) -> TransferLeaderResponse<Types> {
    use pb::transfer_reply::Refused;
    match wire.refused {
        None => Ok(()),
        Some(Refused::VoteChanged(actual)) => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: vote_from_wire(&actual),
        }),
        Some(Refused::LogNotFlushed(at)) => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: at.actual.as_ref().map(log_id_from_wire),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64) -> Option<pb::LogId> {
        Some(pb::LogId { term, index: 7 })
    }

    const VOTE: Option<pb::Vote> = Some(pb::Vote { term: 5, node: 1, committed: true });

    #[test]
    fn nothing_is_of_a_later_term_than_its_leader() {
        let append = |entry, previous, commit| pb::AppendRequest {
            vote: VOTE,
            entries: vec![pb::Entry {
                log_id: id(entry),
                payload: Some(pb::entry::Payload::Blank(pb::Blank {})),
            }],
            previous: id(previous),
            leader_commit: id(commit),
            ..Default::default()
        };
        append_from_wire(append(5, 5, 5)).unwrap();
        for (wrong, field) in
            [(append(6, 5, 5), "entries"), (append(5, 6, 5), "previous"), (append(5, 5, 6), "leader_commit")]
        {
            let error = append_from_wire(wrong).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        let snapshot = |last, members| pb::SnapshotStart {
            vote: VOTE,
            last_log_id: id(last),
            membership: Some(pb::StoredMembership {
                log_id: id(members),
                membership: Some(pb::Membership::default()),
            }),
        };
        snapshot_from_wire(snapshot(5, 5)).unwrap();
        assert!(snapshot_from_wire(snapshot(6, 5)).unwrap_err().to_string().contains("last_log_id"));
        assert!(snapshot_from_wire(snapshot(5, 6)).unwrap_err().to_string().contains("membership"));
    }
}
