//! Small clusters and commands for tests.

use coracle_proto::id::{
    ClusterId, Digest, FunctionId, GroupId, NodeId, RequestId, Revision, StoreId, VersionId, VersionNumber,
};
use coracle_proto::record::{Addresses, Kind, Node, NodeState, Outcome, Role, Weight};
use coracle_proto::spec::{Draft, FunctionSpec};
use coracle_proto::status::Code;

use super::{Applied, ClusterState, Command, Envelope, Placement, Switch};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(0xc0);
/// In which every command of a test is appended.
pub(crate) const TERM: u64 = 3;

/// A state with a way to ask it for changes, each under a request id of its own.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) state: ClusterState,
    request: u128,
}

impl Asked {
    /// Before there is a cluster.
    pub(crate) fn nothing() -> Self {
        Self { state: ClusterState::empty(), request: 0 }
    }

    /// What makes the cluster.
    pub(crate) fn founding() -> Envelope {
        envelope(Command::CreateCluster { name: "test".into(), first: node("a"), voters_wanted: 3 })
    }

    /// A cluster of so many nodes, with ids from 1, which keep nothing.
    pub(crate) fn cluster(nodes: u64) -> Self {
        let mut asked = Self::nothing();
        asked.request += 1;
        asked.state.apply(TERM, Self::founding());
        for _ in 1..nodes {
            asked.run(Command::RegisterNode { node: node("a") });
        }
        asked
    }

    /// The next envelope.
    pub(crate) fn envelope(&mut self, command: Command) -> Envelope {
        self.request += 1;
        Envelope { request: RequestId::new(self.request), since: self.state.revision(), ..envelope(command) }
    }

    pub(crate) fn run(&mut self, command: Command) -> Applied {
        let envelope = self.envelope(command);
        self.state.apply(TERM, envelope)
    }

    /// Asserts a refusal, and that nothing but the books changed.
    pub(crate) fn refused(&mut self, command: Command) -> Code {
        let applied = self.run(command);
        let Outcome::Rejected(refusal) = applied.outcome else { panic!("not refused: {applied:?}") };
        assert!(applied.changes.len() <= 2, "a refusal changed {:?}", applied.changes);
        refusal.code
    }

    pub(crate) fn deploy(&mut self, name: &str, digest: u8) -> VersionId {
        let Outcome::Deployed { version, .. } = self.run(deploy(name, digest)).outcome else {
            panic!("not deployed")
        };
        VersionId { function: function(name), number: version }
    }

    /// Assigns the version to the nodes.
    pub(crate) fn assign(&mut self, version: &VersionId, nodes: &[u64]) {
        let add = nodes.iter().copied().map(NodeId::new).collect();
        let placement = Placement { version: version.clone(), add, drop: Vec::new() };
        self.run(Command::Assign { placements: vec![placement], switches: Vec::new() });
    }

    /// Gives the function's calls to what they wait for.
    pub(crate) fn switch(&mut self, name: &str) -> Outcome {
        let function = function(name);
        let updated = self.state.function(&function).unwrap().updated;
        let switches = vec![Switch { function, updated }];
        self.run(Command::Assign { placements: Vec::new(), switches }).outcome
    }

    /// How the function's calls are divided, and what they wait for: versions only.
    pub(crate) fn traffic(&self, name: &str) -> (Vec<u64>, Vec<u64>) {
        let function = self.state.function(&function(name)).unwrap();
        let numbers = |table: &[Weight]| table.iter().map(|part| part.version.get()).collect();
        (numbers(&function.traffic), numbers(&function.next))
    }

    /// The nodes that hold the version.
    pub(crate) fn holders(&self, version: &VersionId) -> Vec<u64> {
        self.state.replicas_of(version).map(|replica| replica.node.get()).collect()
    }
}

pub(crate) fn envelope(command: Command) -> Envelope {
    Envelope {
        cluster: CLUSTER,
        group: GroupId::META,
        request: RequestId::new(1),
        since: Revision::ZERO,
        time_ms: 1,
        random: 0,
        expected: Revision::ZERO,
        trace: String::new(),
        term: None,
        command,
    }
}

pub(crate) fn node(zone: &str) -> Node {
    Node {
        id: NodeId::default(),
        name: "node".into(),
        roles: [Role::Controller, Role::Worker, Role::Gateway].into(),
        zone: zone.into(),
        version: "0.1.0".into(),
        addresses: Addresses::default(),
        state: NodeState::Alive,
        registered: Revision::ZERO,
        slots: 4,
        memory_bytes: 1 << 30,
        store: StoreId::UNKNOWN,
    }
}

pub(crate) fn function(name: &str) -> FunctionId {
    name.parse().unwrap()
}

pub(crate) fn version(name: &str, number: u64) -> VersionId {
    VersionId { function: function(name), number: VersionNumber::new(number) }
}

pub(crate) fn spec(replicas: u32) -> FunctionSpec {
    FunctionSpec::new(Draft { replicas, ..Draft::default() }).unwrap()
}

pub(crate) fn deploy(name: &str, digest: u8) -> Command {
    deploy_at(name, digest, &[])
}

pub(crate) fn deploy_at(name: &str, digest: u8, routes: &[&str]) -> Command {
    Command::Deploy {
        function: function(name),
        spec: spec(2),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        route_grants: Vec::new(),
        digest: Digest::new([digest; 32]),
        size: 1000,
        kind: Kind::HttpComponent,
    }
}

pub(crate) fn deploy_granting(name: &str, routes: &[&str], grants: &[&str]) -> Command {
    let mut command = deploy_at(name, 1, routes);
    if let Command::Deploy { route_grants, .. } = &mut command {
        *route_grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    }
    command
}
