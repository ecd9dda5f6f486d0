//! What an operator must know: each alarm begins with a name that never changes, then a sentence.

use coracle_raft::Status;

use crate::context::Context;
use crate::soft::process_alarms;

/// The leader's alarms, and those that this node finds by itself.
pub(crate) fn collect(context: &Context, quorum: bool) -> Vec<String> {
    let mut alarms = context.soft.alarms();
    if !quorum {
        alarms.push(
            "no-quorum: no leader is confirmed by a majority; changes are refused, calls go on".to_owned(),
        );
    }
    alarms.extend(absurd_term(&context.raft.status()));
    alarms.extend(context.soft.processes().values().flat_map(|told| process_alarms(told)));
    alarms.sort();
    alarms.dedup();
    alarms
}

/// A member of a damaged or hostile program: it was refused, and the group goes on.
pub(crate) fn absurd_term(status: &Status) -> Option<String> {
    let absurd = status.absurd_term?;
    let (from, term) = (absurd.from, absurd.term);
    Some(format!("absurd-term: node {from} sent term {term}, which no election can have led to"))
}
