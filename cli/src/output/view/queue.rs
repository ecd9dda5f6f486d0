//! Queues, and what became of their dead letters.

mod detail;

use std::collections::BTreeMap;

use coracle_proto::pb;
use serde::Serialize;

pub(crate) use detail::QueueDetailView;

use crate::output::{Detail, Row, rfc3339};
use crate::units::show_bytes;

/// A queue with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct QueueView {
    namespace: String,
    queue: String,
    /// That takes its messages.
    function: Option<String>,
    paused: bool,
    dead: u64,
    /// When the first of the dead letters died.
    oldest: Option<String>,
    ready: u64,
    delayed: u64,
    behind: u64,
    claimed: u64,
    bytes: u64,
    /// Since it was made, by what happened.
    totals: BTreeMap<String, u64>,
}

impl QueueView {
    /// A queue, and when the first of its dead letters died: Unix milliseconds.
    pub(crate) fn new(namespace: &str, wire: pb::QueueDetail, oldest_ms: Option<u64>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            queue: wire.queue,
            function: Some(wire.function).filter(|function| !function.is_empty()),
            paused: wire.paused,
            dead: wire.dead,
            oldest: oldest_ms.map(rfc3339),
            ready: wire.ready,
            delayed: wire.delayed,
            behind: wire.behind,
            claimed: wire.claimed,
            bytes: wire.bytes,
            totals: wire.totals.into_iter().collect(),
        }
    }
}

impl Row for QueueView {
    const COLUMNS: &'static [&'static str] =
        &["QUEUE", "DEAD", "OLDEST", "READY", "DELAYED", "RUNNING", "FUNCTION", "BEHIND", "SIZE", "PAUSED"];
    const WIDE_FROM: usize = 6;

    fn cells(&self) -> Vec<String> {
        vec![
            self.queue.clone(),
            self.dead.to_string(),
            self.oldest.clone().unwrap_or_default(),
            self.ready.to_string(),
            self.delayed.to_string(),
            self.claimed.to_string(),
            self.function.clone().unwrap_or_default(),
            self.behind.to_string(),
            show_bytes(self.bytes),
            if self.paused { "yes" } else { "no" }.to_owned(),
        ]
    }

    fn name(&self) -> String {
        self.queue.clone()
    }
}

/// What became of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MovedView {
    name: String,
    moved: u64,
    /// `redriven`, `purged`.
    outcome: &'static str,
}

impl MovedView {
    pub(crate) fn new(name: impl ToString, moved: u64, outcome: &'static str) -> Self {
        Self { name: name.to_string(), moved, outcome }
    }
}

impl Detail for MovedView {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// People were told on stderr.
    fn describe(&self, _wide: bool) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_listed_with_its_dead_letters() {
        let wire = pb::QueueDetail {
            queue: "function/cart".to_owned(),
            function: "cart".to_owned(),
            ready: 1,
            delayed: 2,
            claimed: 3,
            dead: 4,
            bytes: 2048,
            totals: [("published".to_owned(), 9)].into(),
            ..pb::QueueDetail::default()
        };
        let view = QueueView::new("shop", wire, Some(1_795_248_000_000));
        assert_eq!(view.cells().join("|"), "function/cart|4|2026-11-21T08:00:00.000Z|1|2|3|cart|0|2 KiB|no");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["namespace"], &json["totals"]["published"]), (&"shop".into(), &9.into()));
    }
}
