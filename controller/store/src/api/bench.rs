//! What tests ask of services over a real group of one member.

use coracle_proto::id::InvocationId;
use coracle_proto::pb::deliveries_server::Deliveries as _;
use coracle_proto::pb::queues_server::Queues as _;
use coracle_proto::pb::topics_server::Topics as _;
use coracle_proto::pb::{
    EventBody, EventsPlace, KvPlace, KvRequest, PublishMessage, PublishRequest, PutQueueRequest,
    PutTopicRequest, QueueSpec, SubscribeRequest, TakeReply, TakeRequest,
};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::{DeliveriesService, KvService, QueuesService, TopicsService};
use crate::world::{GROUP, World};

impl World {
    /// Namespace `shop`.
    pub(super) fn place(&self) -> Option<EventsPlace> {
        let (cluster_id, namespace) = (self.cluster().to_wire(), "shop".to_owned());
        Some(EventsPlace { cluster_id, group: GROUP.get(), namespace })
    }

    /// Bucket `a` of it.
    pub(super) fn bucket(&self) -> Option<KvPlace> {
        let (cluster_id, namespace) = (self.cluster().to_wire(), "shop".to_owned());
        Some(KvPlace { cluster_id, group: GROUP.get(), namespace, bucket: "a".to_owned() })
    }

    pub(super) fn queues(&self) -> QueuesService {
        QueuesService { context: self.context() }
    }

    pub(super) fn topics(&self) -> TopicsService {
        TopicsService { context: self.context() }
    }

    pub(super) fn values(&self) -> KvService {
        KvService { context: self.context() }
    }

    pub(super) fn deliveries(&self) -> DeliveriesService {
        DeliveriesService { context: self.context() }
    }

    /// Makes or tells a queue for a function.
    pub(super) async fn put_queue(&self, queue: &str, spec: QueueSpec) {
        let (queue, spec) = (queue.to_owned(), Some(spec));
        let put = PutQueueRequest { place: self.place(), request: None, queue, spec, dry_run: false };
        self.queues().put(Request::new(put)).await.unwrap();
    }

    /// Makes topic `t` and has these functions hear it.
    pub(super) async fn put_topic(&self, functions: &[&str]) {
        let topic = || "t".to_owned();
        let put = PutTopicRequest { place: self.place(), request: None, topic: topic(), dry_run: false };
        self.topics().put(Request::new(put)).await.unwrap();
        for function in functions {
            let spec = Some(of(function));
            let (place, topic) = (self.place(), topic());
            let subscribe = SubscribeRequest { place, request: None, topic, spec, dry_run: false };
            self.topics().subscribe(Request::new(subscribe)).await.unwrap();
        }
    }

    pub(super) fn publish_of(&self, to: &str, messages: Vec<PublishMessage>) -> PublishRequest {
        PublishRequest { place: self.place(), request: None, to: to.to_owned(), messages }
    }

    /// What node 7 is given, which would run eight messages and waits long.
    pub(super) async fn take_all(&self, heard: u64) -> TakeReply {
        let asked = TakeRequest {
            cluster_id: self.cluster().to_wire(),
            group: GROUP.get(),
            node: 7,
            session: 7,
            heard,
            running: Vec::new(),
            places: 8,
            full: Vec::new(),
            wait_ms: 10_000,
        };
        self.deliveries().take(Request::new(asked)).await.unwrap().into_inner()
    }
}

/// A queue for this function, as is usual.
pub(super) fn of(function: &str) -> QueueSpec {
    QueueSpec { function: function.to_owned(), ..QueueSpec::default() }
}

pub(super) fn request() -> Option<KvRequest> {
    Some(KvRequest { id: rand::random::<u128>().to_be_bytes().to_vec().into(), since: 0 })
}

/// A message with this id; empty: of none.
pub(super) fn message(id: &str) -> PublishMessage {
    let body =
        EventBody { source: "test".into(), id: id.into(), data: "data".into(), ..EventBody::default() };
    let invocation = InvocationId::new(rand::random()).to_wire();
    PublishMessage { invocation, body: Some(body), ..PublishMessage::default() }
}

/// The refusal that it is.
pub(super) fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> (Code, String) {
    let Refusal { code, message } = Refusal::from_status(&answer.unwrap_err());
    (code, message)
}
