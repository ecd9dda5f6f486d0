//! Commands from their wire form, checked field by field.

use coracle_proto::codec::{
    DecodeError as FieldError, Door, InField, function_id, node_from_wire, route_grants_from_wire,
    routes_from_wire, spec_from_wire,
};
use coracle_proto::id::{
    ClusterId, Digest, Epoch, FunctionId, GroupId, NodeId, RequestId, Revision, VersionId, VersionNumber,
};
use coracle_proto::pb::{self, command::Kind};
use coracle_proto::record::{self, NodeState, Weight};

use super::super::{COMMAND_FORMAT, Command, Envelope, Placement, Switch};
use super::DecodeError;

pub(super) fn envelope(wire: pb::Envelope, door: Door) -> Result<Envelope, DecodeError> {
    if wire.format > COMMAND_FORMAT {
        return Err(DecodeError::UnknownCommand);
    }
    // A kind that this build does not know leaves the field empty.
    let kind = wire.command.and_then(|command| command.kind).ok_or(DecodeError::UnknownCommand)?;
    let envelope = Envelope {
        cluster: ClusterId::try_from(&wire.cluster_id[..]).in_field("cluster_id")?,
        group: GroupId::new(wire.group),
        request: RequestId::try_from(&wire.request_id[..]).in_field("request_id")?,
        since: Revision::new(wire.since),
        time_ms: wire.time_ms,
        random: wire.random,
        expected: Revision::new(wire.expected),
        trace: wire.trace,
        term: (wire.term > 0).then_some(wire.term),
        command: command(kind, door)?,
    };
    // A command that claims less than it needs would be applied by some voters and stop others.
    if envelope.format() > COMMAND_FORMAT {
        return Err(DecodeError::UnknownCommand);
    }
    Ok(envelope)
}

fn command(kind: Kind, door: Door) -> Result<Command, FieldError> {
    Ok(match kind {
        Kind::CreateCluster(wire) => Command::CreateCluster {
            name: wire.name,
            first: node_from_wire(wire.first.in_field("create_cluster.first")?)?,
            voters_wanted: wire.voters_wanted,
        },
        Kind::RegisterNode(wire) => {
            Command::RegisterNode { node: node_from_wire(wire.node.in_field("register_node.node")?)? }
        }
        Kind::UpdateNode(wire) => {
            Command::UpdateNode { node: node_from_wire(wire.node.in_field("update_node.node")?)? }
        }
        Kind::MarkNode(wire) => {
            Command::MarkNode { node: NodeId::new(wire.node), state: node_state(wire.state())? }
        }
        Kind::RemoveNode(wire) => Command::RemoveNode { node: NodeId::new(wire.node) },
        Kind::Deploy(wire) => Command::Deploy {
            function: function_id(&wire.namespace, &wire.name, door)?,
            digest: Digest::try_from(&wire.digest[..]).in_field("deploy.digest")?,
            size: wire.size,
            kind: record::Kind::try_from(wire.kind())?,
            spec: spec_from_wire(wire.spec.in_field("deploy.spec")?, door)?,
            routes: routes_from_wire(wire.routes, door)?,
            route_grants: route_grants_from_wire(&wire.route_grants, door)?,
        },
        Kind::SetTraffic(wire) => Command::SetTraffic {
            function: function_id(&wire.namespace, &wire.name, door)?,
            traffic: wire.traffic.iter().map(Weight::from).collect(),
        },
        Kind::DeleteFunction(wire) => {
            Command::DeleteFunction { function: function_id(&wire.namespace, &wire.name, door)? }
        }
        Kind::Assign(wire) => Command::Assign {
            placements: wire.placements.iter().map(placement).collect::<Result<_, _>>()?,
            switches: wire.switches.iter().map(switch).collect::<Result<_, _>>()?,
        },
        Kind::SetVotersWanted(wire) => Command::SetVotersWanted { voters: wire.voters },
        Kind::RaiseFormat(wire) => Command::RaiseFormat { format: wire.format },
        Kind::KeepTime(pb::KeepTime {}) => Command::KeepTime,
        Kind::SetGroup(wire) => Command::SetGroup {
            group: GroupId::new(wire.group),
            members: wire.members.into_iter().map(NodeId::new).collect(),
            begun: wire.begun,
        },
    })
}

/// Of what stands already, by the leader's planner: of whatever name that has.
fn placement(wire: &pb::Placement) -> Result<Placement, FieldError> {
    let number = VersionNumber::new(wire.version);
    Ok(Placement {
        version: VersionId {
            function: FunctionId::stored(&wire.namespace, &wire.name).in_field("name")?,
            number,
        },
        add: wire.add.iter().copied().map(NodeId::new).collect(),
        drop: wire.drop.iter().map(|drop| (NodeId::new(drop.node), Epoch::new(drop.epoch))).collect(),
    })
}

fn switch(wire: &pb::Switch) -> Result<Switch, FieldError> {
    Ok(Switch {
        function: FunctionId::stored(&wire.namespace, &wire.name).in_field("name")?,
        updated: Revision::new(wire.updated),
    })
}

fn node_state(wire: pb::NodeState) -> Result<NodeState, FieldError> {
    match wire {
        pb::NodeState::Unspecified => Err(FieldError::missing("mark_node.state")),
        pb::NodeState::Alive => Ok(NodeState::Alive),
        pb::NodeState::Dead => Ok(NodeState::Dead),
        pb::NodeState::Leaving => Ok(NodeState::Leaving),
    }
}
