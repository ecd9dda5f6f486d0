//! Messages into queues and topics.

use std::time::Instant;

use coracle_proto::id::Namespace;
use coracle_proto::pb::PublishReply;
use coracle_proto::pb::queues_client::QueuesClient;
use coracle_proto::status::Refusal;

use super::not_understood;
use crate::stores::ask::{Question, traced};
use crate::stores::message::{Message, Published};
use crate::stores::{Stores, wire};

impl Stores {
    /// Puts messages into a queue of the namespace, or into those of all who have subscribed to a topic of it: all of them, or
    /// none. When this answers they are kept. The answer has one of each, in their order.
    ///
    /// There is one at least, and there are at most [`PUBLISHED_MAX`](crate::stores::PUBLISHED_MAX) of them, of
    /// [`PUBLISHED_BYTES_MAX`](crate::stores::PUBLISHED_BYTES_MAX) together.
    ///
    /// # Errors
    /// `no-store`, `queue-not-found`, `queue-full`, `idempotency-conflict`, `invalid-argument`; at the deadline why nobody answered.
    pub async fn publish(
        &self,
        namespace: &Namespace,
        to: &str,
        messages: Vec<Message>,
        deadline: Instant,
    ) -> Result<Vec<Published>, Refusal> {
        let group = self.group_of(namespace)?;
        let request = self.request(group, deadline, 0).await?;
        let (place, count) = (self.place(group, namespace.to_string()), messages.len());
        let wire = wire::publish_request(messages, to, place, request);
        let publish = |channel| {
            let wire = wire.clone();
            async move { QueuesClient::new(channel).publish(traced(wire)).await }
        };
        let reply: PublishReply = self.ask(Question::change(group, deadline), publish).await?;
        self.reached(group, reply.sequence);
        wire::published(&reply, count).map_err(not_understood)
    }
}
