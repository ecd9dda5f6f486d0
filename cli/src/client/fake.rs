//! A node for tests: the Admin service on a real socket, answering from a script and remembering what it was asked.

mod store;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::pb;
use coracle_proto::pb::admin_server::{Admin, AdminServer};
use coracle_proto::pb::blobs_server::BlobsServer;
use coracle_proto::pb::invocations_server::InvocationsServer;
use coracle_proto::pb::key_value_server::KeyValueServer;
use coracle_proto::pb::queues_server::QueuesServer;
use coracle_proto::pb::schedules_server::SchedulesServer;
use coracle_proto::pb::secrets_server::SecretsServer;
use coracle_proto::pb::topics_server::TopicsServer;
use coracle_proto::pb::webhooks_server::WebhooksServer;
use coracle_proto::record::SLOTS;
use coracle_proto::status::Refusal;
use sha2::Digest as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use store::{FakeStore, Kept, queue, record};

use super::{Address, Client, Deadline, Targets};
use crate::output::Talk;

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node was asked and what it will say.
#[derive(Debug)]
pub(crate) struct Script {
    /// Of which cluster it is.
    pub(crate) cluster: u128,
    pub(crate) controllers: Vec<String>,
    /// Changes that it was asked for, with the trace that they belong to.
    pub(crate) changes: Vec<(pb::ChangeContext, String)>,
    /// What it says to each of them in turn; then that it is done.
    pub(crate) refusals: VecDeque<Status>,
    /// Reads that it was asked for.
    pub(crate) reads: usize,
    /// Uploads that end in the middle, before one works.
    pub(crate) broken_uploads: usize,
    pub(crate) uploads: usize,
    /// What a rollout tells; then the stream ends.
    pub(crate) rollout: Vec<pb::RolloutEvent>,
    /// Who leads each data group, from the first one on, which has all slots.
    pub(crate) stores: Vec<String>,
    /// How often it was asked for data groups.
    pub(crate) group_lists: usize,
    /// Whether a node has the role store.
    pub(crate) has_store: bool,
    /// Functions that are there, beside those that it was asked to deploy.
    pub(crate) functions: Vec<String>,
    /// Others, with what they are granted.
    pub(crate) granted: Vec<(String, pb::FunctionSpec)>,
}

impl Default for Script {
    fn default() -> Self {
        let done = pb::RolloutEvent { wanted: 1, ready: 1, done: true, ..pb::RolloutEvent::default() };
        Self {
            cluster: 7,
            controllers: Vec::new(),
            changes: Vec::new(),
            refusals: VecDeque::new(),
            reads: 0,
            broken_uploads: 0,
            uploads: 0,
            rollout: vec![done],
            stores: Vec::new(),
            group_lists: 0,
            has_store: false,
            functions: Vec::new(),
            granted: Vec::new(),
        }
    }
}

/// A running node.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) address: Address,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let fake = Self { address, script: Arc::new(Mutex::new(script)) };
        let server = tonic::transport::Server::builder().add_service(AdminServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    /// One that says this to the first change that it is asked for.
    pub(crate) async fn refusing(refusal: impl Into<Status>) -> Self {
        Self::start(Script { refusals: [refusal.into()].into(), ..Script::default() }).await
    }

    /// A client of this node's cluster, which is patient.
    pub(crate) async fn client(&self) -> Client {
        self.client_for(Duration::from_secs(10)).await
    }

    pub(crate) async fn client_for(&self, wait: Duration) -> Client {
        let targets = Targets::given(vec![self.address.clone()]);
        Client::connect(targets, Deadline::after(wait), Talk::new(true, true)).await.unwrap()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.script.lock().unwrap())
    }

    pub(crate) fn request_ids(&self) -> Vec<Vec<u8>> {
        self.with(|script| script.changes.iter().map(|(context, _)| context.request_id.to_vec()).collect())
    }

    fn change<T>(&self, context: Option<pb::ChangeContext>, trace: String, reply: T) -> Answer<T> {
        self.with(|script| {
            script.changes.push((context.unwrap(), trace));
            script.refusals.pop_front().map_or_else(|| Ok(Response::new(reply)), Err)
        })
    }
}

