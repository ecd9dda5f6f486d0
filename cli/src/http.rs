//! The HTTP client of `invoke`, `blob` and `trace`: one connection, one request, both bodies streamed.

#[cfg(test)]
pub(crate) mod fake;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
pub(crate) use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio_util::io::ReaderStream;

use crate::address::Address;
use crate::client::first;

/// A connection on any network is made in less, or not at all.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Bytes that are counted as sent together.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of an answer that is read whole: a trace of ten thousand spans.
const WHOLE_MAX: usize = 32 << 20;

/// What is sent. Streams are sent as they are read.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Whatever is read, until its end.
pub(crate) fn stream(reader: impl AsyncRead + Send + 'static) -> Body {
    StreamBody::new(ReaderStream::new(reader).map_ok(Frame::data)).boxed_unsync()
}

/// These bytes in pieces; `sent` hears of each as it goes.
pub(crate) fn pieces(bytes: Bytes, sent: impl Fn(usize) + Send + 'static) -> Body {
    let pieces = futures::stream::unfold(bytes, |mut left| async {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((piece, left))
    });
    let told = pieces.map(move |piece| {
        sent(piece.len());
        Ok(Frame::data(piece))
    });
    StreamBody::new(told).boxed_unsync()
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    authority: String,
}

impl Connection {
    /// Connects to the first address that can be connected to; the error names all of them.
    pub(crate) async fn open(addresses: &[Address]) -> Result<Self, String> {
        let open = async |address: &Address| match connect(address).await {
            Ok(sender) => Ok(Self { sender, authority: address.to_string() }),
            Err(reason) => Err(format!("{address}: {reason}")),
        };
        first(addresses.iter().map(open)).await.map_err(|reasons| reasons.join("; "))
    }

    /// Sends the request and waits for the answer's head. `host` replaces the address in the `Host` header.
    pub(crate) async fn send(
        mut self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, String> {
        let uri: Uri = target.parse().map_err(|error| format!("'{target}' is no path: {error}"))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if !request.headers().contains_key(http::header::HOST) {
            let host = self.authority.parse().map_err(|_| format!("'{}' is no host", self.authority))?;
            request.headers_mut().insert(http::header::HOST, host);
        }
        self.sender.send_request(request).await.map_err(|error| chain(&error))
    }
}

async fn connect(address: &Address) -> Result<SendRequest<Body>, String> {
    let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address.as_str())).await;
    let stream = connected
        .map_err(|_| format!("no connection within {} s", CONNECT_MAX.as_secs()))?
        .map_err(|error| error.to_string())?;
    // Without it small requests wait for the acknowledgement of the one before; otherwise harmless.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
    // It ends with the process, and says what is wrong with it through the request.
    tokio::spawn(connection);
    Ok(sender)
}

/// An answer, read whole.
pub(crate) async fn read(response: Response<Incoming>) -> Result<Bytes, String> {
    let read = Limited::new(response.into_body(), WHOLE_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("the answer has over {WHOLE_MAX} bytes")
        } else {
            error.to_string()
        }
    })?;
    Ok(read.to_bytes())
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
