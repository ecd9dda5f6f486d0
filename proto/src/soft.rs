//! The lists of a node's status on their way: cut so that no message is too large, and put together again.

use std::collections::VecDeque;

use prost::Message as _;

use crate::pb::{NodeStatus, ViewTold};

/// Bytes of one part: far below gRPC's 4 MiB for a message, and large enough that most statuses are one.
pub const PART_BYTES_MAX: usize = 256 << 10;
/// Bytes of a failure's reason in a status. Who wants all of it reads the node's log.
pub const REASON_BYTES_MAX: usize = 512;
/// Replicas and artifacts of one node: what says more is no node of ours.
pub const ITEMS_MAX: usize = 400_000;
/// Views that a node told before, and tells again: who was elsewhere when it told them finds one that it knows too.
pub const VIEWS_TOLD_MAX: usize = 8;
/// What a list's item costs beside its own bytes: its key and its length.
const ITEM_OVERHEAD: usize = 8;

/// A status whose lists are as of the same number as before: what is told when nothing changed.
#[must_use]
pub fn without_lists(status: &NodeStatus) -> NodeStatus {
    NodeStatus {
        replicas: Vec::new(),
        artifacts: Vec::new(),
        dropped: Vec::new(),
        more: false,
        part: 0,
        since: status.changes,
        node: status.node,
        cluster_id: status.cluster_id.clone(),
        incarnation: status.incarnation,
        sequence: status.sequence,
        load: status.load,
        view_revision: status.view_revision,
        runtime: status.runtime.clone(),
        view_hash: status.view_hash.clone(),
        views: status.views.clone(),
        routing_revision: status.routing_revision,
        clock_ms: status.clock_ms,
        changes: status.changes,
    }
}

/// The last views that a node told of, oldest first.
#[derive(Debug, Default)]
pub struct ViewsTold(VecDeque<ViewTold>);

impl ViewsTold {
    /// Puts into a status what was told before, and remembers what it tells itself.
    pub fn fill(&mut self, status: &mut NodeStatus) {
        let before = self.0.iter().filter(|told| told.revision != status.view_revision);
        status.views = before.cloned().collect();
        let last = self.0.back().map(|told| told.revision);
        if status.view_hash.is_empty() || last == Some(status.view_revision) {
            return;
        }
        if self.0.len() >= VIEWS_TOLD_MAX {
            self.0.pop_front();
        }
        self.0.push_back(ViewTold { revision: status.view_revision, hash: status.view_hash.clone() });
    }
}

/// The status in parts of about `bytes_max` at most, at least one. Each but the last says that more comes.
#[must_use]
pub fn cut(mut status: NodeStatus, bytes_max: usize) -> Vec<NodeStatus> {
    if status.encoded_len() <= bytes_max {
        return vec![status];
    }
    let replicas = std::mem::take(&mut status.replicas);
    let artifacts = std::mem::take(&mut status.artifacts);
    let dropped = std::mem::take(&mut status.dropped);
    let head = status.encoded_len();
    let (mut parts, mut part, mut bytes) = (Vec::new(), status.clone(), head);
    let mut room = |part: &mut NodeStatus, length: usize| {
        if bytes > head && bytes + length + ITEM_OVERHEAD > bytes_max {
            let next = NodeStatus { part: part.part.saturating_add(1), ..status.clone() };
            parts.push(NodeStatus { more: true, ..std::mem::replace(part, next) });
            bytes = head;
        }
        bytes += length + ITEM_OVERHEAD;
    };
    for it in replicas {
        room(&mut part, it.encoded_len());
        part.replicas.push(it);
    }
    for it in artifacts {
        room(&mut part, it.encoded_len());
        part.artifacts.push(it);
    }
    for it in dropped {
        room(&mut part, it.len());
        part.dropped.push(it);
    }
    parts.push(part);
    parts
}

/// What came of one status so far.
#[derive(Debug, Default)]
pub struct Parts(Option<NodeStatus>);

