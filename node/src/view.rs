//! What this node knows of the cluster: the last view, followed from any controller and kept on disk.
//!
//! Calls are routed by it alone, so they need no controller. Two scopes are followed (design, decision 6): what a
//! gateway routes by, and what this node was assigned. Each has its own revision, and neither goes back.

mod disk_codec;
mod follower;
mod handle;
mod held;
mod keeper;
mod routes;
mod routing;
mod soft;
#[cfg(test)]
mod tests;
mod wire;

pub use follower::{Follower, Options};
pub use handle::ViewHandle;
pub use held::{Assignment, Held};
pub use routes::Routes;
pub use routing::{ReplicaAt, Routing};
pub use soft::{NodeSoft, Phase, ReplicaSoft, SoftNews};

use std::sync::Arc;

use coracle_proto::id::{ClusterId, Epoch, NodeId, Revision, StateHash, VersionId};
use coracle_proto::record::{Change, Node, NodeState, Record, Role};
use imbl::OrdMap;

/// Which state a scope shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Of the whole state.
    pub revision: Revision,
    /// Of the whole state, where the controller still knew it.
    pub hash: Option<StateHash>,
}

/// One scope's content. Collections inside are persistent, so that a clone costs nothing and a change its own size.
pub trait Content: Clone + Default + Send + Sync + 'static {
    /// Takes one change over; what the scope does not show is ignored.
    fn apply(&mut self, change: Change);
    /// Everything it holds.
    fn records(&self) -> Vec<Record>;
    /// Whether nothing was put or removed in between: the very same collections, so it costs nothing to ask.
    fn is_same(&self, other: &Self) -> bool;
    /// The first format of the file on disk that has all of it: an older program's lacks records that it did not know.
    const WHOLE_SINCE: u32;
    /// Whether it shows all that it should: an older controller does not tell of what it does not know.
    fn is_whole(&self) -> bool;
}

/// A scope's content with the state it is of.
#[derive(Debug, Clone, Default)]
pub struct Scoped<T> {
    /// Which state.
    pub stamp: Stamp,
    /// What it shows.
    pub content: T,
    /// Whether a controller has told all that was committed when this process started, or that nobody knows more: what
    /// was on disk may lack the last changes, and so may a controller that is behind.
    pub told: bool,
    /// Whether a controller is telling: what it will be that is told is worth waiting for.
    pub following: bool,
    /// Whether records may be missing that came before its revision, for an older program did not keep them.
    pub partial: bool,
}

impl<T: Content> Scoped<T> {
    /// Since which revision a controller is to tell what changed; zero: it is to tell everything.
    fn since(&self) -> Revision {
        if self.partial || !self.content.is_whole() { Revision::ZERO } else { self.stamp.revision }
    }

    /// Takes over a batch, or a whole content (`reset`). Older ones are refused: answers whether it was taken.
    pub fn take(&mut self, stamp: Stamp, changes: Vec<Change>, reset: bool) -> bool {
        if stamp.revision < self.stamp.revision {
            return false;
        }
        if reset {
            (self.content, self.partial) = (T::default(), false);
        }
        for change in changes {
            self.content.apply(change);
        }
        self.stamp = stamp;
        true
    }
}

/// What this node knows of the cluster. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Whose view it is.
    pub cluster: ClusterId,
    /// Grows with each change, of this process's own count.
    pub number: u64,
    /// What calls are routed by.
    pub routing: Scoped<Routing>,
    /// What this node was assigned.
    pub held: Scoped<Held>,
    /// What nodes last said about themselves; never on disk.
    pub soft: OrdMap<NodeId, Arc<NodeSoft>>,
}

impl View {
    /// A node, from whichever scope knows it.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.routing.content.nodes().get(&id).or_else(|| self.held.content.nodes().get(&id))
    }

    /// Every node, of the scope that is followed.
    #[must_use]
    pub fn nodes(&self) -> &OrdMap<NodeId, Arc<Node>> {
        if self.routing.stamp.revision >= self.held.stamp.revision {
            self.routing.content.nodes()
        } else {
            self.held.content.nodes()
        }
    }

    /// Where the controllers are that are thought alive, `HOST:PORT`.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        let alive = self.nodes().values().filter(|node| {
            node.is(Role::Controller) && node.state == NodeState::Alive && !node.addresses.grpc.is_empty()
        });
        alive.map(|node| node.addresses.grpc.clone()).collect()
    }

    /// How far a node is with a version, as far as it said so about this very assignment.
    #[must_use]
    pub fn phase(&self, version: &VersionId, node: NodeId, epoch: Epoch) -> Option<Phase> {
        let replica = self.soft.get(&node)?.replicas.get(version)?;
        (replica.epoch == epoch).then_some(replica.phase)
    }

    /// The newest revision that either scope has seen.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.routing.stamp.revision.max(self.held.stamp.revision)
    }

    /// Forgets what nodes said that there are no more.
    pub fn forget_gone(&mut self) {
        let gone: Vec<NodeId> = self.soft.keys().copied().filter(|id| self.node(*id).is_none()).collect();
        for id in gone {
            self.soft.remove(&id);
        }
    }

    /// Takes over all that a node says, unless something newer is known. Answers whether it was taken.
    pub fn take_soft(&mut self, soft: NodeSoft) -> bool {
        let order = |soft: &NodeSoft| (soft.incarnation, soft.changes, soft.sequence);
        let newer = self.soft.get(&soft.node).is_none_or(|known| order(known) < order(&soft));
        if newer {
            self.soft.insert(soft.node, Arc::new(soft));
        }
        newer
    }

    /// Takes over what a node says that is new. What does not go on where the known ends is left out: the node is
    /// then tried as one of which nothing is known. Answers whether the view changed.
    pub fn take_soft_news(&mut self, news: SoftNews) -> bool {
        if news.since == 0 {
            return self.take_soft(news.now);
        }
        let node = news.now.node;
        let Some(known) = self.soft.get_mut(&node) else { return false };
        let known = Arc::make_mut(known);
        let ahead = (news.now.incarnation, news.now.changes) > (known.incarnation, known.changes);
        let taken = known.take(news);
        // It goes on where this view is not: what was known may be wrong by now.
        let forgotten = ahead && !taken && self.soft.remove(&node).is_some();
        taken || forgotten
    }
}
