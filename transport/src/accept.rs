//! The way in: a port's connections, each with a place, and the services behind them.

use std::time::Duration;

use coracle_ports::{Bounds, Count, Files, Places, incoming};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Error, Server};

use crate::calls;
use crate::purpose::Windows;

/// Connections at once. At 7400 each node has some, and each command line one while it runs; at 7402 each other node has
/// two to four.
const CONNECTIONS_MAX: usize = 4096;
/// Finds callers that are stopped, or gone, but still connected.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Open requests on one connection to a controller: watches, reports and questions of one node. To a store as many.
const CONTROL_STREAMS_MAX: u32 = 1024;
/// Of all uploads of one connection.
const CONTROL_WINDOW_BYTES: u32 = 4 << 20;

/// Which port is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// A controller's, 7400.
    Control,
    /// A data plane's, 7402.
    Data {
        /// Requests that may be open on one connection.
        streams_max: u32,
    },
    /// A store's, 7403.
    Store,
}

impl Port {
    /// As logs call it.
    const fn name(self) -> &'static str {
        match self {
            Self::Control => "grpc",
            Self::Data { .. } => "data",
            Self::Store => "store",
        }
    }

    const fn files(self) -> Files {
        match self {
            Self::Control => Files::Control,
            Self::Data { .. } => Files::Data,
            Self::Store => Files::Store,
        }
    }

    const fn streams_max(self) -> u32 {
        match self {
            Self::Control | Self::Store => CONTROL_STREAMS_MAX,
            Self::Data { streams_max } => streams_max,
        }
    }

    const fn windows(self) -> Windows {
        let connection = match self {
            Self::Control => CONTROL_WINDOW_BYTES,
            // Chunks that wait for their place, or for a slow sender, hold up no other one.
            Self::Data { .. } | Self::Store => calls::CONNECTION_WINDOW_BYTES,
        };
        Windows { stream: calls::BODY_WINDOW_BYTES, connection }
    }
}

/// Takes the connections of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptor(Port);

impl Acceptor {
    /// An acceptor of this port's connections.
    #[must_use]
    pub const fn new(port: Port) -> Self {
        Self(port)
    }

    /// Serves until `until`, then lets open requests end.
    ///
    /// # Errors
    /// What tonic says; that no connection can be accepted is waited out.
    pub async fn serve(
        self,
        listener: TcpListener,
        services: Routes,
        until: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Self(port) = self;
        let places = Places::new(Bounds::halves(CONNECTIONS_MAX.min(port.files().here())));
        let Windows { stream, connection } = port.windows();
        Server::builder()
            .layer(Count)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .max_concurrent_streams(port.streams_max())
            .initial_stream_window_size(stream)
            .initial_connection_window_size(connection)
            .add_routes(services)
            .serve_with_incoming_shutdown(incoming(listener, places, port.name()), until)
            .await
    }
}
