//! What supervisors tell of their children, in an operator's words.

use coracle_proto::pb::{ChildProcess, ChildState, NodeProcesses};

/// What the children of one node need somebody for.
pub(crate) fn process_alarms(told: &NodeProcesses) -> Vec<String> {
    let node = told.node;
    let alarm = |child: &ChildProcess| {
        // The name that the command line has for it.
        let name = if child.name == "data" { "data plane" } else { &child.name };
        let message = &child.message;
        match child.state() {
            ChildState::GivenUp => {
                Some(format!("child-given-up: node {node}: its {name} is not started again: {message}"))
            }
            ChildState::Running | ChildState::Waiting if child.alarm => {
                Some(format!("child-crashes: node {node}: its {name} crashes again and again: {message}"))
            }
            ChildState::Running | ChildState::Waiting | ChildState::Stopped | ChildState::Unspecified => None,
        }
    };
    told.children.iter().filter_map(alarm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_that_need_somebody_are_named() {
        let child = |name: &str, state: ChildState, alarm| ChildProcess {
            name: name.to_owned(),
            state: state.into(),
            alarm,
            message: "why".to_owned(),
            ..ChildProcess::default()
        };
        let children = vec![
            child("controller", ChildState::GivenUp, true),
            child("data", ChildState::Waiting, true),
            child("controller", ChildState::Waiting, false),
            child("data", ChildState::Stopped, true),
        ];
        let alarms = process_alarms(&NodeProcesses { node: 2, children, ..NodeProcesses::default() });
        assert_eq!(
            alarms,
            [
                "child-given-up: node 2: its controller is not started again: why",
                "child-crashes: node 2: its data plane crashes again and again: why",
            ]
        );
    }
}
