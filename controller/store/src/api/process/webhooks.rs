//! What came to the webhooks of a leader, and what of it was let in, for whoever scrapes.

use coracle_raft::{Role, Stop};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::warn;

use crate::model::{self, NameError, Place};
use crate::replicas::{Replicas, Served};

/// Webhooks that are shown, of each group: the first ones by name.
const WEBHOOKS_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    namespace: String,
    webhook: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    namespace: String,
    webhook: String,
    cause: &'static str,
}

#[derive(Debug, Default)]
struct Shown {
    received: Family<Of, Counter>,
    refused: Family<For, Counter>,
}

/// Only a leader tells: what three replicas tell would be three times as much.
pub(super) fn register(registry: &mut Registry, replicas: &Replicas) {
    let shown = Shown::default();
    for (group, _) in replicas.all() {
        // It has ended meanwhile.
        let Ok(served) = replicas.served(group) else { continue };
        if served.replica.status().role == Role::Leader
            && let Err(stop) = shown.read(&served)
        {
            warn!(%group, %stop, "the webhooks of a group cannot be read");
        }
    }
    let Shown { received, refused } = shown;
    registry.register("webhook_received", "Messages that a webhook has let in since it was made", received);
    registry.register("webhook_refused", "What a webhook has refused since its leader leads", refused);
}

impl Shown {
    fn read(&self, served: &Served) -> Result<(), Stop> {
        let (view, term) = (served.replica.state(), served.replica.status().term);
        for (place, _) in model::all_webhooks(&view, WEBHOOKS_MAX)? {
            let (namespace, webhook) = (place.namespace.to_string(), place.name.to_string());
            let of = Of { namespace: namespace.clone(), webhook: webhook.clone() };
            // One whose queue no name can have was never made.
            let queue: Result<Place, NameError> = Place::of_webhook(&place);
            let counts = queue
                .map(|queue| model::counts(&view, &queue))
                .unwrap_or_else(|_| Ok(model::Counts::default()))?;
            self.received.get_or_create(&of).inc_by(counts.published);
            for (cause, count) in served.refused.of(&place, term) {
                let labels = For { namespace: namespace.clone(), webhook: webhook.clone(), cause };
                self.refused.get_or_create(&labels).inc_by(count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::model::{Form, Name, Op, Sealed, Settings, Terms, Wrong};
    use crate::world::World;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_let_in_and_what_was_not_is_shown() {
        let world = World::start().await;
        let (secret, webhook) = (Place::parse("shop", "s").unwrap(), Place::parse("shop", "w").unwrap());
        world.done(Op::PutSecret { secret, value: Sealed::new("v".into()), keep_ms: 0 }).await;
        let name = |text| Name::parse(text).unwrap();
        let terms = Terms { function: name("f"), form: Form::Slack, secret: name("s"), tolerance_ms: 60_000 };
        world.done(Op::PutWebhook { webhook: webhook.clone(), terms, settings: Settings::DEFAULT }).await;
        let term = world.served.replica.status().term;
        world.served.refused.count(&webhook, term, Wrong::Mismatch.cause());
        let mut registry = Registry::default();
        register(&mut registry, &world.replicas);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "webhook_received_total{namespace=\"shop\",webhook=\"w\"} 0",
            "webhook_refused_total{namespace=\"shop\",webhook=\"w\",cause=\"mismatch\"} 1",
        ] {
            assert!(text.contains(line), "no '{line}' in {text}");
        }
        world.end().await;
    }
}
