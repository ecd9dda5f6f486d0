//! Nodes.

use coracle_proto::pb;
use serde::Serialize;

use super::function_name;
use super::process::{ChildView, Pids};
use crate::output::{Detail, Row, table};
use crate::units::{show_bytes, show_duration};

/// A node, as `status` and `node list` show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeView {
    id: u64,
    name: String,
    state: String,
    roles: Vec<&'static str>,
    voter: bool,
    version: String,
    pids: Option<Pids>,
    grpc: String,
    http: String,
    admin: String,
    load: Option<Load>,
    /// For people only.
    #[serde(skip)]
    learner: bool,
    /// For people only.
    #[serde(skip)]
    leads: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Load {
    in_flight: u32,
    slots: u32,
    resident_functions: u64,
    memory_bytes: u64,
    cpu_permille: u32,
}

impl From<pb::NodeDetail> for NodeView {
    fn from(wire: pb::NodeDetail) -> Self {
        let node = wire.node.unwrap_or_default();
        let status = wire.status.unwrap_or_default();
        let addresses = node.addresses.clone().unwrap_or_default();
        let roles = node.roles().filter_map(role).collect();
        let state = if wire.liveness.is_empty() { decided(node.state()).to_owned() } else { wire.liveness };
        Self {
            id: node.id,
            name: node.name,
            state,
            roles,
            voter: wire.voter,
            version: node.version,
            pids: wire.processes.as_ref().and_then(Pids::of),
            grpc: addresses.grpc,
            http: addresses.http,
            admin: addresses.admin,
            load: status.load.map(|it| Load {
                in_flight: it.in_flight,
                slots: it.slots,
                resident_functions: it.resident_functions,
                memory_bytes: it.memory_bytes,
                cpu_permille: it.cpu_permille,
            }),
            learner: wire.learner,
            leads: false,
        }
    }
}

fn role(role: pb::Role) -> Option<&'static str> {
    match role {
        pb::Role::Unspecified => None,
        pb::Role::Controller => Some("controller"),
        pb::Role::Worker => Some("worker"),
        pb::Role::Gateway => Some("gateway"),
        pb::Role::Store => Some("store"),
    }
}

fn decided(state: pb::NodeState) -> &'static str {
    match state {
        pb::NodeState::Unspecified => "unknown",
        pb::NodeState::Alive => "alive",
        pb::NodeState::Dead => "dead",
        pb::NodeState::Leaving => "leaving",
    }
}

impl NodeView {
    /// Marks the leader.
    pub(crate) fn led_by(self, leader: u64) -> Self {
        Self { leads: self.id == leader, ..self }
    }

    pub(super) fn row(&self, leader: Option<u64>) -> Vec<String> {
        self.clone().led_by(leader.unwrap_or_default()).cells()
    }

    fn raft(&self) -> &'static str {
        match (self.leads, self.voter, self.learner) {
            (true, _, _) => "leader",
            (false, true, _) => "voter",
            (false, false, true) => "learner",
            (false, false, false) => "-",
        }
    }
}

