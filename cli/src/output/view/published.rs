//! What was published.

use coracle_proto::id::InvocationId;
use coracle_proto::pb;
use serde::Serialize;

use crate::output::Detail;

/// One message, or many: people were told on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PublishedView {
    to: String,
    /// Messages.
    published: u64,
    /// Those of them that were there already.
    repeated: u64,
    /// Queues that have them.
    copies: u64,
    /// Of one message of a queue.
    invocation: Option<String>,
}

impl PublishedView {
    pub(crate) fn one(to: &impl ToString, published: &pb::Published) -> Self {
        let invocation = InvocationId::try_from(&published.invocation[..]).ok();
        Self {
            to: to.to_string(),
            published: 1,
            repeated: published.repeated.into(),
            copies: published.copies.into(),
            invocation: invocation.filter(|_| published.message > 0).map(|id| id.to_string()),
        }
    }

    pub(crate) fn many(to: &impl ToString, (published, repeated, copies): (u64, u64, u64)) -> Self {
        Self { to: to.to_string(), published, repeated, copies, invocation: None }
    }
}

impl Detail for PublishedView {
    /// The invocation's id, where there is one.
    fn name(&self) -> String {
        self.invocation.clone().unwrap_or_else(|| self.to.clone())
    }

    fn describe(&self, _wide: bool) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_queue_has_an_invocation_and_one_of_a_topic_has_none() {
        let wire = pb::Published {
            invocation: InvocationId::new(7).to_wire(),
            message: 3,
            copies: 1,
            ..pb::Published::default()
        };
        assert_eq!(PublishedView::one(&"jobs", &wire).name(), InvocationId::new(7).to_string());
        let topic = PublishedView::one(&"news", &pb::Published { message: 0, copies: 2, ..wire });
        assert_eq!((topic.name().as_str(), topic.copies), ("news", 2));
        let json = serde_json::to_string(&PublishedView::many(&"jobs", (9, 1, 9))).unwrap();
        assert_eq!(json, r#"{"to":"jobs","published":9,"repeated":1,"copies":9,"invocation":null}"#);
    }
}
