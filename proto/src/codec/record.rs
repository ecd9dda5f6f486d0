//! Records, changes and outcomes to and from their wire form.

use prost::Message as _;

use super::{
    DecodeError, Door, InField, route_grants_from_wire, route_grants_to_wire, routes_from_wire,
    spec_from_wire, spec_to_wire,
};
use crate::id::{
    ClusterId, Digest, Epoch, FunctionId, Namespace, NodeId, RequestId, Revision, StoreId, VersionId,
    VersionNumber,
};
use crate::key::Key;
use crate::pb::{self, outcome, record};
use crate::record::{
    Addresses, Change, Cluster, Function, Kind, NamespaceRecord, Node, NodeState, Outcome, Record,
    Remembered, Replica, Role, Route, Version, Weight,
};
use crate::route::RouteSpec;
use crate::status::{Code, Refusal};

impl TryFrom<pb::Change> for Change {
    type Error = DecodeError;

    fn try_from(wire: pb::Change) -> Result<Self, DecodeError> {
        let key = wire.key.parse::<Key>().in_field("key")?;
        let record = wire.record.map(pb::Record::decode).transpose().in_field("record")?;
        let record = record.map(Record::try_from).transpose()?;
        if record.as_ref().is_some_and(|record| record.key() != key) {
            return Err(DecodeError::new("record", format!("does not belong under the key '{key}'")));
        }
        Ok(Self { key, record })
    }
}

impl From<&Change> for pb::Change {
    fn from(change: &Change) -> Self {
        let record = change.record.as_ref().map(|record| pb::Record::from(record).encode_to_vec().into());
        Self { key: change.key.to_string(), record }
    }
}

/// Records are read where they stand, or from who has them there: [`Door::Disk`].
impl TryFrom<pb::Record> for Record {
    type Error = DecodeError;

    fn try_from(wire: pb::Record) -> Result<Self, DecodeError> {
        Ok(match wire.value.in_field("value")? {
            record::Value::Cluster(wire) => Self::Cluster(cluster(wire)?),
            record::Value::Namespace(wire) => Self::Namespace(NamespaceRecord {
                name: Namespace::stored(&wire.name).in_field("namespace.name")?,
                created: Revision::new(wire.created),
            }),
            record::Value::Node(wire) => Self::Node(node_from_wire(wire)?),
            record::Value::Function(wire) => Self::Function(wire.try_into()?),
            record::Value::Version(wire) => Self::Version(wire.try_into()?),
            record::Value::Route(wire) => Self::Route(wire.try_into()?),
            record::Value::Replica(wire) => Self::Replica(Replica {
                version: version_id(&wire.namespace, &wire.name, wire.version)?,
                node: NodeId::new(wire.node),
                epoch: Epoch::new(wire.epoch),
            }),
            record::Value::DataGroup(wire) => Self::Group(wire.into()),
            record::Value::Slots(wire) => Self::Slots(wire.try_into()?),
            record::Value::Remembered(wire) => Self::Remembered(Remembered {
                request: RequestId::try_from(&wire.request_id[..]).in_field("request_id")?,
                revision: Revision::new(wire.revision),
                outcome: outcome_from_wire(wire.outcome.in_field("outcome")?)?,
            }),
        })
    }
}

impl From<&Record> for pb::Record {
    fn from(record: &Record) -> Self {
        let value = match record {
            Record::Cluster(it) => record::Value::Cluster(pb::Cluster {
                id: it.id.to_wire(),
                name: it.name.clone(),
                next_node_id: it.next_node.get(),
                time_ms: it.time_ms,
                version: it.version,
                voters_wanted: it.voters_wanted,
                remembered_from: it.remembered_from.get(),
                revision: it.revision.get(),
            }),
            Record::Namespace(it) => record::Value::Namespace(pb::Namespace {
                name: it.name.to_string(),
                created: it.created.get(),
            }),
            Record::Node(it) => record::Value::Node(node_to_wire(it)),
            Record::Function(it) => record::Value::Function(it.into()),
            Record::Version(it) => record::Value::Version(it.into()),
            Record::Route(it) => record::Value::Route(it.into()),
            Record::Replica(it) => record::Value::Replica(pb::Replica {
                namespace: it.version.function.namespace.to_string(),
                name: it.version.function.name.to_string(),
                version: it.version.number.get(),
                node: it.node.get(),
                epoch: it.epoch.get(),
            }),
            Record::Group(it) => record::Value::DataGroup(it.into()),
            Record::Slots(it) => record::Value::Slots(it.into()),
            Record::Remembered(it) => record::Value::Remembered(pb::Remembered {
                request_id: it.request.to_wire(),
                revision: it.revision.get(),
                outcome: Some(outcome_to_wire(&it.outcome)),
            }),
        };
        Self { value: Some(value) }
    }
}

