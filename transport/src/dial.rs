//! The way out: from a process's address to a connection.

use std::fmt::Display;

use tonic::transport::{Channel, Endpoint, Error};

use crate::Purpose;
use crate::purpose::{Alive, Profile, Windows};

/// Makes connections for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialer(Purpose);

impl Dialer {
    /// A dialer of connections for this.
    #[must_use]
    pub const fn new(purpose: Purpose) -> Self {
        Self(purpose)
    }

    /// Connects to `HOST:PORT` now.
    ///
    /// # Errors
    /// When the text is no address, or nobody accepts there in time.
    pub async fn connect(self, address: impl Display) -> Result<Channel, Error> {
        self.endpoint(&address)?.connect().await
    }

    /// Connects to `HOST:PORT` when something is first asked, and again whenever the connection was lost. Needs a runtime.
    ///
    /// # Errors
    /// When the text is no address.
    pub fn connect_lazily(self, address: impl Display) -> Result<Channel, Error> {
        Ok(self.endpoint(&address)?.connect_lazy())
    }

    fn endpoint(self, address: &dyn Display) -> Result<Endpoint, Error> {
        let Profile { connect, answer, alive, windows } = self.0.profile();
        // Messages are whole: waiting for more to send would only delay them.
        let mut endpoint =
            Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(connect).tcp_nodelay(true);
        if let Some(answer) = answer {
            endpoint = endpoint.timeout(answer);
        }
        if let Some(Alive { every, within, idle }) = alive {
            endpoint = endpoint
                .http2_keep_alive_interval(every)
                .keep_alive_timeout(within)
                .keep_alive_while_idle(idle);
        }
        if let Some(Windows { stream, connection }) = windows {
            endpoint = endpoint.initial_stream_window_size(stream).initial_connection_window_size(connection);
        }
        Ok(endpoint)
    }
}
