//! Webhooks of the store that keeps messages in memory. It knows the webhook `w` and believes whoever says `x-signed: yes`.

use coracle_proto::pb;
use coracle_proto::pb::webhooks_server::Webhooks;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::State;
use super::served::Served;

impl State {
    fn hear(&mut self, request: pb::DeliverWebhookRequest) -> Result<pb::DeliverWebhookReply, Refusal> {
        if let Some(code) = self.refuses {
            return Err(Refusal::new(code, "no"));
        }
        if request.webhook != "w" {
            return Err(Refusal::new(Code::WebhookNotFound, "there is no such webhook"));
        }
        let header =
            |name: &str| request.headers.iter().find(|it| it.name == name).map(|it| it.value.clone());
        if header("x-signed").as_deref() != Some(b"yes") {
            return Err(Refusal::new(Code::WebhookRefused, "what came is refused: it is not signed"));
        }
        if let Some(answer) = header("x-challenge") {
            return Ok(pb::DeliverWebhookReply { answer, ..Default::default() });
        }
        let id = header("x-id").map_or_else(String::new, |id| String::from_utf8_lossy(&id).into_owned());
        let known = self.messages.iter().find(|it| it.delivery.body.as_ref().is_some_and(|it| it.id == id));
        if let Some(known) = known {
            let invocation = known.delivery.invocation.clone();
            return Ok(pb::DeliverWebhookReply { invocation, repeated: true, ..Default::default() });
        }
        let body = pb::EventBody { kind: "webhook".into(), id, data: request.body, ..Default::default() };
        let message = self.message("default", "f", request.invocation.clone(), body);
        self.messages.push(message);
        let (invocation, sequence) = (request.invocation, self.next());
        Ok(pb::DeliverWebhookReply { invocation, sequence, ..Default::default() })
    }
}

fn unknown<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(""))
}

#[tonic::async_trait]
impl Webhooks for Served {
    async fn deliver(
        &self,
        request: Request<pb::DeliverWebhookRequest>,
    ) -> Result<Response<pb::DeliverWebhookReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.hooked.push(request.clone());
        let reply = if state.comes(request.request.as_ref())? {
            state.hear(request)?
        } else {
            pb::DeliverWebhookReply { invocation: request.invocation, ..Default::default() }
        };
        self.0.changed.notify_waiters();
        state.answers(reply)
    }

    async fn put(&self, _: Request<pb::PutWebhookRequest>) -> Result<Response<pb::WebhookReply>, Status> {
        unknown()
    }

    async fn get(&self, _: Request<pb::GetWebhookRequest>) -> Result<Response<pb::WebhookReply>, Status> {
        unknown()
    }

    async fn list(
        &self,
        _: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksReply>, Status> {
        unknown()
    }

    async fn delete(
        &self,
        _: Request<pb::DeleteWebhookRequest>,
    ) -> Result<Response<pb::DeleteWebhookReply>, Status> {
        unknown()
    }
}
