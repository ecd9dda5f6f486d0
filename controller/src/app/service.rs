//! Port 7400: the services, health and reflection on one listener.

use std::net::SocketAddr;
use std::sync::Arc;

use coracle_proto::pb::admin_server::AdminServer;
use coracle_proto::pb::control_server::ControlServer;
use coracle_proto::pb::process_server::ProcessServer;
use coracle_proto::pb::{self};
use coracle_transport::{Acceptor, Port};
use tokio::net::{TcpListener, TcpSocket};
use tonic::service::RoutesBuilder;
use tonic_health::ServingStatus;

use super::RunError;
use crate::api::{AdminService, ControlService, ProcessService};
use crate::context::Context;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Requests and answers that are no streams are small; streams have frames of 1 MiB at most.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

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
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(context.raft.service())
        .add_service(admin.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(control.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(process)
        .add_service(health_service);
    // The descriptors are compiled in: they were checked when this was built.
    if let Ok(service) = reflection().build_v1() {
        routes.add_service(service);
    }
    if let Ok(service) = reflection().build_v1alpha() {
        routes.add_service(service);
    }
    Acceptor::new(Port::Control).serve(listener.listener, routes.routes(), until).await
}
