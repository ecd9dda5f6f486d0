//! Who may have an artifact, the most likely first.

use coracle_proto::id::{Digest, NodeId};
use coracle_proto::record::{NodeState, Role};

use crate::artifact::Peer;
use crate::view::{Phase, View};

/// Sources tried for one artifact: one that does not have it says so at once.
const SOURCES_MAX: usize = 32;

/// The other workers that are thought alive, in the order of their distance by id: each node begins with another.
pub(crate) fn workers(view: &View, me: NodeId) -> Vec<Peer> {
    let alive = view.nodes().values().filter(|node| {
        node.id != me
            && node.is(Role::Worker)
            && node.state == NodeState::Alive
            && !node.addresses.data.is_empty()
    });
    let mut peers: Vec<Peer> =
        alive.map(|node| Peer { node: node.id, address: node.addresses.data.clone() }).collect();
    peers.sort_by_key(|peer| peer.node.get().wrapping_sub(me.get()));
    peers
}

/// Those with a ready replica of the artifact, then those the leader named, then everybody else.
pub(super) fn sources(view: &View, me: NodeId, digest: &Digest, named: &[String]) -> Vec<String> {
    let ready = |peer: &Peer| {
        view.soft.get(&peer.node).is_some_and(|soft| {
            soft.replicas.iter().any(|(version, replica)| {
                replica.phase == Phase::Ready
                    && view.routing.content.versions().get(version).is_some_and(|it| it.digest == *digest)
            })
        })
    };
    let workers = workers(view, me);
    let likely = workers.iter().filter(|peer| ready(peer)).map(|peer| &peer.address);
    let mut sources = Vec::new();
    for address in likely.chain(named).chain(workers.iter().map(|peer| &peer.address)) {
        if sources.len() < SOURCES_MAX && !sources.contains(address) {
            sources.push(address.clone());
        }
    }
    sources
}
