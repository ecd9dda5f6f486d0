//! A queue with what it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, table};
use crate::units::{show_bytes, show_duration};

/// A queue with what it was told and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct QueueDetailView {
    namespace: String,
    queue: String,
    /// That takes its messages.
    function: Option<String>,
    paused: bool,
    ready: u64,
    delayed: u64,
    behind: u64,
    claimed: u64,
    dead: u64,
    bytes: u64,
    /// Nobody fills it any more: it goes with its last message.
    ends_when_empty: bool,
    settings: SettingsView,
    /// Since it was made, by what happened.
    totals: BTreeMap<String, u64>,
}

/// What is not there is as is usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SettingsView {
    attempts: Option<u32>,
    backoff_ms: Option<u64>,
    backoff_max_ms: Option<u64>,
    age_ms: Option<u64>,
    dead_keep_ms: Option<u64>,
    messages: Option<u64>,
    bytes: Option<u64>,
    delivery: DeliveryView,
}

/// How its function wants them. What is not there is as is usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct DeliveryView {
    path: Option<String>,
    mode: Option<&'static str>,
    reply: Option<String>,
    batch_max: Option<u32>,
    batch_wait_ms: Option<u64>,
}

impl From<pb::DeliverySpec> for DeliveryView {
    fn from(wire: pb::DeliverySpec) -> Self {
        let mode = match wire.mode() {
            pb::DeliveryMode::Unspecified | pb::DeliveryMode::Binary => None,
            pb::DeliveryMode::Structured => Some("structured"),
        };
        Self {
            path: told(wire.path),
            mode,
            reply: told(wire.reply),
            batch_max: told(wire.batch_max),
            batch_wait_ms: told(wire.batch_wait_ms),
        }
    }
}

impl DeliveryView {
    fn pairs(&self) -> [(&'static str, String); 4] {
        let wait = self.batch_wait_ms.map(|wait| show_duration(Duration::from_millis(wait)));
        let wait = wait.map(|wait| format!(" within {wait}")).unwrap_or_default();
        [
            ("path", self.path.clone().unwrap_or_default()),
            ("mode", self.mode.unwrap_or_default().to_owned()),
            ("reply", self.reply.clone().unwrap_or_default()),
            ("batch", self.batch_max.map(|max| format!("{max}{wait}")).unwrap_or_default()),
        ]
    }
}

/// On the wire 0 is as is usual.
fn told<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

impl From<pb::QueueSpec> for SettingsView {
    fn from(wire: pb::QueueSpec) -> Self {
        Self {
            attempts: told(wire.attempts),
            backoff_ms: told(wire.backoff_ms),
            backoff_max_ms: told(wire.backoff_max_ms),
            age_ms: told(wire.age_ms),
            dead_keep_ms: told(wire.dead_keep_ms),
            messages: told(wire.messages_max),
            bytes: told(wire.bytes_max),
            delivery: wire.delivery.unwrap_or_default().into(),
        }
    }
}

impl QueueDetailView {
    pub(crate) fn new(namespace: &str, wire: pb::QueueDetail) -> Self {
        Self {
            namespace: namespace.to_owned(),
            queue: wire.queue,
            function: Some(wire.function).filter(|function| !function.is_empty()),
            paused: wire.paused,
            ready: wire.ready,
            delayed: wire.delayed,
            behind: wire.behind,
            claimed: wire.claimed,
            dead: wire.dead,
            bytes: wire.bytes,
            ends_when_empty: wire.ends_when_empty,
            settings: wire.spec.unwrap_or_default().into(),
            totals: wire.totals.into_iter().collect(),
        }
    }

    fn paused(&self) -> String {
        if self.paused { "yes" } else { "no" }.to_owned()
    }
}

impl Row for QueueDetailView {
    const COLUMNS: &'static [&'static str] =
        &["QUEUE", "FUNCTION", "READY", "DELAYED", "RUNNING", "DEAD", "PAUSED", "BEHIND", "SIZE"];
    const WIDE_FROM: usize = 7;

    fn cells(&self) -> Vec<String> {
        vec![
            self.queue.clone(),
            self.function.clone().unwrap_or_default(),
            self.ready.to_string(),
            self.delayed.to_string(),
            self.claimed.to_string(),
            self.dead.to_string(),
            self.paused(),
            self.behind.to_string(),
            show_bytes(self.bytes),
        ]
    }

    fn name(&self) -> String {
        self.queue.clone()
    }
}

impl Detail for QueueDetailView {
    fn name(&self) -> String {
        self.queue.clone()
    }

    fn describe(&self, wide: bool) -> String {
        let time = |millis: Option<u64>| {
            millis.map(|millis| show_duration(Duration::from_millis(millis))).unwrap_or_default()
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let SettingsView {
            attempts,
            backoff_ms,
            backoff_max_ms,
            age_ms,
            dead_keep_ms,
            messages,
            bytes,
            delivery,
        } = &self.settings;
        let ends = if self.ends_when_empty { "with its last message: nobody fills it any more" } else { "" };
        let function = self.function.clone().unwrap_or_else(|| "none: its messages wait".to_owned());
        let head = [
            ("queue", format!("{}/{}", self.namespace, self.queue)),
            ("function", function),
            ("paused", self.paused()),
            ("ends", ends.to_owned()),
            ("ready", self.ready.to_string()),
            ("delayed", self.delayed.to_string()),
            ("behind", self.behind.to_string()),
            ("running", self.claimed.to_string()),
            ("dead", self.dead.to_string()),
            ("size", show_bytes(self.bytes)),
            ("attempts", number(attempts.map(u64::from))),
            ("backoff", time(*backoff_ms)),
            ("backoff-max", time(*backoff_max_ms)),
            ("age", time(*age_ms)),
            ("dead-keep", time(*dead_keep_ms)),
            ("messages at most", number(*messages)),
            ("size at most", bytes.map(show_bytes).unwrap_or_default()),
        ];
        let head = table::pairs(head.into_iter().chain(delivery.pairs()));
        if !wide || self.totals.is_empty() {
            return head;
        }
        let totals: Vec<_> = self.totals.iter().map(|(what, many)| format!("{many} {what}")).collect();
        format!("{head}since it was made: {}\n", totals.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> pb::QueueDetail {
        let delivery = pb::DeliverySpec {
            batch_max: 10,
            batch_wait_ms: 5000,
            reply: "done".into(),
            ..Default::default()
        };
        let delivery = Some(delivery);
        let spec = pb::QueueSpec { attempts: 5, age_ms: 60_000, delivery, ..pb::QueueSpec::default() };
        pb::QueueDetail {
            queue: "jobs".to_owned(),
            ready: 1,
            claimed: 2,
            bytes: 2048,
            totals: [("published".to_owned(), 9)].into(),
            spec: Some(spec),
            ends_when_empty: true,
            ..pb::QueueDetail::default()
        }
    }

    #[test]
    fn a_queue_is_listed_with_what_it_holds() {
        let view = QueueDetailView::new("shop", wire());
        assert_eq!(view.cells().join("|"), "jobs||1|0|2|0|no|0|2 KiB");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["settings"]["attempts"], &json["settings"]["bytes"]), (&5.into(), &().into()));
    }

    #[test]
    fn a_queue_is_shown_with_what_it_was_told() {
        let text = QueueDetailView::new("shop", wire()).describe(true);
        for part in [
            "shop/jobs",
            "none: its messages wait",
            "attempts  5",
            "1 m 0 s",
            "10 within 5 s",
            "with its last",
            "9 published",
        ] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
        assert!(!QueueDetailView::new("shop", wire()).describe(false).contains("published"));
    }
}
