//! Port 7400: the services, health and reflection on one listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_ports::{Bounds, Count, Files, Places, incoming};
use coracle_proto::pb::admin_server::AdminServer;
use coracle_proto::pb::control_server::ControlServer;
use coracle_proto::pb::process_server::ProcessServer;
use coracle_proto::pb::{self};
use tokio::net::{TcpListener, TcpSocket};
use tonic::transport::Server;
use tonic_health::ServingStatus;

use super::RunError;
use crate::api::{AdminService, ControlService, ProcessService};
use crate::context::Context;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Connections at once: each node has some, and each command line one while it runs.
const CONNECTIONS_MAX: usize = 4096;
/// Requests and answers that are no streams are small; streams have frames of 1 MiB at most.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Finds callers that are stopped but still connected.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Open calls on one connection: watches, reports and requests of one node.
const STREAMS_MAX: u32 = 1024;
/// Uploads pass through here: windows of HTTP/2's default 64 KiB would slow them down.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds a port; one whose last owner ended a moment ago is taken over.
    ///
    /// # Errors
    /// [`RunError::Bind`] names the address, for instance when the port is in use.
    pub fn bind(address: SocketAddr) -> Result<Self, RunError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| RunError::Bind { address, source })
    }

    /// Where it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until `until`, which the context's `closing` goes before, then lets open requests end.
pub(super) async fn serve(
    context: Arc<Context>,
    listener: Listener,
    until: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AdminServer<AdminService>>().await;
    health.set_serving::<ControlServer<ControlService>>().await;
    let closing = context.closing.clone();
    let until = async move {
        closing.cancelled().await;
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<AdminServer<AdminService>>().await;
        health.set_not_serving::<ControlServer<ControlService>>().await;
        until.await;
    };
    let reflection = || {
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(pb::DESCRIPTORS)
    };
    let admin = AdminServer::new(AdminService { context: Arc::clone(&context) });
    let control = ControlServer::new(ControlService { context: Arc::clone(&context) });
    let process = ProcessServer::new(ProcessService { context: Arc::clone(&context) });
    let places = Places::new(Bounds::halves(CONNECTIONS_MAX.min(Files::Control.here())));
    Server::builder()
        .layer(Count)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(context.raft.service())
        .add_service(admin.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(control.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(process)
        .add_service(health_service)
        // The descriptors are compiled in: they were checked when this was built.
        .add_optional_service(reflection().build_v1().ok())
        .add_optional_service(reflection().build_v1alpha().ok())
        .serve_with_incoming_shutdown(incoming(listener.listener, places, "grpc"), until)
        .await
}