fn cluster(wire: pb::Cluster) -> Result<Cluster, DecodeError> {
    Ok(Cluster {
        id: ClusterId::try_from(&wire.id[..]).in_field("cluster.id")?,
        name: wire.name,
        next_node: NodeId::new(wire.next_node_id),
        time_ms: wire.time_ms,
        version: wire.version,
        voters_wanted: wire.voters_wanted,
        remembered_from: Revision::new(wire.remembered_from),
        revision: Revision::new(wire.revision),
    })
}

fn version_id(namespace: &str, name: &str, number: u64) -> Result<VersionId, DecodeError> {
    Ok(VersionId {
        function: FunctionId::stored(namespace, name).in_field("name")?,
        number: VersionNumber::new(number),
    })
}

/// Reads the name of a function.
///
/// # Errors
/// When either part is no name.
pub fn function_id(namespace: &str, name: &str, door: Door) -> Result<FunctionId, DecodeError> {
    match door {
        Door::Api => FunctionId::parse(namespace, name),
        Door::Disk => FunctionId::stored(namespace, name),
    }
    .in_field("name")
}

/// Reads a node; its id may be 0 where it has none yet.
///
/// # Errors
/// When a role or the state is not known.
pub fn node_from_wire(wire: pb::Node) -> Result<Node, DecodeError> {
    let state = match wire.state() {
        pb::NodeState::Unspecified | pb::NodeState::Alive => NodeState::Alive,
        pb::NodeState::Dead => NodeState::Dead,
        pb::NodeState::Leaving => NodeState::Leaving,
    };
    let role = |role| match role {
        pb::Role::Unspecified => Err(DecodeError::new("roles", "unknown role")),
        pb::Role::Controller => Ok(Role::Controller),
        pb::Role::Worker => Ok(Role::Worker),
        pb::Role::Gateway => Ok(Role::Gateway),
        pb::Role::Store => Ok(Role::Store),
    };
    let roles = wire.roles().map(role).collect::<Result<_, _>>()?;
    let addresses = wire.addresses.unwrap_or_default();
    Ok(Node {
        id: NodeId::new(wire.id),
        name: wire.name,
        roles,
        zone: wire.zone,
        version: wire.version,
        addresses: Addresses {
            grpc: addresses.grpc,
            admin: addresses.admin,
            data: addresses.data,
            http: addresses.http,
            store: addresses.store,
        },
        state,
        registered: Revision::new(wire.registered),
        slots: wire.slots,
        memory_bytes: wire.memory_bytes,
        store: StoreId::new(wire.store),
    })
}

/// Writes a node.
#[must_use]
pub fn node_to_wire(node: &Node) -> pb::Node {
    let role = |role: &Role| match role {
        Role::Controller => pb::Role::Controller.into(),
        Role::Worker => pb::Role::Worker.into(),
        Role::Gateway => pb::Role::Gateway.into(),
        Role::Store => pb::Role::Store.into(),
    };
    let state = match node.state {
        NodeState::Alive => pb::NodeState::Alive,
        NodeState::Dead => pb::NodeState::Dead,
        NodeState::Leaving => pb::NodeState::Leaving,
    };
    let at = &node.addresses;
    pb::Node {
        id: node.id.get(),
        name: node.name.clone(),
        roles: node.roles.iter().map(role).collect(),
        zone: node.zone.clone(),
        version: node.version.clone(),
        addresses: Some(pb::Addresses {
            grpc: at.grpc.clone(),
            admin: at.admin.clone(),
            data: at.data.clone(),
            http: at.http.clone(),
            store: at.store.clone(),
        }),
        state: state.into(),
        registered: node.registered.get(),
        slots: node.slots,
        memory_bytes: node.memory_bytes,
        store: node.store.get(),
    }
}

impl TryFrom<pb::Function> for Function {
    type Error = DecodeError;

    fn try_from(wire: pb::Function) -> Result<Self, DecodeError> {
        let traffic = wire.traffic.iter().map(Weight::from).collect::<Vec<_>>();
        if traffic.is_empty() {
            return Err(DecodeError::missing("traffic"));
        }
        Ok(Self {
            id: FunctionId::stored(&wire.namespace, &wire.name).in_field("function.name")?,
            latest: VersionNumber::new(wire.latest),
            traffic,
            next: wire.next.iter().map(Weight::from).collect(),
            routes: routes_from_wire(wire.routes, Door::Disk)?,
            route_grants: route_grants_from_wire(&wire.route_grants, Door::Disk)?,
            created_ms: wire.created_ms,
            updated_ms: wire.updated_ms,
            updated: Revision::new(wire.updated),
        })
    }
}

impl From<&Function> for pb::Function {
    fn from(it: &Function) -> Self {
        Self {
            namespace: it.id.namespace.to_string(),
            name: it.id.name.to_string(),
            latest: it.latest.get(),
            traffic: it.traffic.iter().map(pb::Weight::from).collect(),
            next: it.next.iter().map(pb::Weight::from).collect(),
            routes: it.routes.iter().map(pb::RouteSpec::from).collect(),
            route_grants: route_grants_to_wire(&it.route_grants),
            created_ms: it.created_ms,
            updated_ms: it.updated_ms,
            updated: it.updated.get(),
        }
    }
}

