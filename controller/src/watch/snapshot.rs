//! A scope's whole content: made part by part, once for all who are sent it.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::record::{Change, Record};
use tokio::sync::watch;

use super::Scope;
use super::parts::{Filling, encoded};
use super::stamp::version_of;
use crate::model::ClusterState;

/// Of which records a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// What gateways see.
    Gateway,
    /// Everything.
    All,
    /// The nodes, which every scope has.
    Nodes,
}

/// What was made so far.
#[derive(Debug, Default)]
struct Made {
    parts: Vec<Bytes>,
    whole: bool,
}

/// The content of one state. It lives as long as somebody is sent it.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: Arc<ClusterState>,
    made: watch::Sender<Made>,
}

impl Snapshot {
    /// Begins to make it. Whoever holds it may go on reading; when nobody does, it is not made to its end.
    pub(super) fn begin(state: Arc<ClusterState>, content: Content) -> Arc<Self> {
        let snapshot = Arc::new(Self { state: Arc::clone(&state), made: watch::Sender::default() });
        tokio::spawn(make(Arc::downgrade(&snapshot), state, content));
        snapshot
    }

    /// A part, and whether it is the last; waits until it is made. None when there are fewer.
    pub(super) async fn part(&self, at: usize) -> Option<(Bytes, bool)> {
        let mut made = self.made.subscribe();
        let made = made.wait_for(|made| made.parts.len() > at + 1 || made.whole).await.ok()?;
        let part = made.parts.get(at)?;
        Some((part.clone(), made.whole && at + 1 == made.parts.len()))
    }
}

/// Encodes the records of a state. A part at a time, so that others get their turn.
async fn make(snapshot: std::sync::Weak<Snapshot>, state: Arc<ClusterState>, content: Content) {
    let mut filling = Filling::default();
    let add = |part: Bytes, whole: bool| {
        let snapshot = snapshot.upgrade()?;
        snapshot.made.send_modify(|made| {
            made.parts.push(part);
            made.whole = whole;
        });
        Some(())
    };
    let put = |record| pb::Change::from(&Change::put(record));
    let nodes = || state.nodes().map(|node| Record::Node(node.clone()));
    let records: Box<dyn Iterator<Item = Record> + Send + '_> = match content {
        Content::Gateway | Content::All => Box::new(state.records()),
        Content::Nodes => Box::new(nodes()),
    };
    let scope = if content == Content::Gateway { Scope::Gateway } else { Scope::All };
    for change in records.map(put).filter_map(|change| scope.filter(&change)) {
        let Some(part) = filling.add(&change) else { continue };
        if add(part, false).is_none() {
            return;
        }
        tokio::task::yield_now().await;
    }
    // Whether anybody still wants it makes no difference any more.
    let _ = add(filling.end(), true);
}

/// What a node is shown beside the nodes, found by the index of its replicas: a worker that comes back must not cost
/// all functions.
pub(super) fn of_node(state: &ClusterState, node: NodeId) -> Vec<Bytes> {
    let put = |record| pb::Change::from(&Change::put(record));
    let replicas = state.replicas_on(node).map(|replica| put(Record::Replica(replica.clone())));
    let versions = state.replicas_on(node).filter_map(|replica| version_of(state, &replica.version));
    encoded(replicas.chain(versions))
}
