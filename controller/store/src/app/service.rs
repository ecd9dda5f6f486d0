//! Port 7403: the services, health and reflection on one listener.

use std::net::SocketAddr;
use std::sync::Arc;

use coracle_proto::pb;
use coracle_proto::pb::blobs_server::BlobsServer;
use coracle_proto::pb::chunks_server::ChunksServer;
use coracle_proto::pb::clocks_server::ClocksServer;
use coracle_proto::pb::deliveries_server::DeliveriesServer;
use coracle_proto::pb::groups_server::GroupsServer;
use coracle_proto::pb::invocations_server::InvocationsServer;
use coracle_proto::pb::key_value_server::KeyValueServer;
use coracle_proto::pb::process_server::ProcessServer;
use coracle_proto::pb::queues_server::QueuesServer;
use coracle_proto::pb::schedules_server::SchedulesServer;
use coracle_proto::pb::secrets_server::SecretsServer;
use coracle_proto::pb::topics_server::TopicsServer;
use coracle_proto::pb::webhooks_server::WebhooksServer;
use coracle_raft::RaftServer;
use coracle_transport::{Acceptor, Port};
use tokio::net::{TcpListener, TcpSocket};
use tonic::service::RoutesBuilder;

use super::{Context, RunError};
use crate::api::{
    BlobsService, ChunksService, ClocksService, DeliveriesService, GroupsService, InvocationsService,
    KvService, ProcessService, QueuesService, SchedulesService, SecretsService, TopicsService,
    WebhooksService,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Binds a port; one whose last owner ended a moment ago is taken over.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| RunError::Bind { address, source })
}

/// Serves until `until`, then lets open requests end.
pub(super) async fn serve(
    context: Arc<Context>,
    raft: RaftServer,
    listener: TcpListener,
    until: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<GroupsServer<GroupsService>>().await;
    health.set_serving::<KeyValueServer<KvService>>().await;
    health.set_serving::<BlobsServer<BlobsService>>().await;
    health.set_serving::<ChunksServer<ChunksService>>().await;
    health.set_serving::<DeliveriesServer<DeliveriesService>>().await;
    health.set_serving::<InvocationsServer<InvocationsService>>().await;
    health.set_serving::<QueuesServer<QueuesService>>().await;
    health.set_serving::<SchedulesServer<SchedulesService>>().await;
    health.set_serving::<TopicsServer<TopicsService>>().await;
    health.set_serving::<SecretsServer<SecretsService>>().await;
    health.set_serving::<WebhooksServer<WebhooksService>>().await;
    let groups = GroupsService { context: Arc::clone(&context) };
    let values = KvService { context: Arc::clone(&context) };
    let blobs = BlobsService { context: Arc::clone(&context) };
    let chunks = ChunksService { context: Arc::clone(&context) };
    let deliveries = DeliveriesService { context: Arc::clone(&context) };
    let invocations = InvocationsService { context: Arc::clone(&context) };
    let queues = QueuesService { context: Arc::clone(&context) };
    let topics = TopicsService { context: Arc::clone(&context) };
    let schedules = SchedulesService { context: Arc::clone(&context) };
    let secrets = SecretsService { context: Arc::clone(&context) };
    let webhooks = WebhooksService { context: Arc::clone(&context) };
    let clocks = ClocksService { context: Arc::clone(&context) };
    let process = ProcessService { context };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(raft)
        .add_service(GroupsServer::new(groups))
        .add_service(KeyValueServer::new(values))
        .add_service(BlobsServer::new(blobs))
        .add_service(ChunksServer::new(chunks))
        .add_service(DeliveriesServer::new(deliveries))
        .add_service(InvocationsServer::new(invocations))
        .add_service(QueuesServer::new(queues))
        .add_service(SchedulesServer::new(schedules))
        .add_service(TopicsServer::new(topics))
        .add_service(SecretsServer::new(secrets))
        .add_service(WebhooksServer::new(webhooks))
        .add_service(ClocksServer::new(clocks))
        .add_service(ProcessServer::new(process))
        .add_service(health_service);
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(pb::DESCRIPTORS);
    // The descriptors are compiled in: they were checked when this was built.
    if let Ok(service) = reflection.build_v1() {
        routes.add_service(service);
    }
    Acceptor::new(Port::Store).serve(listener, routes.routes(), until).await
}
