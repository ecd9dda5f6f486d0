//! A webhook, as a trigger of a manifest says it.

use clap::ValueEnum;
use coracle_proto::id::{FunctionId, FunctionName};

use super::Settings;
use super::settings::{Setting, Unit};

/// Before the name of a webhook's queue.
pub(crate) const PREFIX: &str = "webhook";
/// Between the sender's time and ours.
pub(crate) const TOLERANCE: Setting =
    Setting::new("tolerance", Unit::Duration, 5 * 60 * 1000, (1000, 12 * 60 * 60 * 1000));

/// One webhook of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookEntry {
    /// Its namespace and name.
    pub(crate) id: FunctionId,
    /// From 1.
    pub(crate) line: usize,
    /// Of the same namespace.
    pub(crate) function: FunctionName,
    pub(crate) verify: Verify,
    /// The name of the secret that its sender knows.
    pub(crate) secret: FunctionName,
    /// 0: as is usual.
    pub(crate) tolerance_ms: u64,
    /// Of its queue.
    pub(crate) settings: Settings,
}

impl WebhookEntry {
    /// The function with its namespace.
    pub(crate) fn of(&self) -> FunctionId {
        FunctionId { namespace: self.id.namespace.clone(), name: self.function.clone() }
    }

    /// The name of its queue, as stores have it.
    pub(crate) fn queue(&self) -> String {
        queue_of(&self.id.name)
    }
}

/// The name of a webhook's queue, as stores have it.
pub(crate) fn queue_of(webhook: &FunctionName) -> String {
    format!("{PREFIX}/{webhook}")
}

/// In which form a sender signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    /// X-Hub-Signature-256, over the body.
    Github,
    /// Stripe-Signature, over time and body.
    Stripe,
    /// X-Slack-Signature, over time and body.
    Slack,
    /// The headers of Standard Webhooks.
    Standard,
}

impl Verify {
    /// On the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::Standard => "standard",
        }
    }
}
