//! The connections of a gRPC port: each with a place, and ended when somebody else needs it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval, interval_at};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::places::{Place, Places};
use crate::usage::Usage;
use crate::{ACCEPT_PAUSE, now};

/// Of HTTP/2, in bytes (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
/// What a connection on which a request came when it was told to make room has for it: it is ended when it has asked nothing
/// for a second, so that its answer has left, and after half a minute in any case.
const QUIET_MIN: Duration = Duration::from_secs(1);
const QUIET_LOOKS_MAX: u32 = 30;
/// How often those who have waited too long are looked for.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections for a tonic server, for ever. Failures of accept are waited out: a server that met one would end.
pub fn incoming(
    listener: TcpListener,
    places: Places,
    port: &'static str,
) -> impl Stream<Item = io::Result<Guarded>> {
    let mut sweeps = interval(SWEEP_PAUSE);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    futures::stream::unfold((listener, places, sweeps), move |(listener, places, mut sweeps)| async move {
        let guarded = accept(&listener, &places, &mut sweeps, port).await;
        Some((Ok(guarded), (listener, places, sweeps)))
    })
}

async fn accept(
    listener: &TcpListener,
    places: &Places,
    sweeps: &mut Interval,
    port: &'static str,
) -> Guarded {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweeps.tick() => {
                places.sweep();
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(port, %error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Frames are whole messages: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        match places.take(peer.ip()) {
            Ok((place, ended)) => return Guarded { stream, place, end: End::Unsaid(ended), bytes: 0 },
            Err(full) => tracing::debug!(port, %peer, ?full, "a connection too many"),
        }
        // Those that make room are to see it: on one thread nobody else would have a turn.
        tokio::task::yield_now().await;
    }
}

/// A connection with its place.
#[derive(Debug)]
pub struct Guarded {
    stream: TcpStream,
    place: Place,
    end: End,
    /// Read so far, up to the preface.
    bytes: usize,
}

/// Whether a connection is to end.
#[derive(Debug)]
enum End {
    Unsaid(oneshot::Receiver<()>),
    /// When it has been quiet, or was looked at so often.
    Soon(Interval, u32),
    Now,
}

impl End {
    fn poll(&mut self, usage: &Usage, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Unsaid(ended) => {
                    // Its sender never sends.
                    let _ = ready!(Pin::new(ended).poll(context));
                    *self = if usage.is_idle() {
                        Self::Now
                    } else {
                        Self::Soon(interval_at((now() + QUIET_MIN).into(), QUIET_MIN), 0)
                    };
                }
                Self::Soon(looks, looked) => {
                    ready!(looks.poll_tick(context));
                    *looked += 1;
                    let quiet = |(_, since)| now().saturating_duration_since(since) >= QUIET_MIN;
                    if *looked >= QUIET_LOOKS_MAX || usage.waits(now()).is_some_and(quiet) {
                        *self = Self::Now;
                    }
                }
                Self::Now => return Poll::Ready(()),
            }
        }
    }
}

/// What is told of a connection to each of its requests.
#[derive(Debug, Clone)]
pub struct Info {
    pub(crate) usage: Arc<Usage>,
    /// What tonic itself would tell.
    pub(crate) tcp: TcpConnectInfo,
}

impl Connected for Guarded {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        Info { usage: Arc::clone(self.place.usage()), tcp: self.stream.connect_info() }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.poll(this.place.usage(), context).is_ready() {
            let said = "the connection asked nothing for too long, or made room for others";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, said)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if this.bytes < PREFACE_BYTES {
            this.bytes += buffer.filled().len().saturating_sub(before);
            if this.bytes >= PREFACE_BYTES {
                this.place.usage().greet();
            }
        }
        polled
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::places::Bounds;
    use crate::usage::Shown;

    #[tokio::test]
    async fn a_connection_that_makes_room_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(Bounds { all: 2, peer: 2 });
        let mut incoming = pin!(incoming(listener, places.clone(), "test"));
        let mut came = async || {
            let caller = TcpStream::connect(address).await.unwrap();
            (caller, incoming.next().await.unwrap().unwrap())
        };
        let (mut silent, mut stranger) = came().await;
        let (mut greeting, mut greeted) = came().await;
        greeting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        greeted.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        let later = crate::now() + Duration::from_secs(1);
        let shown = greeted.place.usage().waits(later).map(|(shown, _)| shown);
        assert_eq!(shown, Some(Shown::Greeting));
        let _third = came().await;
        let ended = stranger.read(&mut [0]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
        drop(stranger);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(places.count(), 2);
        greeting.write_all(b"x").await.unwrap();
        assert_eq!(greeted.read(&mut [0]).await.unwrap(), 1, "it stays");
    }

    #[tokio::test]
    async fn a_request_that_came_when_its_connection_was_told_is_read_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(Bounds { all: 1, peer: 1 });
        let mut incoming = pin!(incoming(listener, places.clone(), "test"));
        let mut caller = TcpStream::connect(address).await.unwrap();
        let mut guarded = incoming.next().await.unwrap().unwrap();
        let _other = TcpStream::connect(address).await.unwrap();
        let _its = incoming.next().await.unwrap().unwrap();
        let asking = guarded.place.usage().begin();
        caller.write_all(b"x").await.unwrap();
        assert_eq!(guarded.read(&mut [0]).await.unwrap(), 1, "it is cut");
        // And ended when it has asked nothing for a while.
        drop(asking);
        let ended = tokio::time::timeout(QUIET_MIN * 5, guarded.read(&mut [0])).await.expect("it stays");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
