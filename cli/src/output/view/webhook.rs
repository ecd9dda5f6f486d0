//! Webhooks.

use std::time::Duration;

use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, table};
use crate::units::show_duration;

/// A webhook, where it is sent to, and how much came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WebhookView {
    namespace: String,
    webhook: String,
    url: String,
    function: String,
    verify: String,
    secret: String,
    tolerance_ms: Option<u64>,
    queue: String,
    /// Since it was made.
    received: u64,
    /// Since its group's leader leads.
    refused: u64,
}

impl WebhookView {
    pub(crate) fn new(namespace: &str, wire: pb::WebhookDetail, url: String) -> Self {
        let spec = wire.spec.unwrap_or_default();
        Self {
            namespace: namespace.to_owned(),
            webhook: wire.webhook,
            url,
            function: spec.function,
            verify: spec.verify,
            secret: spec.secret,
            tolerance_ms: Some(spec.tolerance_ms).filter(|told| *told > 0),
            queue: wire.queue,
            received: wire.received,
            refused: wire.refused,
        }
    }
}

impl Row for WebhookView {
    const COLUMNS: &'static [&'static str] =
        &["WEBHOOK", "FUNCTION", "VERIFY", "RECEIVED", "REFUSED", "SECRET", "URL"];
    const WIDE_FROM: usize = 5;

    fn cells(&self) -> Vec<String> {
        vec![
            self.webhook.clone(),
            self.function.clone(),
            self.verify.clone(),
            self.received.to_string(),
            self.refused.to_string(),
            self.secret.clone(),
            self.url.clone(),
        ]
    }

    fn name(&self) -> String {
        self.webhook.clone()
    }
}

impl Detail for WebhookView {
    fn name(&self) -> String {
        self.webhook.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let tolerance = self.tolerance_ms.map(|told| show_duration(Duration::from_millis(told)));
        table::pairs([
            ("webhook", format!("{}/{}", self.namespace, self.webhook)),
            ("url", self.url.clone()),
            ("function", self.function.clone()),
            ("verify", self.verify.clone()),
            ("secret", self.secret.clone()),
            ("tolerance", tolerance.unwrap_or_default()),
            ("queue", self.queue.clone()),
            ("received", self.received.to_string()),
            ("refused", self.refused.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_shown_with_its_url() {
        let wire = pb::WebhookDetail {
            webhook: "push".to_owned(),
            spec: Some(pb::WebhookSpec { function: "build".to_owned(), ..pb::WebhookSpec::default() }),
            received: 3,
            ..pb::WebhookDetail::default()
        };
        let view = WebhookView::new("shop", wire, "http://a:1/.coracle/webhook/shop/push".to_owned());
        assert!(view.describe(false).contains("url       http://a:1/.coracle/webhook/shop/push"));
        assert_eq!(view.cells()[3], "3");
    }
}