impl From<&pb::Weight> for Weight {
    fn from(wire: &pb::Weight) -> Self {
        Self { version: VersionNumber::new(wire.version), weight: wire.weight }
    }
}

impl From<&Weight> for pb::Weight {
    fn from(it: &Weight) -> Self {
        Self { version: it.version.get(), weight: it.weight }
    }
}

impl TryFrom<pb::Version> for Version {
    type Error = DecodeError;

    fn try_from(wire: pb::Version) -> Result<Self, DecodeError> {
        let kind = Kind::try_from(wire.kind())?;
        Ok(Self {
            id: version_id(&wire.namespace, &wire.name, wire.number)?,
            digest: Digest::try_from(&wire.digest[..]).in_field("digest")?,
            size: wire.size,
            kind,
            spec: spec_from_wire(wire.spec.in_field("spec")?, Door::Disk)?,
            created_ms: wire.created_ms,
            trace: wire.trace,
        })
    }
}

impl From<&Version> for pb::Version {
    fn from(it: &Version) -> Self {
        Self {
            namespace: it.id.function.namespace.to_string(),
            name: it.id.function.name.to_string(),
            number: it.id.number.get(),
            digest: it.digest.to_wire(),
            size: it.size,
            kind: pb::Kind::from(it.kind).into(),
            spec: Some(spec_to_wire(&it.spec)),
            created_ms: it.created_ms,
            trace: it.trace.clone(),
        }
    }
}

impl TryFrom<pb::Kind> for Kind {
    type Error = DecodeError;

    fn try_from(wire: pb::Kind) -> Result<Self, DecodeError> {
        match wire {
            pb::Kind::Unspecified => Err(DecodeError::missing("kind")),
            pb::Kind::HttpComponent => Ok(Self::HttpComponent),
            pb::Kind::CommandModule => Ok(Self::CommandModule),
            pb::Kind::CommandComponent => Ok(Self::CommandComponent),
            pb::Kind::EventComponent => Ok(Self::EventComponent),
        }
    }
}

impl From<Kind> for pb::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::HttpComponent => Self::HttpComponent,
            Kind::CommandModule => Self::CommandModule,
            Kind::CommandComponent => Self::CommandComponent,
            Kind::EventComponent => Self::EventComponent,
        }
    }
}

impl TryFrom<pb::Route> for Route {
    type Error = DecodeError;

    fn try_from(wire: pb::Route) -> Result<Self, DecodeError> {
        Ok(Self {
            spec: RouteSpec::try_from(wire.spec.in_field("route.spec")?)?,
            function: FunctionId::stored(&wire.namespace, &wire.function).in_field("route.function")?,
        })
    }
}

impl From<&Route> for pb::Route {
    fn from(it: &Route) -> Self {
        Self {
            spec: Some((&it.spec).into()),
            namespace: it.function.namespace.to_string(),
            function: it.function.name.to_string(),
        }
    }
}

/// Reads an outcome.
///
/// # Errors
/// When it is empty or its code is not known.
pub fn outcome_from_wire(wire: pb::Outcome) -> Result<Outcome, DecodeError> {
    Ok(match wire.kind.in_field("outcome.kind")? {
        outcome::Kind::Done(pb::Done {}) => Outcome::Done,
        outcome::Kind::NodeRegistered(it) => Outcome::NodeRegistered(NodeId::new(it.node)),
        outcome::Kind::Deployed(it) => {
            Outcome::Deployed { version: VersionNumber::new(it.version), unchanged: it.unchanged }
        }
        outcome::Kind::Assigned(it) => {
            Outcome::Assigned { added: it.added, dropped: it.dropped, switched: it.switched }
        }
        outcome::Kind::Rejected(it) => {
            // A newer node may know more codes: what it said is kept.
            let code = it.code.parse().unwrap_or(Code::Internal);
            Outcome::Rejected(Refusal::new(code, it.message))
        }
    })
}

/// Writes an outcome.
#[must_use]
pub fn outcome_to_wire(it: &Outcome) -> pb::Outcome {
    let kind = match it {
        Outcome::Done => outcome::Kind::Done(pb::Done {}),
        Outcome::NodeRegistered(node) => {
            outcome::Kind::NodeRegistered(pb::NodeRegistered { node: node.get() })
        }
        Outcome::Deployed { version, unchanged } => {
            outcome::Kind::Deployed(pb::Deployed { version: version.get(), unchanged: *unchanged })
        }
        Outcome::Assigned { added, dropped, switched } => {
            outcome::Kind::Assigned(pb::Assigned { added: *added, dropped: *dropped, switched: *switched })
        }
        Outcome::Rejected(refusal) => outcome::Kind::Rejected(pb::Rejected {
            code: refusal.code.name().to_owned(),
            message: refusal.message.clone(),
        }),
    };
    pb::Outcome { kind: Some(kind) }
}