impl Parts {
    /// Takes one part; the status, when it was the last. A part that does not go on where the one before ended is
    /// dropped with what was begun, and so are too many items.
    pub fn join(&mut self, part: NodeStatus) -> Option<NodeStatus> {
        let status = match (self.0.take(), part.part) {
            (_, 0) => part,
            (Some(mut begun), number) if goes_on(&begun, &part) => {
                begun.replicas.extend(part.replicas);
                begun.artifacts.extend(part.artifacts);
                begun.dropped.extend(part.dropped);
                NodeStatus { more: part.more, part: number, ..begun }
            }
            (Some(_) | None, _) => return None,
        };
        if status.replicas.len() + status.artifacts.len() + status.dropped.len() > ITEMS_MAX {
            return None;
        }
        if status.more {
            self.0 = Some(status);
            return None;
        }
        Some(NodeStatus { part: 0, ..status })
    }

    /// Whether a status was begun and has not ended.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.0.is_some()
    }
}

fn goes_on(begun: &NodeStatus, part: &NodeStatus) -> bool {
    let of = |status: &NodeStatus| (status.incarnation, status.sequence, status.since);
    of(begun) == of(part) && begun.part.checked_add(1) == Some(part.part)
}

/// A reason as statuses have it: cut at a character, and said to be.
#[must_use]
pub fn short_reason(reason: &str) -> String {
    const CUT: &str = " ...";
    if reason.len() <= REASON_BYTES_MAX {
        return reason.to_owned();
    }
    let mut end = REASON_BYTES_MAX - CUT.len();
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", reason.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{HeldArtifact, ReplicaStatus};

    fn status(replicas: usize) -> NodeStatus {
        let replica = |at: usize| ReplicaStatus {
            name: format!("function-{at}"),
            reason: "r".repeat(REASON_BYTES_MAX),
            ..ReplicaStatus::default()
        };
        NodeStatus {
            node: 7,
            sequence: 3,
            changes: 9,
            since: 2,
            replicas: (0..replicas).map(replica).collect(),
            artifacts: vec![HeldArtifact { digest: vec![1; 32].into(), ..HeldArtifact::default() }; replicas],
            dropped: vec![vec![2; 32].into(); replicas],
            ..NodeStatus::default()
        }
    }

    #[test]
    fn what_is_cut_is_put_together_again() {
        let whole = status(10_000);
        let parts = cut(whole.clone(), PART_BYTES_MAX);
        assert!(parts.len() > 10, "{} parts", parts.len());
        let mut joined = Parts::default();
        let mut done = None;
        for part in parts {
            assert!(part.encoded_len() <= PART_BYTES_MAX, "{} bytes", part.encoded_len());
            assert!(done.is_none(), "the last one ends it");
            done = joined.join(part);
        }
        assert_eq!(done, Some(whole));
        assert_eq!(cut(status(1), PART_BYTES_MAX), [status(1)]);
    }

    #[test]
    fn the_last_views_are_told_again() {
        let mut told = ViewsTold::default();
        let mut tell = |view_revision: u64, hash: u8| {
            let view_hash = if hash == 0 { Vec::new() } else { vec![hash; 16] }.into();
            let mut status = NodeStatus { view_revision, view_hash, ..NodeStatus::default() };
            told.fill(&mut status);
            status.views.into_iter().map(|view| view.revision).collect::<Vec<_>>()
        };
        assert!(tell(3, 1).is_empty() && tell(3, 1).is_empty());
        assert_eq!(tell(5, 0), [3], "without a hash there is nothing to compare");
        assert_eq!((tell(6, 2), tell(7, 3)), (vec![3], vec![3, 6]));
        let last = (8..30).map(|revision| tell(revision, 4)).last().unwrap();
        assert_eq!(last, (21..29).collect::<Vec<_>>());
    }

    #[test]
    fn parts_of_two_statuses_are_not_mixed() {
        let mut parts = Parts::default();
        let mut first = cut(status(10_000), PART_BYTES_MAX);
        assert!(parts.join(first.swap_remove(0)).is_none() && parts.is_begun());
        let next = NodeStatus { sequence: 4, ..status(1) };
        assert_eq!(parts.join(next.clone()), Some(next));
        let lost = cut(status(10_000), PART_BYTES_MAX).into_iter().skip(1);
        assert!(lost.filter_map(|part| parts.join(part)).next().is_none(), "its first part is missing");
    }

    #[test]
    fn reasons_are_cut_at_a_character() {
        assert_eq!(short_reason("why"), "why");
        let long = short_reason(&"\u{e4}".repeat(REASON_BYTES_MAX));
        assert!(long.len() <= REASON_BYTES_MAX && long.ends_with("\u{e4} ..."), "{long}");
    }
}
