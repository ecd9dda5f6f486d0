//! Webhooks and secrets of a fake store.

use coracle_proto::pb;
use coracle_proto::pb::secrets_server::Secrets;
use coracle_proto::pb::webhooks_server::Webhooks;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::super::Answer;
use super::{FakeStore, Kept};

impl Kept {
    fn find_webhook(&self, name: &str) -> Result<pb::WebhookDetail, Status> {
        let missing = || Refusal::new(Code::WebhookNotFound, format!("there is no webhook '{name}'")).into();
        self.webhooks.iter().find(|it| it.webhook == name).cloned().ok_or_else(missing)
    }

    fn find_secret(&self, name: &str) -> Result<pb::SecretDetail, Status> {
        let missing = || Refusal::new(Code::SecretNotFound, format!("there is no secret '{name}'")).into();
        self.secrets.iter().find(|it| it.secret == name).cloned().ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl Webhooks for FakeStore {
    async fn put(&self, request: Request<pb::PutWebhookRequest>) -> Answer<pb::WebhookReply> {
        let pb::PutWebhookRequest { webhook: name, spec, dry_run, .. } = request.into_inner();
        let spec = spec.unwrap();
        self.with(|kept| {
            kept.refused()?;
            kept.find_secret(&spec.secret)?;
            kept.log.push(format!(
                "{} webhook {name} {}",
                if dry_run { "dry" } else { "put" },
                spec.function
            ));
            let queue = format!("webhook/{name}");
            let made = pb::WebhookDetail {
                webhook: name.clone(),
                spec: Some(spec.clone()),
                queue: queue.clone(),
                ..pb::WebhookDetail::default()
            };
            if dry_run {
                return Ok(Response::new(pb::WebhookReply::default()));
            }
            kept.webhooks.retain(|it| it.webhook != name);
            kept.webhooks.push(made.clone());
            let told = pb::QueueSpec { function: spec.function, ..spec.queue.unwrap_or_default() };
            kept.tell_queue(&queue, &told);
            kept.acknowledged(pb::WebhookReply { webhook: Some(made), sequence: 42 })
        })
    }

    async fn get(&self, request: Request<pb::GetWebhookRequest>) -> Answer<pb::WebhookReply> {
        let name = request.into_inner().webhook;
        self.with(|kept| {
            let webhook = Some(kept.find_webhook(&name)?);
            Ok(Response::new(pb::WebhookReply { webhook, sequence: 42 }))
        })
    }

    async fn list(&self, _: Request<pb::ListWebhooksRequest>) -> Answer<pb::ListWebhooksReply> {
        self.with(|kept| {
            let (webhooks, after) = (kept.webhooks.clone(), String::new());
            Ok(Response::new(pb::ListWebhooksReply { webhooks, after }))
        })
    }

    async fn delete(&self, request: Request<pb::DeleteWebhookRequest>) -> Answer<pb::DeleteWebhookReply> {
        let name = request.into_inner().webhook;
        self.with(|kept| {
            kept.find_webhook(&name)?;
            kept.webhooks.retain(|it| it.webhook != name);
            kept.log.push(format!("drop webhook {name}"));
            kept.acknowledged(pb::DeleteWebhookReply { sequence: 42 })
        })
    }

    async fn deliver(&self, _: Request<pb::DeliverWebhookRequest>) -> Answer<pb::DeliverWebhookReply> {
        Err(Status::unimplemented("deliver"))
    }
}

#[tonic::async_trait]
impl Secrets for FakeStore {
    async fn put(&self, request: Request<pb::PutSecretRequest>) -> Answer<pb::SecretReply> {
        let pb::PutSecretRequest { secret, request, .. } = request.into_inner();
        let id = request.unwrap().id;
        self.with(|kept| {
            kept.refused()?;
            let before = kept.find_secret(&secret).unwrap_or_default();
            let again = kept.changes.iter().any(|it| it.id == id);
            let version = if again { before.version } else { before.version + 1 };
            kept.changes.push(pb::KvRequest { id, since: 0 });
            let detail = pb::SecretDetail { secret: secret.clone(), version, ..pb::SecretDetail::default() };
            kept.secrets.retain(|it| it.secret != secret);
            kept.secrets.push(detail.clone());
            kept.acknowledged(pb::SecretReply { secret: Some(detail), sequence: 42 })
        })
    }

    async fn list(&self, _: Request<pb::ListSecretsRequest>) -> Answer<pb::ListSecretsReply> {
        self.with(|kept| {
            let (secrets, after) = (kept.secrets.clone(), String::new());
            Ok(Response::new(pb::ListSecretsReply { secrets, after }))
        })
    }

    async fn delete(&self, request: Request<pb::DeleteSecretRequest>) -> Answer<pb::DeleteSecretReply> {
        let pb::DeleteSecretRequest { secret, force, .. } = request.into_inner();
        self.with(|kept| {
            let found = kept.find_secret(&secret)?;
            if !found.webhooks.is_empty() && !force {
                return Err(Refusal::new(Code::Conflict, "a webhook uses it").into());
            }
            kept.secrets.retain(|it| it.secret != secret);
            kept.acknowledged(pb::DeleteSecretReply { sequence: 42 })
        })
    }
}
