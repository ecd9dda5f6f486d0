//! The gRPC server of the data plane, at 7402.

use std::future::Future;
use std::net::TcpListener;

use coracle_transport::{Acceptor, Port};
use tonic::service::RoutesBuilder;

use super::composed::Services;
use super::{AppError, Stop};
use crate::artifact::ArtifactService;

/// The server; it runs when it is awaited, and ends at `stop` when open streams have ended.
pub(super) fn server(
    services: Services,
    listener: TcpListener,
    stop: Stop,
) -> Result<impl Future<Output = Result<(), AppError>>, AppError> {
    listener.set_nonblocking(true).map_err(AppError::Listener)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(AppError::Listener)?;
    let mut routes = RoutesBuilder::default();
    routes.add_service(services.process.into_server());
    if let Some((worker, uploads, logs)) = services.worker {
        routes.add_service(worker.into_server());
        routes.add_service(ArtifactService::server(uploads));
        routes.add_service(logs.server());
    }
    let acceptor = Acceptor::new(Port::Data { streams_max: services.streams_max });
    let serving = acceptor.serve(listener, routes.routes(), stop.cancelled_owned());
    Ok(async move { Ok(serving.await?) })
}