impl Row for NodeView {
    const COLUMNS: &'static [&'static str] = &[
        "NODE", "NAME", "STATE", "RAFT", "LOAD", "CPU", "MEMORY", "HTTP", "GRPC", "ADMIN", "VERSION", "PIDS",
        "ROLES",
    ];
    const WIDE_FROM: usize = 9;

    fn cells(&self) -> Vec<String> {
        let load = |show: fn(&Load) -> String| self.load.as_ref().map(show).unwrap_or_default();
        let pids = self.pids.map(|it| it.show([""; 4], ","));
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.state.clone(),
            self.raft().to_owned(),
            load(|it| format!("{}/{}", it.in_flight, it.slots)),
            load(|it| format!("{} %", it.cpu_permille / 10)),
            load(|it| show_bytes(it.memory_bytes)),
            self.http.clone(),
            self.grpc.clone(),
            self.admin.clone(),
            self.version.clone(),
            pids.unwrap_or_default(),
            self.roles.join(","),
        ]
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A node with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeDetailView {
    #[serde(flatten)]
    node: NodeView,
    data: String,
    zone: String,
    learner: bool,
    slots: u32,
    memory_bytes: u64,
    registered: u64,
    runtime: String,
    view_revision: u64,
    report_age_ms: u64,
    artifacts: usize,
    artifact_bytes: u64,
    children: Vec<ChildView>,
    replicas: Vec<NodeReplica>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct NodeReplica {
    name: String,
    version: u64,
    phase: &'static str,
    reason: String,
}

impl From<pb::NodeDetail> for NodeDetailView {
    fn from(wire: pb::NodeDetail) -> Self {
        let node = wire.node.clone().unwrap_or_default();
        let status = wire.status.clone().unwrap_or_default();
        let children = wire.processes.iter().flat_map(|told| &told.children).map(ChildView::new).collect();
        Self {
            data: node.addresses.map(|addresses| addresses.data).unwrap_or_default(),
            zone: node.zone,
            learner: wire.learner,
            slots: node.slots,
            memory_bytes: node.memory_bytes,
            registered: node.registered,
            runtime: status.runtime,
            view_revision: status.view_revision,
            report_age_ms: wire.report_age_ms,
            artifacts: status.artifacts.len(),
            artifact_bytes: status.artifacts.iter().map(|artifact| artifact.size).sum(),
            children,
            replicas: status.replicas.iter().map(NodeReplica::from).collect(),
            node: NodeView::from(wire),
        }
    }
}

impl From<&pb::ReplicaStatus> for NodeReplica {
    fn from(wire: &pb::ReplicaStatus) -> Self {
        Self {
            name: function_name(&wire.namespace, &wire.name),
            version: wire.version,
            phase: super::function::phase(wire.phase()),
            reason: wire.reason.clone(),
        }
    }
}

impl NodeDetailView {
    /// Marks the leader.
    pub(crate) fn led_by(self, leader: u64) -> Self {
        Self { node: self.node.led_by(leader), ..self }
    }
}

impl Detail for NodeDetailView {
    fn name(&self) -> String {
        self.node.name()
    }

    fn describe(&self, _wide: bool) -> String {
        let node = &self.node;
        let age = std::time::Duration::from_millis(self.report_age_ms);
        let load = node.load.map(|it| {
            format!(
                "{} of {} calls, {} functions mapped, {} % CPU",
                it.in_flight,
                it.slots,
                it.resident_functions,
                it.cpu_permille / 10
            )
        });
        let pids = node.pids.map(|it| it.show(["supervisor ", "controller ", "data plane ", "store "], ", "));
        let child = |name: &str| self.children.iter().find(|child| child.name == name).map(ChildView::show);
        let mut text = table::pairs([
            ("node", format!("{} ({})", node.id, node.name)),
            ("state", node.state.clone()),
            ("roles", node.roles.join(", ")),
            ("raft", node.raft().to_owned()),
            ("zone", self.zone.clone()),
            ("version", node.version.clone()),
            ("api", node.grpc.clone()),
            ("admin", node.admin.clone()),
            ("data", self.data.clone()),
            ("http", node.http.clone()),
            ("pids", pids.unwrap_or_default()),
            ("controller", child("controller").unwrap_or_default()),
            ("data plane", child("data").unwrap_or_default()),
            ("load", load.unwrap_or_default()),
            ("guest memory", show_bytes(self.memory_bytes)),
            ("runtime", self.runtime.clone()),
            ("artifacts", format!("{} ({})", self.artifacts, show_bytes(self.artifact_bytes))),
            ("view", format!("revision {}, reported {} ago", self.view_revision, show_duration(age))),
        ]);
        if !self.replicas.is_empty() {
            let rows = self.replicas.iter().map(|it| {
                vec![it.name.clone(), it.version.to_string(), it.phase.to_owned(), it.reason.clone()]
            });
            text.push('\n');
            text.push_str(&table::render(&["FUNCTION", "VERSION", "PHASE", "REASON"], rows));
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::forget_far_pids;
    use super::*;

    fn child(name: &str, pid: u32) -> pb::ChildProcess {
        let state = pb::ChildState::Running.into();
        pb::ChildProcess { name: name.to_owned(), pid, state, ..pb::ChildProcess::default() }
    }

    pub(crate) fn detail() -> pb::NodeDetail {
        pb::NodeDetail {
            node: Some(pb::Node {
                id: 1,
                name: "n1".into(),
                roles: vec![1, 2, 3],
                version: "0.1.0".into(),
                addresses: Some(pb::Addresses {
                    grpc: "127.0.0.1:7400".into(),
                    admin: "127.0.0.1:7401".into(),
                    data: "127.0.0.1:7402".into(),
                    http: "127.0.0.1:8080".into(),
                    store: String::new(),
                }),
                state: pb::NodeState::Alive.into(),
                ..pb::Node::default()
            }),
            voter: true,
            liveness: "alive".into(),
            status: Some(pb::NodeStatus {
                load: Some(pb::Load {
                    in_flight: 1,
                    slots: 2,
                    resident_functions: 3,
                    memory_bytes: 1 << 20,
                    cpu_permille: 250,
                }),
                ..pb::NodeStatus::default()
            }),
            processes: Some(pb::NodeProcesses {
                supervisor_pid: 10,
                children: vec![child("controller", 11), child("data", 12)],
                ..pb::NodeProcesses::default()
            }),
            ..pb::NodeDetail::default()
        }
    }

    #[test]
    fn a_node_in_detail_has_all_that_the_list_has() {
        let list = serde_json::to_value(NodeView::from(detail())).unwrap();
        let get = serde_json::to_value(NodeDetailView::from(detail())).unwrap();
        for (key, value) in list.as_object().unwrap() {
            assert_eq!(&get[key], value, "{key}");
        }
        assert_eq!(get["data"], "127.0.0.1:7402");
        let text = NodeDetailView::from(detail()).led_by(1).describe(false);
        assert!(
            text.contains("raft          leader\n") && text.contains("pids          supervisor 10, "),
            "{text}"
        );
    }

    #[test]
    fn processes_of_other_machines_are_not_shown() {
        let near = |host: &str| {
            let mut nodes = [detail()];
            nodes[0].processes.as_mut().unwrap().host_id = host.to_owned();
            forget_far_pids(&mut nodes, "here");
            let [node] = nodes;
            serde_json::to_value(NodeView::from(node)).unwrap()["pids"].clone()
        };
        assert_eq!(near("here")["data"], 12);
        assert!(near("there").is_null() && near("").is_null());
    }

    #[test]
    fn a_child_that_was_given_up_says_why() {
        let mut wire = detail();
        let controller = &mut wire.processes.as_mut().unwrap().children[0];
        *controller = pb::ChildProcess { message: "the store is damaged".into(), ..child("controller", 0) };
        controller.set_state(pb::ChildState::GivenUp);
        let view = NodeDetailView::from(wire);
        let text = view.describe(false);
        assert!(text.contains("controller    given-up; its last end: the store is damaged\n"), "{text}");
        assert!(text.contains("data plane    running\n"), "{text}");
        assert_eq!(serde_json::to_value(&view).unwrap()["children"][0]["state"], "given-up");
    }

    #[test]
    fn a_node_without_a_controller_has_two_processes() {
        let mut wire = detail();
        wire.processes.as_mut().unwrap().children.remove(0);
        let view = NodeView::from(wire);
        assert!(serde_json::to_value(&view).unwrap()["pids"]["controller"].is_null());
        assert_eq!(view.cells()[NodeView::COLUMNS.len() - 2], "10,12");
    }

    #[test]
    fn each_column_has_a_cell() {
        assert_eq!(NodeView::from(detail()).cells().len(), NodeView::COLUMNS.len());
    }
}
