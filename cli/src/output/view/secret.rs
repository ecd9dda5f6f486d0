//! Secrets, without their values: nobody has these but the stores.

use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, rfc3339, table};

/// A secret's name, and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SecretView {
    namespace: String,
    secret: String,
    version: u64,
    changed: String,
    /// The value before is good until then.
    before_until: Option<String>,
    webhooks: Vec<String>,
}

impl SecretView {
    pub(crate) fn new(namespace: &str, wire: pb::SecretDetail) -> Self {
        Self {
            namespace: namespace.to_owned(),
            secret: wire.secret,
            version: wire.version,
            changed: rfc3339(wire.changed_ms),
            before_until: (wire.before_until_ms > 0).then(|| rfc3339(wire.before_until_ms)),
            webhooks: wire.webhooks,
        }
    }
}

impl Row for SecretView {
    const COLUMNS: &'static [&'static str] = &["SECRET", "CHANGED", "WEBHOOKS", "VERSION", "BEFORE-UNTIL"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        vec![
            self.secret.clone(),
            self.changed.clone(),
            self.webhooks.join(", "),
            self.version.to_string(),
            self.before_until.clone().unwrap_or_default(),
        ]
    }

    fn name(&self) -> String {
        self.secret.clone()
    }
}

impl Detail for SecretView {
    fn name(&self) -> String {
        self.secret.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        table::pairs([
            ("secret", format!("{}/{}", self.namespace, self.secret)),
            ("version", self.version.to_string()),
            ("changed", self.changed.clone()),
            ("before until", self.before_until.clone().unwrap_or_default()),
            ("webhooks", self.webhooks.join(", ")),
        ])
    }
}
