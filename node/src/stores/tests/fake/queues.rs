//! What is published to the store that keeps messages in memory. The function of each queue is `f`.

use coracle_proto::id::InvocationId;
use coracle_proto::pb;
use coracle_proto::pb::queues_server::Queues;
use coracle_proto::status::{Code, Refusal};
use futures::stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use super::served::Served;
use super::{State, Store};

impl State {
    /// The same id from the same source is the same message.
    fn check_fingerprints(&self, messages: &[pb::PublishMessage]) -> Result<(), Refusal> {
        let of = |it: &pb::PublishMessage| it.body.clone().map(|body| (body.source, body.id));
        let first = |new: &pb::PublishMessage| {
            let mut all = self.publishes.iter().flat_map(|it| &it.messages);
            all.find(|known| of(known) == of(new)).cloned()
        };
        let other = |new: &&pb::PublishMessage| {
            let known = first(new).map(|known| known.fingerprint);
            !new.fingerprint.is_empty() && known.is_some_and(|known| known != new.fingerprint)
        };
        match messages.iter().find(other) {
            Some(_) => Err(Refusal::new(Code::IdempotencyConflict, "the key was used for another request")),
            None => Ok(()),
        }
    }

    fn publish(&mut self, request: pb::PublishRequest) -> Result<pb::PublishReply, Refusal> {
        if let Some(code) = self.refuses {
            return Err(Refusal::new(code, "no"));
        }
        assert!(!request.messages.is_empty());
        let (place, to) = (request.place.unwrap(), request.to);
        let copies = self.topics.get(&to).copied();
        if copies.is_none() && !self.queues.contains(&to) {
            let said = format!("'{}/{to}': there is no such queue or topic", place.namespace);
            return Err(Refusal::new(Code::QueueNotFound, said));
        }
        self.check_fingerprints(&request.messages)?;
        let mut published = Vec::new();
        for message in request.messages {
            let mut body = message.body.unwrap();
            if body.kind.is_empty() {
                body.kind = "queue".to_owned();
            }
            let known = self.messages.iter().find(|it| {
                let known = it.delivery.body.as_ref().unwrap();
                !body.id.is_empty() && (&known.id, &known.source) == (&body.id, &body.source)
            });
            let known = known.map(|it| it.delivery.clone());
            let mut one = pb::Published {
                invocation: bytes::Bytes::new(),
                repeated: known.is_some(),
                message: 0,
                copies: copies.unwrap_or(1),
            };
            if copies.is_none() {
                let delivery = known.unwrap_or_else(|| {
                    let mut new = self.message(&place.namespace, "f", message.invocation, body);
                    new.delivery.ticket.as_mut().unwrap().queue.clone_from(&to);
                    self.messages.push(new.clone());
                    new.delivery
                });
                (one.invocation, one.message) = (delivery.invocation, delivery.ticket.unwrap().message);
            }
            published.push(one);
        }
        Ok(pb::PublishReply { published, sequence: self.next() })
    }
}

impl Store {
    /// A message of a queue whose function wants it so.
    pub(crate) fn put_for(
        &self,
        queue: &str,
        function: &str,
        id: u128,
        body: pb::EventBody,
        how: Option<pb::DeliverySpec>,
    ) {
        let mut state = self.state();
        let mut message = state.message("default", function, InvocationId::new(id).to_wire(), body);
        message.delivery.ticket.as_mut().unwrap().queue = queue.to_owned();
        message.delivery.how = how;
        state.messages.push(message);
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// There is something under a key, at this version.
    pub(crate) fn keep(&self, bucket: &str, key: &'static str, version: u64) {
        self.state().buckets.insert(bucket.to_owned(), [(key.into(), ("v".into(), version))].into());
    }
}

fn unknown<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(""))
}

#[tonic::async_trait]
impl Queues for Served {
    type PublishAllStream = Empty<Result<pb::PublishAcknowledged, Status>>;

    async fn publish(
        &self,
        request: Request<pb::PublishRequest>,
    ) -> Result<Response<pb::PublishReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.publishes.push(request.clone());
        let reply = if state.comes(request.request.as_ref())? {
            state.publish(request)?
        } else {
            let one = |it: pb::PublishMessage| {
                let (invocation, copies) = (it.invocation, 1);
                pb::Published { invocation, copies, ..Default::default() }
            };
            let (published, sequence) = (request.messages.into_iter().map(one).collect(), state.sequence);
            pb::PublishReply { published, sequence }
        };
        self.0.changed.notify_waiters();
        state.answers(reply)
    }

    async fn publish_all(
        &self,
        _: Request<Streaming<pb::PublishNumbered>>,
    ) -> Result<Response<Self::PublishAllStream>, Status> {
        unknown()
    }

    async fn put(&self, _: Request<pb::PutQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        unknown()
    }

    async fn get(&self, _: Request<pb::GetQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        unknown()
    }

    async fn list(&self, _: Request<pb::ListQueuesRequest>) -> Result<Response<pb::ListQueuesReply>, Status> {
        unknown()
    }

    async fn delete(
        &self,
        _: Request<pb::DeleteQueueRequest>,
    ) -> Result<Response<pb::DeleteQueueReply>, Status> {
        unknown()
    }

    async fn pause(&self, _: Request<pb::PauseQueueRequest>) -> Result<Response<pb::QueueReply>, Status> {
        unknown()
    }

    async fn peek(&self, _: Request<pb::PeekRequest>) -> Result<Response<pb::PeekReply>, Status> {
        unknown()
    }

    async fn dead_letters(
        &self,
        _: Request<pb::DeadLettersRequest>,
    ) -> Result<Response<pb::DeadLettersReply>, Status> {
        unknown()
    }

    async fn redrive(
        &self,
        _: Request<pb::MoveMessagesRequest>,
    ) -> Result<Response<pb::MoveMessagesReply>, Status> {
        unknown()
    }

    async fn purge(
        &self,
        _: Request<pb::MoveMessagesRequest>,
    ) -> Result<Response<pb::MoveMessagesReply>, Status> {
        unknown()
    }
}
