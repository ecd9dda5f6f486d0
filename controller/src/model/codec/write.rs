//! Commands to their wire form.

use coracle_proto::codec::{node_to_wire, route_grants_to_wire, spec_to_wire};
use coracle_proto::id::FunctionId;
use coracle_proto::pb::{self, command::Kind};
use coracle_proto::record::NodeState;

use super::super::{Command, Envelope, Placement, Switch};

pub(super) fn envelope(it: &Envelope) -> pb::Envelope {
    pb::Envelope {
        cluster_id: it.cluster.to_wire(),
        group: it.group.get(),
        request_id: it.request.to_wire(),
        since: it.since.get(),
        time_ms: it.time_ms,
        random: it.random,
        expected: it.expected.get(),
        trace: it.trace.clone(),
        format: it.format(),
        term: it.term.unwrap_or_default(),
        command: Some(pb::Command { kind: Some(command(&it.command)) }),
    }
}

fn command(it: &Command) -> Kind {
    match it {
        Command::CreateCluster { name, first, voters_wanted } => Kind::CreateCluster(pb::CreateCluster {
            name: name.clone(),
            first: Some(node_to_wire(first)),
            voters_wanted: *voters_wanted,
        }),
        Command::RegisterNode { node } => {
            Kind::RegisterNode(pb::RegisterNode { node: Some(node_to_wire(node)) })
        }
        Command::UpdateNode { node } => Kind::UpdateNode(pb::UpdateNode { node: Some(node_to_wire(node)) }),
        Command::MarkNode { node, state } => {
            Kind::MarkNode(pb::MarkNode { node: node.get(), state: node_state(*state).into() })
        }
        Command::RemoveNode { node } => Kind::RemoveNode(pb::RemoveNode { node: node.get() }),
        Command::Deploy { function, spec, routes, route_grants, digest, size, kind } => {
            let (namespace, name) = parts(function);
            Kind::Deploy(pb::Deploy {
                namespace,
                name,
                spec: Some(spec_to_wire(spec)),
                routes: routes.iter().map(pb::RouteSpec::from).collect(),
                route_grants: route_grants_to_wire(route_grants),
                digest: digest.to_wire(),
                size: *size,
                kind: pb::Kind::from(*kind).into(),
            })
        }
        Command::SetTraffic { function, traffic } => {
            let (namespace, name) = parts(function);
            let traffic = traffic.iter().map(pb::Weight::from).collect();
            Kind::SetTraffic(pb::SetTraffic { namespace, name, traffic })
        }
        Command::DeleteFunction { function } => {
            let (namespace, name) = parts(function);
            Kind::DeleteFunction(pb::DeleteFunction { namespace, name })
        }
        Command::Assign { placements, switches } => Kind::Assign(pb::Assign {
            placements: placements.iter().map(placement).collect(),
            switches: switches.iter().map(switch).collect(),
        }),
        Command::SetVotersWanted { voters } => Kind::SetVotersWanted(pb::SetVotersWanted { voters: *voters }),
        Command::RaiseFormat { format } => Kind::RaiseFormat(pb::RaiseFormat { format: *format }),
        Command::KeepTime => Kind::KeepTime(pb::KeepTime {}),
        Command::SetGroup { group, members, begun } => Kind::SetGroup(pb::SetGroup {
            group: group.get(),
            members: members.iter().map(|node| node.get()).collect(),
            begun: *begun,
        }),
    }
}

fn placement(it: &Placement) -> pb::Placement {
    let (namespace, name) = parts(&it.version.function);
    let drop = it.drop.iter().map(|(node, epoch)| pb::Drop { node: node.get(), epoch: epoch.get() });
    pb::Placement {
        namespace,
        name,
        version: it.version.number.get(),
        add: it.add.iter().map(|node| node.get()).collect(),
        drop: drop.collect(),
    }
}

fn switch(it: &Switch) -> pb::Switch {
    let (namespace, name) = parts(&it.function);
    pb::Switch { namespace, name, updated: it.updated.get() }
}

fn parts(function: &FunctionId) -> (String, String) {
    (function.namespace.to_string(), function.name.to_string())
}

fn node_state(state: NodeState) -> pb::NodeState {
    match state {
        NodeState::Alive => pb::NodeState::Alive,
        NodeState::Dead => pb::NodeState::Dead,
        NodeState::Leaving => pb::NodeState::Leaving,
    }
}
