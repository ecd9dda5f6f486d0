//! What senders of webhooks and this group know together, and what is told of a webhook.

use std::fmt;

use bytes::Bytes;

use super::super::name::Name;

/// Bytes that nobody is shown: not in a log either.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Bytes);

impl Sealed {
    /// Keeps these.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// What they are, for whoever keeps or checks something by them.
    #[must_use]
    pub const fn opened(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A secret of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// As it was told last.
    pub value: Sealed,
    /// Greater than that of the value before.
    pub version: u64,
    /// When it was told, Unix milliseconds.
    pub changed_ms: u64,
    /// What it was before, while that is kept.
    pub before: Option<Before>,
}

/// A value that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// What it was.
    pub value: Sealed,
    /// It is good until then, Unix milliseconds.
    pub until_ms: u64,
}

impl Secret {
    /// The values that are good at this time, the newest first.
    #[must_use]
    pub fn good(&self, now_ms: u64) -> Vec<&[u8]> {
        let before = self.before.as_ref().filter(|before| now_ms < before.until_ms);
        [Some(&self.value), before.map(|before| &before.value)]
            .into_iter()
            .flatten()
            .map(|value| &value.opened()[..])
            .collect()
    }
}

/// How a sender signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `X-Hub-Signature-256`, over the body.
    Github,
    /// `Stripe-Signature`, over time and body.
    Stripe,
    /// `X-Slack-Signature`, over time and body.
    Slack,
    /// `webhook-signature` of Standard Webhooks 1.0, over id, time and body.
    Standard,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Github, Self::Stripe, Self::Slack, Self::Standard];

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::Standard => "standard",
        }
    }
}

/// What somebody has told of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Of its namespace, that is called.
    pub function: Name,
    /// How its sender signs.
    pub form: Form,
    /// By which secret of its namespace.
    pub secret: Name,
    /// How far the sender's time may be from the group's, where it has one.
    pub tolerance_ms: u64,
}

/// A webhook. What it gets is in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// As it was told last.
    pub terms: Terms,
}

/// How many secrets the group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Secrets {
    pub(in super::super) count: u64,
}
