//! Queues of a fake store.

use coracle_proto::pb::publish_acknowledged::End;
use coracle_proto::pb::queues_server::Queues;
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::status::{Code, Refusal};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::Answer;
use super::{FakeStore, Kept, QUEUE};

/// Of the messages of one publish.
const PUBLISH_BYTES_MAX: usize = 448 << 10;

/// One that was told nothing else.
pub(crate) fn queue(name: &str, function: &str) -> pb::QueueDetail {
    let spec = Some(pb::QueueSpec { function: function.to_owned(), ..pb::QueueSpec::default() });
    let (queue, function) = (name.to_owned(), function.to_owned());
    pb::QueueDetail { queue, function, spec, ..pb::QueueDetail::default() }
}

impl Kept {
    /// All of them: that of `cart` too.
    fn all_queues(&self) -> Vec<pb::QueueDetail> {
        let dead = self.records.iter().filter(|record| record.state() == InvocationState::Dead).count();
        let cart = pb::QueueDetail { dead: dead as u64, ..queue(QUEUE, "cart") };
        std::iter::once(cart).chain(self.queues.iter().cloned()).collect()
    }

    pub(super) fn tell_queue(&mut self, name: &str, spec: &pb::QueueSpec) -> pb::QueueDetail {
        let place = self.queues.iter().position(|it| it.queue == name).unwrap_or_else(|| {
            self.queues.push(queue(name, ""));
            self.queues.len() - 1
        });
        let detail = &mut self.queues[place];
        (detail.function, detail.spec) = (spec.function.clone(), Some(spec.clone()));
        detail.clone()
    }

    fn find_queue(&mut self, name: &str) -> Result<&mut pb::QueueDetail, Status> {
        let missing = || Refusal::new(Code::QueueNotFound, format!("there is no queue '{name}'")).into();
        self.queues.iter_mut().find(|it| it.queue == name).ok_or_else(missing)
    }

    fn publish(&mut self, request: pb::PublishRequest) -> Result<pb::PublishReply, Refusal> {
        let pb::KvRequest { id, since } = request.request.clone().unwrap();
        self.since.push(since);
        if let Some(decided) = self.decided.get(&id[..]) {
            return decided.clone();
        }
        let bytes: usize = request.messages.iter().map(prost::Message::encoded_len).sum();
        if bytes > PUBLISH_BYTES_MAX {
            return Err(Refusal::new(Code::RequestTooLarge, format!("{bytes} bytes of messages")));
        }
        let decided = self.decide(request);
        // Who does not lead decides nothing.
        if decided.as_ref().err().is_none_or(|refusal| refusal.code != Code::NotLeader) {
            self.decided.insert(id.to_vec(), decided.clone());
        }
        decided
    }

    fn decide(&mut self, request: pb::PublishRequest) -> Result<pb::PublishReply, Refusal> {
        let refused = |data: &str| {
            let mut bodies = request.messages.iter().filter_map(|message| message.body.as_ref());
            bodies.any(|body| body.data == data)
        };
        if let Some((_, code)) = self.refused_data.pop_front_if(|(data, _)| refused(data)) {
            return Err(Refusal::new(code, "not this one"));
        }
        let topic = self.topics.iter().find(|it| it.topic == request.to);
        let copies = topic.map(|topic| u32::try_from(topic.subscribers.len()).unwrap());
        let all = request.messages.len() * copies.unwrap_or(1) as usize;
        if self.copies_max > 0 && all > self.copies_max {
            let sentence =
                format!("{all} copies of messages in one operation, and at most {}", self.copies_max);
            return Err(Refusal::new(Code::InvalidArgument, sentence));
        }
        let mut published = Vec::new();
        for message in request.messages {
            self.published.push(message.clone());
            let number = if copies.is_some() { 0 } else { self.published.len() as u64 };
            let copies = copies.unwrap_or(1);
            let invocation = message.invocation;
            published.push(pb::Published { invocation, repeated: false, message: number, copies });
        }
        Ok(pb::PublishReply { published, sequence: 42 })
    }
}

#[tonic::async_trait]
impl Queues for FakeStore {
    type PublishAllStream = futures::stream::BoxStream<'static, Result<pb::PublishAcknowledged, Status>>;

    async fn put(&self, request: Request<pb::PutQueueRequest>) -> Answer<pb::QueueReply> {
        let pb::PutQueueRequest { queue: name, spec, dry_run, request, .. } = request.into_inner();
        let spec = spec.unwrap();
        self.with(|kept| {
            kept.refused()?;
            assert_eq!(request.unwrap().id.len(), 16);
            if kept.topics.iter().any(|it| it.topic == name) {
                return Err(Refusal::new(Code::Conflict, format!("'{name}' is a topic")).into());
            }
            if !dry_run && spec.function.is_empty() {
                let late = std::mem::take(&mut kept.late);
                kept.queues.iter_mut().filter(|it| it.queue == name).for_each(|it| it.ready += late);
            }
            let verb = if dry_run { "dry" } else { "put" };
            kept.log.push(format!("{verb} queue {name} {}", spec.function).trim_end().to_owned());
            let queue = if dry_run { None } else { Some(kept.tell_queue(&name, &spec)) };
            kept.acknowledged(pb::QueueReply { queue, sequence: 42 })
        })
    }

    async fn get(&self, request: Request<pb::GetQueueRequest>) -> Answer<pb::QueueReply> {
        let name = request.into_inner().queue;
        self.with(|kept| {
            kept.refused()?;
            let missing = || Refusal::new(Code::QueueNotFound, format!("there is no queue '{name}'"));
            let queue = kept.all_queues().into_iter().find(|it| it.queue == name).ok_or_else(missing)?;
            Ok(Response::new(pb::QueueReply { queue: Some(queue), sequence: 42 }))
        })
    }

