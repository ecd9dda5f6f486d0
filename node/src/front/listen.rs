//! Accepts connections, as many as are taken, until the gateway is stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use coracle_ports::{ACCEPT_PAUSE, Full, Place, network};
use coracle_proto::status::Code;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Front, connection, linger};
use crate::clock;

/// Connections over the cap that are told so at once; more are just closed.
const TURNED_AWAY_MAX: usize = 64;
/// How long one of them may take to read that.
const TURNED_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the gateway cannot listen.
#[derive(Debug, Error)]
#[error("the gateway cannot use its listener: {0}")]
pub struct ListenError(#[from] io::Error);

impl Front {
    /// Serves a listener until `stop`; then ends open calls in the time that the options give them. Connections are
    /// accepted here, and served on the threads of `calls`.
    ///
    /// # Errors
    /// When the listener cannot be used at all.
    pub async fn run(
        self,
        listener: std::net::TcpListener,
        calls: Handle,
        stop: CancellationToken,
    ) -> Result<(), ListenError> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let options = self.inner.options;
        let connections_max = options.connections_max;
        tracing::info!(connections_max, "gateway is open");
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let tasks = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let (stream, remote) = match accepted {
                Ok(accepted) => {
                    self.says_shut(None);
                    accepted
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    self.says_shut(Some(&error));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Answers are whole messages: waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            match self.inner.places.take(remote.ip()) {
                Ok(taken) => self.open((&tasks, &calls), (stream, remote), taken, stop.clone()),
                Err(full) => {
                    self.inner.metrics.refused(Code::TooManyConnections);
                    if let Ok(permit) = Arc::clone(&turned_away).try_acquire_owned() {
                        tasks.spawn(async move {
                            let turning = turn_away(stream, remote, full);
                            let _ = tokio::time::timeout(TURNED_AWAY_TIMEOUT, turning).await;
                            drop(permit);
                        });
                    }
                }
            }
            // Those that make room are to see it: on one thread nobody else would have a turn.
            tokio::task::yield_now().await;
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(options.drain_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "calls were cut off: they did not end in time");
        }
        Ok(())
    }

    /// Serves a connection that has its place, on the threads of `calls`.
    fn open(
        &self,
        (tasks, calls): (&TaskTracker, &Handle),
        (stream, remote): (TcpStream, SocketAddr),
        taken: (Place, oneshot::Receiver<()>),
        stop: CancellationToken,
    ) {
        let (front, stream) = (self.clone(), stream.into_std());
        let connections = self.inner.metrics.connections.clone();
        connections.inc();
        let serving = async move {
            // Bound to these threads, which wait for it from now on.
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => connection::serve(front, stream, remote, taken, stop).await,
                Err(error) => tracing::warn!(%error, "a connection cannot be served"),
            }
            connections.dec();
        };
        tasks.spawn_on(serving, calls);
    }

    pub(super) fn says_shut(&self, error: Option<&io::Error>) {
        let mut shut = self.inner.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if shut.is_some() || error.is_some() {
            *shut = error.map(|error| (error.to_string(), clock::now()));
        }
    }
}

/// Tells a caller that there are too many, without reading what it wants.
async fn turn_away(mut stream: TcpStream, remote: SocketAddr, full: Full) -> io::Result<()> {
    let code = Code::TooManyConnections;
    let said = match full {
        Full::All(max) => format!("the gateway has {max} open connections and takes no more"),
        Full::Peer(max) => format!(
            "'{}' has {max} open connections to this gateway, each with an open call, and one address may have no more",
            network(remote.ip())
        ),
    };
    let body = format!("{code}: {said}\n");
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncoracle-error: {code}\r\ncontent-type: text/plain\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tracing::debug!(%remote, "over the cap of connections");
    stream.write_all(text.as_bytes()).await?;
    linger::close(&stream).await
}
