//! The orders as this controller knows them: its own while it leads, else those that the leader told for
//! the nodes that report here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::pb;

use super::orders::interval_ms;

/// Orders are the leader's word of now: without a leader nothing is fetched and nothing deleted.
const VALID_FOR: Duration = Duration::from_secs(5);

/// The last orders of each node.
#[derive(Debug, Default)]
pub(crate) struct OrdersBook {
    orders: Mutex<BTreeMap<NodeId, (Instant, pb::Orders)>>,
}

impl OrdersBook {
    /// Takes over what the leader wants, told at `now`.
    pub(crate) fn put(&self, orders: impl IntoIterator<Item = (NodeId, pb::Orders)>, now: Instant) {
        let mut book = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        book.retain(|_, (at, _)| now.saturating_duration_since(*at) < VALID_FOR);
        book.extend(orders.into_iter().map(|(node, orders)| (node, (now, orders))));
    }

    /// The leader wants the same of these nodes as before, still at `now`.
    pub(crate) fn renew(&self, nodes: &BTreeSet<NodeId>, now: Instant) {
        let mut book = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, (at, _)) in book.iter_mut().filter(|(node, _)| nodes.contains(node)) {
            *at = now;
        }
    }

    /// The orders of a node; without a leader's word only the interval.
    pub(crate) fn of(&self, node: NodeId, now: Instant) -> pb::Orders {
        let book = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let valid = |at: Instant| now.saturating_duration_since(at) < VALID_FOR;
        match book.get(&node) {
            Some((at, orders)) if valid(*at) => orders.clone(),
            Some(_) | None => pb::Orders { interval_ms: interval_ms(), ..pb::Orders::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn orders_end_with_their_leader() {
        let (book, now, node) = (OrdersBook::default(), clock::now(), NodeId::new(1));
        let orders = pb::Orders { sources: vec!["a:1".into()], ..pb::Orders::default() };
        book.put([(node, orders.clone())], now);
        assert_eq!(book.of(node, now), orders);
        assert!(book.of(node, now + VALID_FOR).sources.is_empty());
        book.renew(&[node].into(), now + VALID_FOR);
        assert_eq!(book.of(node, now + VALID_FOR), orders);
        assert!(book.of(NodeId::new(2), now).sources.is_empty());
    }
}
