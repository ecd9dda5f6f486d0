//! The other controllers, as they exchange their statuses with this one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, StoreId};

use super::SoftTable;

/// Another controller, as it exchanged its statuses last.
#[derive(Debug, Clone, Copy)]
struct Relay {
    at: Instant,
    format: u32,
}

/// What is known of each of them.
#[derive(Debug, Default)]
pub(super) struct Relays {
    heard: BTreeMap<NodeId, Relay>,
    stores: BTreeMap<NodeId, StoreId>,
}

impl Relays {
    /// Forgets those that there are no more.
    pub(super) fn retain(&mut self, known: impl Fn(NodeId) -> bool) {
        self.heard.retain(|node, _| known(*node));
        self.stores.retain(|node, _| known(*node));
    }
}

impl SoftTable {
    /// Another controller, which reads commands up to that format, exchanges its statuses with this one.
    pub(crate) fn relayed_by(&self, controller: NodeId, format: u32, now: Instant) {
        self.lock().relays.heard.insert(controller, Relay { at: now, format });
    }

    /// The highest format that each other controller reads, as it told within that time.
    pub(crate) fn formats(&self, now: Instant, within: Duration) -> BTreeMap<NodeId, u32> {
        let inner = self.lock();
        let heard = inner.relays.heard.iter();
        let lately = heard.filter(|(_, it)| now.saturating_duration_since(it.at) <= within);
        lately.map(|(node, relay)| (*node, relay.format)).collect()
    }

    /// Controllers that were not heard for longer than `after`.
    pub(crate) fn silent_relays(&self, now: Instant, after: Duration) -> BTreeSet<NodeId> {
        let inner = self.lock();
        let heard = inner.relays.heard.iter();
        let silent = heard.filter(|(_, it)| now.saturating_duration_since(it.at) > after);
        silent.map(|(node, _)| *node).collect()
    }

    /// Another controller says which store it has; older programs do not.
    pub(crate) fn answered_with(&self, controller: NodeId, store: StoreId) {
        if store != StoreId::UNKNOWN {
            self.lock().relays.stores.insert(controller, store);
        }
    }

    /// The store that each other controller said to have.
    pub(crate) fn stores(&self) -> BTreeMap<NodeId, StoreId> {
        self.lock().relays.stores.clone()
    }
}