    async fn delete(&self, request: Request<pb::DeleteQueueRequest>) -> Answer<pb::DeleteQueueReply> {
        let pb::DeleteQueueRequest { queue: name, force, .. } = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let queue = kept.find_queue(&name)?;
            let purged = queue.ready;
            let messages =
                [purged, queue.delayed, queue.behind, queue.claimed, queue.dead].iter().sum::<u64>();
            if messages > 0 && !force {
                return Err(Refusal::new(Code::Conflict, format!("'{name}' has {messages} messages")).into());
            }
            if !queue.function.is_empty() && !force {
                let sentence = format!("'{}' takes messages of '{name}'", queue.function);
                return Err(Refusal::new(Code::Conflict, sentence).into());
            }
            kept.queues.retain(|it| it.queue != name);
            kept.log.push(format!("drop queue {name}"));
            kept.acknowledged(pb::DeleteQueueReply { purged, sequence: 42 })
        })
    }

    async fn pause(&self, request: Request<pb::PauseQueueRequest>) -> Answer<pb::QueueReply> {
        let pb::PauseQueueRequest { queue: name, paused, .. } = request.into_inner();
        self.with(|kept| {
            let queue = kept.find_queue(&name)?;
            queue.paused = paused;
            let queue = Some(queue.clone());
            kept.acknowledged(pb::QueueReply { queue, sequence: 42 })
        })
    }

    async fn publish(&self, request: Request<pb::PublishRequest>) -> Answer<pb::PublishReply> {
        self.with(|kept| {
            kept.refused()?;
            let reply = kept.publish(request.into_inner())?;
            kept.acknowledged(reply)
        })
    }

    async fn publish_all(
        &self,
        request: Request<Streaming<pb::PublishNumbered>>,
    ) -> Answer<Self::PublishAllStream> {
        self.with(Kept::refused)?;
        let (store, mut requests) = (self.clone(), request.into_inner());
        let (acknowledged, stream) = mpsc::channel(1);
        let mut left = self.with(|kept| kept.breaks.pop_front()).unwrap_or(usize::MAX);
        tokio::spawn(async move {
            while let Some(Ok(pb::PublishNumbered { number, request })) = requests.next().await {
                let end = match store.with(|kept| kept.publish(request.unwrap())) {
                    Ok(reply) => End::Reply(reply),
                    Err(refusal) => End::Refused(pb::PublishRefused {
                        code: refusal.code.to_string(),
                        message: refusal.message,
                    }),
                };
                let said = match left {
                    0 => Err(Status::unavailable("reset by peer")),
                    _ => Ok(pb::PublishAcknowledged { number, end: Some(end) }),
                };
                if acknowledged.send(said).await.is_err() || left == 0 {
                    return;
                }
                left -= 1;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn peek(&self, request: Request<pb::PeekRequest>) -> Answer<pb::PeekReply> {
        let request = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let most = kept.bound().min(request.limit as usize);
            let waiting = kept.records.iter().filter(|record| record.state() == InvocationState::Waiting);
            let mut waiting = waiting.filter(|record| record.message >= request.from);
            let body = request.bodies.then(|| pb::EventBody { data: "asked".into(), ..Default::default() });
            let message = |record: &pb::InvocationRecord| pb::WaitingMessage {
                record: Some(record.clone()),
                body: body.clone(),
                group: String::new(),
            };
            let messages = waiting.by_ref().take(most).map(message).collect();
            let next = waiting.next().map_or(0, |record| record.message);
            Ok(Response::new(pb::PeekReply { messages, next }))
        })
    }

    async fn list(&self, request: Request<pb::ListQueuesRequest>) -> Answer<pb::ListQueuesReply> {
        let pb::ListQueuesRequest { function, after, .. } = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let (skip, most) = (after.parse().unwrap_or(0), kept.bound());
            let all = kept.all_queues().into_iter();
            let mut meant = all.filter(|it| function.is_empty() || it.function == function).skip(skip);
            let queues: Vec<_> = meant.by_ref().take(most).collect();
            let after = meant.next().map(|_| (skip + queues.len()).to_string()).unwrap_or_default();
            Ok(Response::new(pb::ListQueuesReply { queues, after }))
        })
    }

    async fn dead_letters(&self, request: Request<pb::DeadLettersRequest>) -> Answer<pb::DeadLettersReply> {
        let request = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let most = kept.bound().min(request.limit as usize);
            let dead = kept.records.iter().filter(|record| record.state() == InvocationState::Dead);
            let mut dead = dead.filter(|record| record.message >= request.from);
            let body = request.bodies.then(|| pb::EventBody { data: "asked".into(), ..Default::default() });
            let letter = |record: &pb::InvocationRecord| {
                let record = Some(record.clone());
                pb::DeadLetter { record, until_ms: 1, body: body.clone() }
            };
            let letters = dead.by_ref().take(most).map(letter).collect();
            let next = dead.next().map_or(0, |record| record.message);
            Ok(Response::new(pb::DeadLettersReply { letters, next }))
        })
    }

    async fn redrive(&self, request: Request<pb::MoveMessagesRequest>) -> Answer<pb::MoveMessagesReply> {
        self.with(|kept| kept.shift(request.get_ref(), InvocationState::Waiting))
    }

    async fn purge(&self, request: Request<pb::MoveMessagesRequest>) -> Answer<pb::MoveMessagesReply> {
        self.with(|kept| kept.shift(request.get_ref(), InvocationState::Dropped))
    }
}
