//! The gRPC server of the data plane, at 7402.

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

use coracle_ports::{Bounds, Count, Files, Places, incoming};
use tonic::transport::Server;

use super::composed::Services;
use super::{AppError, Stop};
use crate::artifact::ArtifactService;
use crate::worker::CONNECTION_WINDOW_BYTES;

/// Connections at once: each other node has two to four.
const CONNECTIONS_MAX: usize = 4096;
/// A peer that does not answer a ping for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What may be sent of one body before it is read: 10 MB/s and more where a round trip takes a tenth of a second. As many
/// of them are here as calls are admitted and artifacts received.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The server; it runs when it is awaited, and ends at `stop` when open streams have ended.
pub(super) fn server(
    services: Services,
    listener: TcpListener,
    stop: Stop,
) -> Result<impl Future<Output = Result<(), AppError>>, AppError> {
    listener.set_nonblocking(true).map_err(AppError::Listener)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(AppError::Listener)?;
    let places = Places::new(Bounds::halves(CONNECTIONS_MAX.min(Files::Data.here())));
    let incoming = incoming(listener, places, "data");
    let (worker, artifacts, logs) = match services.worker {
        Some((worker, uploads, logs)) => {
            (Some(worker.into_server()), Some(ArtifactService::server(uploads)), Some(logs.server()))
        }
        None => (None, None, None),
    };
    let router = Server::builder()
        .layer(Count)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(services.streams_max)
        .add_service(services.process.into_server())
        .add_optional_service(worker)
        .add_optional_service(artifacts)
        .add_optional_service(logs);
    Ok(async move { Ok(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await?) })
}