impl FakeStore {
    pub(crate) async fn start(kept: Kept) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let store = Self { address, kept: Arc::new(Mutex::new(kept)) };
        let server = tonic::transport::Server::builder()
            .add_service(InvocationsServer::new(store.clone()))
            .add_service(KeyValueServer::new(store.clone()))
            .add_service(QueuesServer::new(store.clone()))
            .add_service(SchedulesServer::new(store.clone()))
            .add_service(BlobsServer::new(store.clone()))
            .add_service(SecretsServer::new(store.clone()))
            .add_service(WebhooksServer::new(store.clone()))
            .add_service(TopicsServer::new(store.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        store
    }
}

/// A data group with its leader, which has done 41 things.
fn led(id: u32, address: String) -> pb::GroupDetail {
    let status = pb::GroupStatus {
        group: id,
        role: pb::GroupRole::Leader.into(),
        term: 1,
        sequence: 41,
        ..pb::GroupStatus::default()
    };
    let leader =
        pb::GroupReplica { node: 1, address, member: true, status: Some(status), silent: String::new() };
    let group = Some(pb::DataGroup { id, ..pb::DataGroup::default() });
    pb::GroupDetail { group, replicas: vec![leader] }
}

fn trace_of<T>(request: &Request<T>) -> String {
    let header = request.metadata().get("traceparent").expect("every request carries its trace");
    header.to_str().unwrap().split('-').nth(1).unwrap().to_owned()
}

macro_rules! silent {
    ($($method:ident($request_type:ident) -> $reply:ident;)+) => {
        $(
            // As async_trait would write it: it does not look into macros.
            fn $method<'node, 'call>(
                &'node self,
                _: Request<pb::$request_type>,
            ) -> Pin<Box<dyn Future<Output = Answer<pb::$reply>> + Send + 'call>>
            where
                'node: 'call,
                Self: 'call,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($method))) })
            }
        )+
    };
}

#[tonic::async_trait]
impl Admin for Fake {
    type UploadStream = Events<pb::UploadEvent>;
    type RolloutStream = Events<pb::RolloutEvent>;
    type LogsStream = Events<pb::LogsEvent>;

    async fn info(&self, _: Request<pb::InfoRequest>) -> Answer<pb::InfoReply> {
        self.with(|script| {
            Ok(Response::new(pb::InfoReply {
                cluster_id: script.cluster.to_be_bytes().to_vec().into(),
                cluster_name: "fake".into(),
                revision: 41,
                controllers: script.controllers.clone(),
                gateways: vec!["127.0.0.1:8080".into()],
                ..pb::InfoReply::default()
            }))
        })
    }

