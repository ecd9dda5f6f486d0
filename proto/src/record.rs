//! The replicated facts: what controllers hold, disks keep and watchers see.

mod function;
mod group;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::id::{
    ClusterId, Digest, Epoch, FunctionId, IdError, Namespace, NodeId, RequestId, Revision, StoreId,
    VersionId, VersionNumber,
};
use crate::key::Key;
use crate::route::RouteSpec;
use crate::spec::FunctionSpec;

pub use function::{Function, Weight};
pub use group::{DataGroup, SLOTS, SlotTable, slot_of};

/// One replicated fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// About the cluster itself: there is one.
    Cluster(Cluster),
    /// A namespace.
    Namespace(NamespaceRecord),
    /// A node.
    Node(Node),
    /// A function.
    Function(Function),
    /// A version of a function.
    Version(Version),
    /// A route to a function.
    Route(Route),
    /// A version held ready by a node.
    Replica(Replica),
    /// The answer to a request that was applied, for a client that asks again.
    Remembered(Remembered),
    /// A data group.
    Group(DataGroup),
    /// Which data group has what: there is one such table.
    Slots(SlotTable),
}

impl Record {
    /// The key under which it stands.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Namespace(record) => Key::Namespace(record.name.clone()),
            Self::Node(record) => Key::Node(record.id),
            Self::Function(record) => Key::Function(record.id.clone()),
            Self::Version(record) => Key::Version(record.id.clone()),
            Self::Route(record) => Key::Route(record.spec.clone()),
            Self::Replica(record) => Key::Replica(record.version.clone(), record.node),
            Self::Remembered(record) => Key::Request(record.revision, record.request),
            Self::Group(record) => Key::Group(record.id),
            Self::Slots(_) => Key::Slots,
        }
    }
}

/// A key with its new record, or with none when it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which fact.
    pub key: Key,
    /// What it is now.
    pub record: Option<Record>,
}

impl Change {
    /// The record, new or changed.
    #[must_use]
    pub fn put(record: Record) -> Self {
        Self { key: record.key(), record: Some(record) }
    }

    /// The key's record is gone.
    #[must_use]
    pub const fn remove(key: Key) -> Self {
        Self { key, record: None }
    }
}

/// About the cluster itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its identity.
    pub id: ClusterId,
    /// For people.
    pub name: String,
    /// Ids below it were given out and never will be again.
    pub next_node: NodeId,
    /// The highest stamped time so far, Unix milliseconds.
    pub time_ms: u64,
    /// The format of commands that every voter understands.
    pub version: u32,
    /// How many voters it should have.
    pub voters_wanted: u32,
    /// Requests applied before this revision are forgotten.
    pub remembered_from: Revision,
    /// Of the whole state: each applied command makes the next.
    pub revision: Revision,
}

/// A namespace: made with its first function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// Its name.
    pub name: Namespace,
    /// When it was made.
    pub created: Revision,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes part in the control plane.
    Controller,
    /// Runs functions.
    Worker,
    /// Takes HTTP calls.
    Gateway,
    /// Keeps what functions keep: replicas of data groups.
    Store,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Controller, Self::Worker, Self::Gateway, Self::Store];

    /// What a node is by default.
    pub const DEFAULT: [Self; 4] = Self::ALL;

    /// The word for it in flags, tables, tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| IdError::Number {
            what: "role (controller, worker, gateway or store)",
            value: text.to_owned(),
        })
    }
}

/// What the control plane decided about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It takes replicas.
    Alive,
    /// Given up by the detector: its replicas move.
    Dead,
    /// Being removed: its replicas move first.
    Leaving,
}

impl NodeState {
    /// The word for it in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Leaving => "leaving",
        }
    }
}

/// Where a node is reached, each `HOST:PORT`; empty where it serves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// API, Raft, watch (7400).
    pub grpc: String,
    /// Metrics, health (7401).
    pub admin: String,
    /// Calls, artifacts, logs between nodes (7402).
    pub data: String,
    /// The gateway (8080).
    pub http: String,
    /// Data groups (7403).
    pub store: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Given out once.
    pub id: NodeId,
    /// For people.
    pub name: String,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where it stands; replicas are spread over zones.
    pub zone: String,
    /// Of its program.
    pub version: String,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What was decided about it.
    pub state: NodeState,
    /// When it joined.
    pub registered: Revision,
    /// Calls that it runs at once without queueing.
    pub slots: u32,
    /// Memory for guests, bytes.
    pub memory_bytes: u64,
    /// Of its controller's log: unknown until that is open.
    pub store: StoreId,
}

impl Node {
    /// Whether it has, or says that it is reached as one that has, replicas of data groups.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.is(Role::Store) || !self.addresses.store.is_empty()
    }

    /// Whether it has the role.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// What sort of program an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A component that exports `wasi:http/incoming-handler` 0.2.
    HttpComponent,
    /// A core module of WASI preview 1 with `_start`, called like CGI.
    CommandModule,
    /// A component that exports `wasi:cli/run` 0.2, called like CGI.
    CommandComponent,
    /// A component that exports a handler of events, and nothing that takes requests.
    EventComponent,
}

impl Kind {
    /// The word for it in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpComponent => "http-component",
            Self::CommandModule => "command-module",
            Self::CommandComponent => "command-component",
            Self::EventComponent => "event-component",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A version of a function: never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Which one.
    pub id: VersionId,
    /// Its artifact.
    pub digest: Digest,
    /// Bytes of the artifact.
    pub size: u64,
    /// What the artifact is.
    pub kind: Kind,
    /// What it was granted.
    pub spec: FunctionSpec,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// W3C `traceparent` of the deploy that made it; empty for none.
    pub trace: String,
}

/// What begins later than this after a version was made is no part of its deploy any more.
const DEPLOY_MS: u64 = 60_000;

impl Version {
    /// The trace of its deploy, for what is done for the version while that goes on.
    #[must_use]
    pub fn deploy_trace(&self, now_ms: u64) -> Option<&str> {
        let fresh = now_ms.saturating_sub(self.created_ms) < DEPLOY_MS;
        (fresh && !self.trace.is_empty()).then_some(&self.trace)
    }
}

/// A route to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Host and path.
    pub spec: RouteSpec,
    /// Whose they are.
    pub function: FunctionId,
}

/// A version held ready by a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// What is held.
    pub version: VersionId,
    /// By whom.
    pub node: NodeId,
    /// Since which assignment.
    pub epoch: Epoch,
}

/// The answer to a request that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The request.
    pub request: RequestId,
    /// When it was applied.
    pub revision: Revision,
    /// What was answered.
    pub outcome: Outcome,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; there is nothing to tell.
    Done,
    /// A node was given its id.
    NodeRegistered(NodeId),
    /// A function has a new version, or had this very one already.
    Deployed {
        /// The version.
        version: VersionNumber,
        /// Nothing was changed: the latest version was the same.
        unchanged: bool,
    },
    /// The planner's decision was taken over, as far as it still fitted.
    Assigned {
        /// Replicas made.
        added: u32,
        /// Replicas ended.
        dropped: u32,
        /// Functions whose calls go as they were asked to from now on.
        switched: u32,
    },
    /// Refused: nothing was changed.
    Rejected(crate::status::Refusal),
}
