//! Secrets: told, listed by their names, deleted. What they are is told to nobody.

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::secrets_server::Secrets;
use coracle_proto::pb::{
    DeleteSecretReply, DeleteSecretRequest, EventsPlace, ListSecretsReply, ListSecretsRequest,
    PutSecretRequest, SecretDetail, SecretReply,
};
use coracle_proto::status::Refusal;
use coracle_raft::View;
use tonic::{Request, Response, Status};

use super::leading::{Leading, unreadable};
use super::spec;
use crate::app::Context;
use crate::model::{self, Name, Op, PAGE_MAX, Place, Sealed, Secret};

/// How long the value before stays good, unless it is told otherwise: a day.
const KEEP_MS: u64 = 24 * 60 * 60 * 1000;

/// Serves the command line.
pub(crate) struct SecretsService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Secrets for SecretsService {
    async fn put(&self, request: Request<PutSecretRequest>) -> Result<Response<SecretReply>, Status> {
        let PutSecretRequest { place, request, secret, value, keep_ms } = request.into_inner();
        let (leading, secret) = spec::named(&self.context, place, &secret, "secret")?;
        let (value, keep_ms) = (Sealed::new(value), keep_ms.unwrap_or(KEEP_MS));
        leading.done(request, Op::PutSecret { secret: secret.clone(), value, keep_ms }).await?;
        let view = leading.served.replica.state();
        let found = model::secret(&view, &secret).map_err(|stop| unreadable(&stop))?;
        let shown = found.map(|it| detail(&view, &secret, &it, leading.now_ms())).transpose()?;
        Ok(Response::new(SecretReply { secret: shown, sequence: leading.sequence()? }))
    }

    async fn list(&self, request: Request<ListSecretsRequest>) -> Result<Response<ListSecretsReply>, Status> {
        let ListSecretsRequest { place, after, limit } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("place.namespace")?;
        let (after, most) = (spec::after(&after)?, spec::page(limit, PAGE_MAX));
        let (view, now_ms) = (leading.view().await?, leading.known_ms().await);
        let found = model::secrets(&view, &namespace, after.as_ref(), most);
        let found = found.map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(String::new, |(place, _)| place.name.to_string());
        let secrets = found.iter().map(|(place, secret)| detail(&view, place, secret, now_ms));
        Ok(Response::new(ListSecretsReply { secrets: secrets.collect::<Result<_, _>>()?, after }))
    }

    async fn delete(
        &self,
        request: Request<DeleteSecretRequest>,
    ) -> Result<Response<DeleteSecretReply>, Status> {
        let DeleteSecretRequest { place, request, secret, force } = request.into_inner();
        let (leading, secret) = spec::named(&self.context, place, &secret, "secret")?;
        leading.done(request, Op::DropSecret { secret, force }).await?;
        Ok(Response::new(DeleteSecretReply { sequence: leading.sequence()? }))
    }
}

fn detail(view: &View, place: &Place, secret: &Secret, now_ms: u64) -> Result<SecretDetail, Refusal> {
    let users = model::users(view, place).map_err(|stop| unreadable(&stop))?;
    let before = secret.before.as_ref().map(|before| before.until_ms).filter(|until_ms| now_ms < *until_ms);
    Ok(SecretDetail {
        secret: place.name.to_string(),
        version: secret.version,
        changed_ms: secret.changed_ms,
        before_until_ms: before.unwrap_or_default(),
        webhooks: users.iter().map(Name::to_string).collect(),
    })
}

#[cfg(test)]
mod tests;
