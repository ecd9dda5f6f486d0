//! Topics.

use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, table};

/// A topic with its subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TopicView {
    namespace: String,
    topic: String,
    /// Messages, since it was made.
    published: u64,
    subscribers: Vec<SubscriberView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SubscriberView {
    function: String,
    /// In which its messages wait.
    queue: String,
}

impl TopicView {
    pub(crate) fn new(namespace: &str, wire: pb::TopicDetail) -> Self {
        let subscriber = |it: pb::Subscriber| SubscriberView { function: it.function, queue: it.queue };
        Self {
            namespace: namespace.to_owned(),
            topic: wire.topic,
            published: wire.published,
            subscribers: wire.subscribers.into_iter().map(subscriber).collect(),
        }
    }

    fn functions(&self) -> String {
        self.subscribers.iter().map(|it| it.function.clone()).collect::<Vec<_>>().join(", ")
    }
}

impl Row for TopicView {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "SUBSCRIBERS", "PUBLISHED"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.functions(), self.published.to_string()]
    }

    fn name(&self) -> String {
        self.topic.clone()
    }
}

impl Detail for TopicView {
    fn name(&self) -> String {
        self.topic.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let nobody = [("subscriber", "none: what is published goes to nobody".to_owned())];
        let each = |it: &SubscriberView| ("subscriber", format!("{} (queue {})", it.function, it.queue));
        let head = [
            ("topic", format!("{}/{}", self.namespace, self.topic)),
            ("published", self.published.to_string()),
        ];
        match self.subscribers.is_empty() {
            true => table::pairs(head.into_iter().chain(nobody)),
            false => table::pairs(head.into_iter().chain(self.subscribers.iter().map(each))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_shown_with_its_subscribers() {
        let subscriber = |function: &str| pb::Subscriber {
            function: function.to_owned(),
            queue: format!("topic/news/{function}"),
        };
        let wire = pb::TopicDetail {
            topic: "news".to_owned(),
            subscribers: vec![subscriber("mail"), subscriber("wall")],
            published: 9,
        };
        let view = TopicView::new("shop", wire);
        assert_eq!(view.cells(), ["news", "mail, wall", "9"]);
        assert!(view.describe(false).contains("subscriber  wall (queue topic/news/wall)"));
        let alone = TopicView::new("shop", pb::TopicDetail::default());
        assert!(alone.describe(false).contains("goes to nobody"));
    }
}
