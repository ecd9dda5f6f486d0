//! One connection: HTTP/1.1, or HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coracle_ports::Place;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::activity::Activity;
use super::line::{Line, Streams};
use super::patient::Patient;
use super::serve::Arrival;

/// An HTTP/2 caller that answers no ping is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on one HTTP/2 connection: what browsers and proxies expect.
const STREAMS_MAX: u32 = 256;
/// A head with all its fields; the same for both protocols.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// Bytes of one HTTP/2 body that are buffered before the guest reads them, and of all of a connection: a proxy sends the
/// calls of many callers over one, and those that a guest does not read must not hold up the others.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;

/// What a connection is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It has not sent its first request yet.
    First,
    /// It had sent so many.
    Idle(u64),
    /// It takes no more, and those that are open have a while.
    Ending,
}

/// Serves a connection until it ends, or until `stop` and its open calls.
pub(super) async fn serve(
    front: Front,
    stream: TcpStream,
    remote: SocketAddr,
    (place, mut ended): (Place, oneshot::Receiver<()>),
    stop: CancellationToken,
) {
    let options = front.inner.options;
    let activity = Arc::new(Activity::new(place.usage()));
    let close = CancellationToken::new();
    let (counted, closes) = (Arc::clone(&activity), close.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, activity, close) = (front.clone(), Arc::clone(&counted), closes.clone());
        let open = counted.begin();
        async move {
            // Here, for it is the stream's own task that can be reset.
            let line = Line::new(request.version(), close);
            let arrival = Arrival { remote, activity, request: open, line };
            Ok::<_, Infallible>(front.serve(request, arrival).await)
        }
    });
    let builder = builder(options.header_timeout);
    let stream = Arc::new(stream);
    let patient = Patient::new(Arc::clone(&stream), options.write_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(patient), service));
    let mut left = pin!(left(&stream, &activity));
    let (mut watch, mut idle, mut made_room) = (Watch::First, false, false);
    let mut look = pin!(tokio::time::sleep(options.header_timeout));
    loop {
        let ending = watch == Watch::Ending;
        let why = tokio::select! {
            ended = connection.as_mut() => return tell_end(remote, ended),
            // Its sender never sends.
            _ = &mut ended, if !made_room => {
                made_room = true;
                if activity.idle() {
                    return tell_end(remote, Err("it asked nothing, and made room"));
                }
                if ending {
                    continue;
                }
                "it makes room, and a request came when it was told"
            }
            () = left.as_mut() => {
                return tell_end(remote, Err("its caller left before its request's body was read"));
            }
            () = stop.cancelled(), if !ending => "the gateway stops",
            () = close.cancelled(), if !ending => "it holds an answer that its caller does not take",
            () = look.as_mut() => {
                let begun = activity.begun();
                match watch {
                    // hyper's own timer for heads starts when it knows the protocol: before that a silent caller
                    // is nobody's.
                    Watch::First if begun == 0 => return,
                    Watch::Idle(before) if before == begun && activity.idle() => {
                        idle = true;
                        "it is idle"
                    }
                    Watch::First | Watch::Idle(_) => {
                        watch = Watch::Idle(begun);
                        look.set(tokio::time::sleep(options.idle_timeout));
                        continue;
                    }
                    // A request that was on its way when it was told to end is answered like any other.
                    Watch::Ending if idle && !activity.idle() => {
                        look.set(tokio::time::sleep(options.drain_timeout));
                        continue;
                    }
                    Watch::Ending => return tell_end(remote, Err("it was cut: it did not end in time")),
                }
            }
        };
        tracing::debug!(%remote, why, "a connection is ended");
        connection.as_mut().graceful_shutdown();
        watch = Watch::Ending;
        look.set(tokio::time::sleep(options.drain_timeout));
    }
}

fn tell_end<E: std::fmt::Display>(remote: SocketAddr, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "a connection broke off");
    }
}

/// Ends when the other side has hung up while a body that it sent, or promised, is not read.
///
/// hyper sees the end of a connection only where it reads, and it does not read on while the guest has not taken what
/// it has. As hyper does everywhere else, this takes a caller that sends no more for one that left: a killed caller's
/// system says the same as one that shut only its own side.
async fn left(stream: &TcpStream, activity: &Activity) {
    // To tokio, what may be urgent includes that the other side closed; what can be read does not matter here.
    let _ = stream.ready(Interest::PRIORITY | Interest::ERROR).await;
    activity.any_unread().await;
}

fn builder(header_timeout: Duration) -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}