    async fn upload(&self, request: Request<Streaming<pb::UploadChunk>>) -> Answer<Self::UploadStream> {
        let broken = self.with(|script| {
            script.uploads += 1;
            let broken = script.broken_uploads > 0;
            script.broken_uploads = script.broken_uploads.saturating_sub(1);
            broken
        });
        if broken {
            return Err(Status::unavailable("reset by peer"));
        }
        let mut chunks = request.into_inner();
        let (mut bytes, mut digest, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if bytes.is_empty() {
                (digest, size) = (chunk.digest.to_vec(), chunk.size);
            }
            bytes.extend_from_slice(&chunk.data);
        }
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(digest, sha2::Sha256::digest(&bytes).to_vec());
        let step = pb::Step { name: "compiled".into(), node: 1, detail: String::new(), elapsed_ms: 3 };
        let kind = pb::Kind::HttpComponent.into();
        let stored = pb::Stored { digest: digest.into(), size, kind, holders: vec![1, 2], existed: false };
        let kinds = [pb::upload_event::Kind::Step(step), pb::upload_event::Kind::Stored(stored)];
        let events = kinds.map(|kind| Ok(pb::UploadEvent { kind: Some(kind) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn deploy(&self, request: Request<pb::DeployRequest>) -> Answer<pb::DeployReply> {
        let trace = trace_of(&request);
        let reply = pb::DeployReply { revision: 42, version: 1, ..pb::DeployReply::default() };
        self.change(request.into_inner().context, trace, reply)
    }

    async fn delete_function(&self, request: Request<pb::DeleteFunctionRequest>) -> Answer<pb::ChangeReply> {
        let trace = trace_of(&request);
        self.change(request.into_inner().context, trace, pb::ChangeReply::default())
    }

    async fn get_function(&self, request: Request<pb::GetFunctionRequest>) -> Answer<pb::FunctionDetail> {
        let name = request.into_inner().name;
        let granted = self.with(|script| script.granted.iter().find(|it| it.0 == name).cloned());
        if let Some((_, spec)) = granted {
            let traffic = vec![pb::Weight { version: 1, weight: 1 }];
            let function = Some(pb::Function { traffic, ..pb::Function::default() });
            let versions = vec![pb::Version { number: 1, spec: Some(spec), ..pb::Version::default() }];
            return Ok(Response::new(pb::FunctionDetail { function, versions, ..Default::default() }));
        }
        if self.with(|script| script.functions.contains(&name)) {
            return Ok(Response::new(pb::FunctionDetail::default()));
        }
        let sentence = format!("there is no function '{name}'");
        Err(Refusal::new(coracle_proto::status::Code::FunctionNotFound, sentence).into())
    }

    async fn list_functions(
        &self,
        request: Request<pb::ListFunctionsRequest>,
    ) -> Answer<pb::ListFunctionsReply> {
        let namespace = request.into_inner().namespace;
        let all = self.with(|script| script.granted.clone());
        let summary =
            |(name, _)| pb::FunctionSummary { namespace: "default".into(), name, ..Default::default() };
        let functions = all.into_iter().map(summary).filter(|it| it.namespace == namespace).collect();
        Ok(Response::new(pb::ListFunctionsReply { functions, revision: 41 }))
    }

    async fn rollout(&self, _: Request<pb::RolloutRequest>) -> Answer<Self::RolloutStream> {
        let events: Vec<_> = self.with(|script| script.rollout.iter().cloned().map(Ok).collect());
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn list_routes(&self, _: Request<pb::ListRoutesRequest>) -> Answer<pb::ListRoutesReply> {
        self.with(|script| {
            script.reads += 1;
            let reply = pb::ListRoutesReply { routes: Vec::new(), revision: 41 };
            script.refusals.pop_front().map_or_else(|| Ok(Response::new(reply)), Err)
        })
    }

    async fn list_groups(&self, _: Request<pb::ListGroupsRequest>) -> Answer<pb::ListGroupsReply> {
        let stores = self.with(|script| {
            script.group_lists += 1;
            script.stores.clone()
        });
        let slots = if stores.is_empty() { Vec::new() } else { vec![1; SLOTS] };
        let groups = (1..).zip(stores).map(|(id, address)| led(id, address)).collect();
        Ok(Response::new(pb::ListGroupsReply { groups, slots }))
    }

    async fn list_nodes(&self, _: Request<pb::ListNodesRequest>) -> Answer<pb::ListNodesReply> {
        let roles =
            if self.with(|script| script.has_store) { vec![pb::Role::Store.into()] } else { Vec::new() };
        let node = pb::Node { roles, ..pb::Node::default() };
        let nodes = vec![pb::NodeDetail { node: Some(node), ..pb::NodeDetail::default() }];
        Ok(Response::new(pb::ListNodesReply { nodes, ..pb::ListNodesReply::default() }))
    }

    async fn logs(&self, _: Request<pb::LogsRequest>) -> Answer<Self::LogsStream> {
        Err(Refusal::new(coracle_proto::status::Code::FunctionNotFound, "no such function").into())
    }

    silent! {
        status(StatusRequest) -> StatusReply;
        set_traffic(SetTrafficRequest) -> ChangeReply;
        rollback(RollbackRequest) -> RollbackReply;
        remove_node(RemoveNodeRequest) -> ChangeReply;
    }
}
