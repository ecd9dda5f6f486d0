//! A node's processes, as its supervisor told them.

use std::fmt::Write as _;

use coracle_proto::pb;
use serde::Serialize;

/// Processes of this machine; a node has not all of them without all roles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Pids {
    supervisor: Option<u32>,
    controller: Option<u32>,
    data: Option<u32>,
    store: Option<u32>,
}

impl Pids {
    pub(super) fn show(self, names: [&str; 4], separator: &str) -> String {
        let all = [self.supervisor, self.controller, self.data, self.store].into_iter().zip(names);
        let known = all.filter_map(|(pid, name)| Some(format!("{name}{}", pid?)));
        known.collect::<Vec<_>>().join(separator)
    }

    pub(super) fn of(told: &pb::NodeProcesses) -> Option<Self> {
        let known = |pid: u32| (pid != 0).then_some(pid);
        let child = |name| known(told.children.iter().find(|child| child.name == name)?.pid);
        let supervisor = known(told.supervisor_pid);
        supervisor.is_some().then(|| Self {
            supervisor,
            controller: child("controller"),
            data: child("data"),
            store: child("store"),
        })
    }
}

/// Drops the process ids of nodes on other machines: here those numbers are somebody else's.
pub(crate) fn forget_far_pids(nodes: &mut [pb::NodeDetail], here: &str) {
    for told in nodes.iter_mut().filter_map(|node| node.processes.as_mut()) {
        if here.is_empty() || told.host_id != here {
            told.supervisor_pid = 0;
            told.children.iter_mut().for_each(|child| child.pid = 0);
        }
    }
}

/// A child of a node's supervisor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ChildView {
    pub(super) name: String,
    state: &'static str,
    restarts: u64,
    message: String,
}

impl ChildView {
    pub(super) fn new(wire: &pb::ChildProcess) -> Self {
        let state = match wire.state() {
            pb::ChildState::Unspecified => "unknown",
            pb::ChildState::Running => "running",
            pb::ChildState::Waiting => "waiting",
            pb::ChildState::GivenUp => "given-up",
            pb::ChildState::Stopped => "stopped",
        };
        Self { name: wire.name.clone(), state, restarts: wire.restarts, message: wire.message.clone() }
    }

    pub(super) fn show(&self) -> String {
        let mut text = self.state.to_owned();
        if self.restarts > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", started again {} times", self.restarts);
        }
        if !self.message.is_empty() {
            let _ = write!(text, "; its last end: {}", self.message);
        }
        text
    }
}
