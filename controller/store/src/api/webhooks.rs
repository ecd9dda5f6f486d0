//! Webhooks: told, shown, and let in what is signed (docs/adr/0019).

mod deliver;

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::webhooks_server::Webhooks;
use coracle_proto::pb::{
    DeleteWebhookReply, DeleteWebhookRequest, DeliverWebhookReply, DeliverWebhookRequest, EventsPlace,
    GetWebhookRequest, ListWebhooksReply, ListWebhooksRequest, PutWebhookRequest, WebhookDetail,
    WebhookReply, WebhookSpec,
};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;
use tonic::{Request, Response, Status};

use super::leading::{Leading, sequence, unreadable};
use super::spec;
use crate::app::Context;
use crate::model::{self, Form, Name, Op, PAGE_MAX, Place, Settings, Terms, Webhook};

/// How far a sender's time may be from ours, unless it is told otherwise: 5 minutes, as senders advise.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// Serves gateways and the command line.
pub(crate) struct WebhooksService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Webhooks for WebhooksService {
    async fn put(&self, request: Request<PutWebhookRequest>) -> Result<Response<WebhookReply>, Status> {
        let PutWebhookRequest { place, request, webhook, spec, dry_run } = request.into_inner();
        let (leading, webhook) = spec::named(&self.context, place, &webhook, "webhook")?;
        let (terms, settings) = told(&webhook, spec.in_field("spec")?)?;
        let op = Op::PutWebhook { webhook: webhook.clone(), terms, settings };
        let view = leading.done_or_rehearsed(request, op, dry_run).await?;
        let found = model::webhook(&view, &webhook).map_err(|stop| unreadable(&stop))?;
        let shown = found.map(|it| detail(&leading, &view, &webhook, it)).transpose()?;
        Ok(Response::new(WebhookReply { webhook: shown, sequence: sequence(&view)? }))
    }

    async fn get(&self, request: Request<GetWebhookRequest>) -> Result<Response<WebhookReply>, Status> {
        let GetWebhookRequest { place, webhook } = request.into_inner();
        let (leading, webhook) = spec::named(&self.context, place, &webhook, "webhook")?;
        let view = leading.view().await?;
        let found = exists(&view, &webhook)?;
        let shown = detail(&leading, &view, &webhook, found)?;
        Ok(Response::new(WebhookReply { webhook: Some(shown), sequence: sequence(&view)? }))
    }

    async fn list(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksReply>, Status> {
        let ListWebhooksRequest { place, after, limit } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("place.namespace")?;
        let (after, most) = (spec::after(&after)?, spec::page(limit, PAGE_MAX));
        let view = leading.view().await?;
        let found = model::webhooks(&view, &namespace, after.as_ref(), most);
        let found = found.map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(String::new, |(place, _)| place.name.to_string());
        let webhooks = found.into_iter().map(|(place, it)| detail(&leading, &view, &place, it));
        Ok(Response::new(ListWebhooksReply { webhooks: webhooks.collect::<Result<_, _>>()?, after }))
    }

    async fn delete(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookReply>, Status> {
        let DeleteWebhookRequest { place, request, webhook } = request.into_inner();
        let (leading, webhook) = spec::named(&self.context, place, &webhook, "webhook")?;
        leading.done(request, Op::DropWebhook { webhook }).await?;
        Ok(Response::new(DeleteWebhookReply { sequence: leading.sequence()? }))
    }

    async fn deliver(
        &self,
        request: Request<DeliverWebhookRequest>,
    ) -> Result<Response<DeliverWebhookReply>, Status> {
        Ok(Response::new(deliver::deliver(&self.context, request.into_inner()).await?))
    }
}

/// What a webhook and its queue are told.
fn told(webhook: &Place, spec: WebhookSpec) -> Result<(Terms, Settings), Refusal> {
    let WebhookSpec { function, verify, secret, tolerance_ms, queue } = spec;
    let namespace = webhook.namespace.as_str();
    let function = spec::function(namespace, &function, "spec.function")?;
    let Some(form) = Form::ALL.into_iter().find(|form| form.name() == verify) else {
        let names = Form::ALL.map(Form::name).join(", ");
        let shown: String = verify.chars().take(80).flat_map(char::escape_debug).collect();
        let sentence = format!("field 'spec.verify': '{shown}' is none of {names}");
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    };
    let secret = spec::name_of(namespace, &secret, "spec.secret")?.name;
    let tolerance_ms = if tolerance_ms == 0 { TOLERANCE_MS } else { tolerance_ms };
    let settings = spec::settings(&queue.unwrap_or_default())?;
    Ok((Terms { function, form, secret, tolerance_ms }, settings))
}

/// The webhook, or a refusal.
fn exists(view: &View, webhook: &Place) -> Result<Webhook, Refusal> {
    let found = model::webhook(view, webhook).map_err(|stop| unreadable(&stop))?;
    found.ok_or_else(|| Refusal::new(Code::WebhookNotFound, format!("there is no webhook '{webhook}'")))
}

fn detail(leading: &Leading, view: &View, place: &Place, webhook: Webhook) -> Result<WebhookDetail, Refusal> {
    let Terms { function, form, secret, tolerance_ms } = webhook.terms;
    let queue = Place::of_webhook(place).in_field("webhook")?;
    let told = model::queue(view, &queue).map_err(|stop| unreadable(&stop))?;
    let counts = model::counts(view, &queue).map_err(|stop| unreadable(&stop))?;
    let refused = leading.served.refused.of(place, leading.served.replica.status().term);
    let spec = WebhookSpec {
        function: Name::to_string(&function),
        verify: form.name().to_owned(),
        secret: secret.to_string(),
        tolerance_ms,
        queue: told.map(|queue| spec::to_wire(&queue)),
    };
    Ok(WebhookDetail {
        webhook: place.name.to_string(),
        spec: Some(spec),
        queue: queue.name.to_string(),
        received: counts.published,
        refused: refused.values().sum(),
    })
}

#[cfg(test)]
mod tests;
