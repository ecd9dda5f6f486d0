//! What is sent to webhooks.

use std::time::Instant;

use coracle_proto::id::Namespace;
use coracle_proto::pb::DeliverWebhookReply;
use coracle_proto::pb::webhooks_client::WebhooksClient;
use coracle_proto::status::Refusal;

use super::not_understood;
use crate::stores::ask::{Question, traced};
use crate::stores::webhook::{Heard, Hooked};
use crate::stores::{Stores, wire};

impl Stores {
    /// Has what came to a webhook checked and kept: when this answers it is.
    ///
    /// # Errors
    /// `no-store`, `webhook-not-found`, `webhook-refused`, `queue-full`; at the deadline why nobody answered.
    pub async fn hear(
        &self,
        namespace: &Namespace,
        webhook: &str,
        hooked: Hooked,
        deadline: Instant,
    ) -> Result<Heard, Refusal> {
        let group = self.group_of(namespace)?;
        let request = self.request(group, deadline, 0).await?;
        let place = self.place(group, namespace.to_string());
        let wire = wire::deliver_request(hooked, webhook, place, request);
        let deliver = |channel| {
            let wire = wire.clone();
            async move { WebhooksClient::new(channel).deliver(traced(wire)).await }
        };
        let reply: DeliverWebhookReply = self.ask(Question::change(group, deadline), deliver).await?;
        self.reached(group, reply.sequence);
        wire::heard(reply).map_err(not_understood)
    }
}
