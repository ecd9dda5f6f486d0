//! A record as the state holds it: beside it its share of the state's hash, so that taking it away encodes nothing.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::key::Key;
use coracle_proto::record::{
    Cluster, DataGroup, Function, NamespaceRecord, Node, Record, Remembered, Replica, Route, SlotTable,
    Version,
};

use super::{codec, hash};

/// A record and its hash.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) record: T,
    pub(super) hash: u128,
}

/// A record out of any table; a clone shares it.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Cluster(Arc<Kept<Cluster>>),
    Namespace(Arc<Kept<NamespaceRecord>>),
    Node(Arc<Kept<Node>>),
    Function(Arc<Kept<Function>>),
    Version(Arc<Kept<Version>>),
    Route(Arc<Kept<Route>>),
    Replica(Arc<Kept<Replica>>),
    Remembered(Arc<Kept<Remembered>>),
    Group(Arc<Kept<DataGroup>>),
    Slots(Arc<Kept<SlotTable>>),
}

/// Key and record as they are stored, hashed and sent: made once for each record that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// The key's text.
    pub(crate) key: Bytes,
    /// The record's message.
    pub(crate) value: Bytes,
}

impl Encoded {
    pub(crate) fn of(record: &Record) -> Self {
        Self { key: record.key().to_string().into(), value: codec::record(record).into() }
    }
}

impl Held {
    /// The record as it is kept, with the hash of what it was encoded to.
    pub(super) fn new(record: Record, encoded: &Encoded) -> Self {
        let hash = hash::of(encoded);
        match record {
            Record::Cluster(record) => Self::Cluster(Arc::new(Kept { record, hash })),
            Record::Namespace(record) => Self::Namespace(Arc::new(Kept { record, hash })),
            Record::Node(record) => Self::Node(Arc::new(Kept { record, hash })),
            Record::Function(record) => Self::Function(Arc::new(Kept { record, hash })),
            Record::Version(record) => Self::Version(Arc::new(Kept { record, hash })),
            Record::Route(record) => Self::Route(Arc::new(Kept { record, hash })),
            Record::Replica(record) => Self::Replica(Arc::new(Kept { record, hash })),
            Record::Remembered(record) => Self::Remembered(Arc::new(Kept { record, hash })),
            Record::Group(record) => Self::Group(Arc::new(Kept { record, hash })),
            Record::Slots(record) => Self::Slots(Arc::new(Kept { record, hash })),
        }
    }

    /// Its share of the state's hash.
    pub(super) fn hash(&self) -> u128 {
        match self {
            Self::Cluster(it) => it.hash,
            Self::Namespace(it) => it.hash,
            Self::Node(it) => it.hash,
            Self::Function(it) => it.hash,
            Self::Version(it) => it.hash,
            Self::Route(it) => it.hash,
            Self::Replica(it) => it.hash,
            Self::Remembered(it) => it.hash,
            Self::Group(it) => it.hash,
            Self::Slots(it) => it.hash,
        }
    }

    /// The key under which it stands.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Namespace(it) => Key::Namespace(it.record.name.clone()),
            Self::Node(it) => Key::Node(it.record.id),
            Self::Function(it) => Key::Function(it.record.id.clone()),
            Self::Version(it) => Key::Version(it.record.id.clone()),
            Self::Route(it) => Key::Route(it.record.spec.clone()),
            Self::Replica(it) => Key::Replica(it.record.version.clone(), it.record.node),
            Self::Remembered(it) => Key::Request(it.record.revision, it.record.request),
            Self::Group(it) => Key::Group(it.record.id),
            Self::Slots(_) => Key::Slots,
        }
    }
}
