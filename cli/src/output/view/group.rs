//! Data groups and their replicas.

use coracle_proto::pb;
use serde::Serialize;

use crate::output::Row;
use crate::units::show_bytes;

/// A replica of a data group: one that is to be, or one that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReplicaView {
    group: u32,
    node: u64,
    /// `leader`, `voter`, `learner`, `candidate`, `stopped`; `leaving` where it is to have none; `missing`, `silent`.
    state: &'static str,
    /// Slots of namespaces that the group has.
    slots: usize,
    /// Entries behind the leader, by the leader's word.
    lag: Option<u64>,
    bytes: Option<u64>,
    term: Option<u64>,
    applied: Option<u64>,
    address: String,
    /// Why it does not answer, or has stopped.
    reason: Option<String>,
}

/// One line for each replica, by group and node.
pub(crate) fn replicas(wire: pb::ListGroupsReply) -> Vec<ReplicaView> {
    let slots = |group: u32| wire.slots.iter().filter(|slot| **slot == group).count();
    let of_group = |detail: &pb::GroupDetail| {
        let group = detail.group.as_ref().map_or(0, |group| group.id);
        let lags = lags(&detail.replicas);
        detail.replicas.iter().map(|it| view(it, (group, slots(group)), &lags)).collect::<Vec<_>>()
    };
    wire.groups.iter().flat_map(of_group).collect()
}

/// By node, as the leader of the newest term tells.
fn lags(replicas: &[pb::GroupReplica]) -> Vec<(u64, u64)> {
    let statuses = replicas.iter().filter_map(|it| it.status.as_ref());
    let leader = statuses.filter(|it| it.role() == pb::GroupRole::Leader).max_by_key(|it| it.term);
    let members = leader.map(|leader| &leader.members[..]).unwrap_or_default();
    members.iter().filter_map(|member| Some((member.node, member.lag?))).collect()
}

fn view(wire: &pb::GroupReplica, (group, slots): (u32, usize), lags: &[(u64, u64)]) -> ReplicaView {
    let status = wire.status.as_ref();
    let stopped = status.map(|it| it.stopped.clone()).filter(|reason| !reason.is_empty());
    let silent = Some(wire.silent.clone()).filter(|reason| !reason.is_empty());
    let lag = lags.iter().find(|(node, _)| *node == wire.node).map(|(_, lag)| *lag);
    ReplicaView {
        group,
        node: wire.node,
        state: state(wire),
        slots,
        lag: if status.is_some_and(|it| it.role() == pb::GroupRole::Leader) { Some(0) } else { lag },
        bytes: status.map(|it| it.bytes),
        term: status.map(|it| it.term),
        applied: status.map(|it| it.applied),
        address: wire.address.clone(),
        reason: silent.or(stopped),
    }
}

fn state(wire: &pb::GroupReplica) -> &'static str {
    let Some(status) = &wire.status else {
        return if wire.silent.is_empty() { "missing" } else { "silent" };
    };
    match status.role() {
        _ if !wire.member => "leaving",
        pb::GroupRole::Unspecified => "unknown",
        pb::GroupRole::Learner => "learner",
        pb::GroupRole::Follower => "voter",
        pb::GroupRole::Candidate => "candidate",
        pb::GroupRole::Leader => "leader",
        pb::GroupRole::Stopped => "stopped",
    }
}

impl Row for ReplicaView {
    const COLUMNS: &'static [&'static str] =
        &["GROUP", "NODE", "STATE", "LAG", "SIZE", "SLOTS", "ADDRESS", "REASON", "TERM", "APPLIED"];
    const WIDE_FROM: usize = 8;

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        vec![
            self.group.to_string(),
            self.node.to_string(),
            self.state.to_owned(),
            number(self.lag),
            self.bytes.map(show_bytes).unwrap_or_default(),
            self.slots.to_string(),
            self.address.clone(),
            self.reason.clone().unwrap_or_default(),
            number(self.term),
            number(self.applied),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.group, self.node)
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::{GroupDetail, GroupMember, GroupReplica, GroupRole, GroupStatus};

    use super::*;

    fn replica(node: u64, role: GroupRole) -> GroupReplica {
        let member = |node, lag| GroupMember { node, votes: true, lag, ..GroupMember::default() };
        let members = match role {
            GroupRole::Leader => vec![member(1, None), member(2, Some(7))],
            _ => Vec::new(),
        };
        let status = GroupStatus {
            group: 1,
            role: role.into(),
            term: 3,
            bytes: 2048,
            members,
            ..GroupStatus::default()
        };
        GroupReplica {
            node,
            address: format!("n{node}:7403"),
            member: true,
            status: Some(status),
            silent: String::new(),
        }
    }

    #[test]
    fn each_replica_has_a_line_with_the_leaders_word_of_its_lag() {
        let silent = GroupReplica {
            status: None,
            silent: "connection refused".into(),
            ..replica(3, GroupRole::Follower)
        };
        let gone = GroupReplica { member: false, ..replica(4, GroupRole::Follower) };
        let wire = pb::ListGroupsReply {
            groups: vec![GroupDetail {
                group: Some(pb::DataGroup { id: 1, ..pb::DataGroup::default() }),
                replicas: vec![replica(1, GroupRole::Leader), replica(2, GroupRole::Follower), silent, gone],
            }],
            slots: vec![1; 256],
        };
        let rows: Vec<_> = replicas(wire).iter().map(|row| row.cells()[..8].join("|")).collect();
        assert_eq!(
            rows,
            [
                "1|1|leader|0|2 KiB|256|n1:7403|",
                "1|2|voter|7|2 KiB|256|n2:7403|",
                "1|3|silent|||256|n3:7403|connection refused",
                "1|4|leaving||2 KiB|256|n4:7403|",
            ]
        );
    }
}
