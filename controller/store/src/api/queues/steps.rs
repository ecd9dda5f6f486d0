//! What is done to a queue in steps of their own entries: others of the group go on meanwhile.

use coracle_proto::pb::{KvRequest, MoveMessagesReply};
use coracle_proto::status::{Code, Refusal};

use super::super::leading::{Leading, sequence};
use crate::model::{Deletion, OP_STEPS_MAX, Op, Outcome, Place, Span};

/// Entries of one redrive or purge: whoever wants more asks again, and one that has left is not worked for.
pub(super) const MOVE_ENTRIES_MAX: usize = 20;

/// As many as one operation may.
pub(super) fn most() -> u32 {
    u32::try_from(OP_STEPS_MAX).unwrap_or(u32::MAX)
}

/// What was accepted after it began is not meant, nor what it has dealt with already and dies again.
pub(super) async fn moved(
    leading: &Leading,
    (from, to): (u64, u64),
    op: impl Fn(Span) -> Op,
) -> Result<MoveMessagesReply, Refusal> {
    let to = match to {
        0 => sequence(&leading.view().await?)?.saturating_add(1),
        to => to,
    };
    let mut reply = MoveMessagesReply { moved: 0, next: from, to };
    for _ in 0..MOVE_ENTRIES_MAX {
        let (moved, more, next) = match leading.done(None, op(Span { from: reply.next, to })).await {
            Ok(Outcome::Moved { moved, more, next }) => (moved, more, next),
            // What was done until now is told; whoever goes on is told the rest.
            Err(_) if reply.moved > 0 => break,
            Err(refusal) => return Err(refusal),
            Ok(_) => (0, false, 0),
        };
        reply.moved += u64::from(moved);
        // Messages are numbered from 1 on.
        reply.next = if more { next.max(1) } else { 0 };
        if !more {
            break;
        }
    }
    Ok(reply)
}

/// Deletes a queue; how many messages it had that were taken away here. Where nobody goes on with it the leader does, by itself.
pub(super) async fn deleted(
    leading: &Leading,
    mut request: Option<KvRequest>,
    queue: &Place,
    force: bool,
) -> Result<u64, Refusal> {
    let mut purged = 0_u64;
    let mut deletion = if force { Deletion::Forced } else { Deletion::Unused };
    loop {
        let op = Op::DropQueue { queue: queue.clone(), deletion, steps: most() };
        match leading.done(request.take(), op).await {
            Ok(Outcome::Moved { moved, more, .. }) => {
                purged += u64::from(moved);
                // Whoever runs one of its messages is to hear of it.
                leading.served.deliveries.take_away();
                if !more {
                    return Ok(purged);
                }
            }
            Ok(_) => return Ok(purged),
            // The leader has ended it meanwhile, or this is a repetition: another queue may have its name by now.
            Err(refusal) if deletion == Deletion::Begun && refusal.code == Code::QueueNotFound => {
                return Ok(purged);
            }
            Err(refusal) => return Err(refusal),
        }
        deletion = Deletion::Begun;
    }
}
