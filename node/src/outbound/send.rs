//! One request on a connection of its own, from the grant to the response's end.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::FunctionId;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};

use super::connect::{Connector, Target};
use super::grant::granted;
use super::meter::Meter;
use super::quota::{OpenRequest, Quota, RequestsMax};
use super::{
    BETWEEN_BYTES_TIMEOUT, CONNECT_TIMEOUT, Egress, FIRST_BYTE_TIMEOUT, HEAD_BYTES_MAX, OutboundError, Reach,
    Requests, ResponseBody, TIMEOUT_MAX, Timeouts,
};

impl Egress {
    /// Sets up TLS.
    ///
    /// # Errors
    /// When TLS does not work here.
    pub fn new(reach: Reach) -> Result<Self, OutboundError> {
        Self::with(reach, RequestsMax::DEFAULTS)
    }

    pub(super) fn with(reach: Reach, max: RequestsMax) -> Result<Self, OutboundError> {
        Ok(Self { connector: Connector::new()?, reach, quota: Quota::new(max) })
    }

    /// A call of a function, whose requests are counted together.
    #[must_use]
    pub fn requests_of(&self, function: FunctionId) -> Requests {
        self.quota.requests_of(function)
    }

    /// Sends a request to one of `hosts`. Dropping the future, or the response's body, closes the connection.
    pub fn send<B>(
        &self,
        of_call: &Requests,
        hosts: &[String],
        request: Request<B>,
        timeouts: Timeouts,
    ) -> impl Future<Output = Result<Response<ResponseBody>, OutboundError>> + Send + use<B>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let admitted =
            admit(hosts, request.uri()).and_then(|target| Ok((target, self.quota.begin(of_call)?)));
        let (connector, reach, meter) = (self.connector.clone(), self.reach, of_call.meter().clone());
        async move {
            let (target, open) = admitted?;
            let driven = meter.clone();
            meter.of(exchange((&connector, reach), &target, request, timeouts, (open, driven))).await
        }
    }
}

/// Looks the URI up in what was granted.
fn admit(hosts: &[String], uri: &Uri) -> Result<Target, OutboundError> {
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(_) | None => return Err(OutboundError::BadUri),
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let host = authority.map(Authority::host).filter(|host| !host.is_empty()).ok_or(OutboundError::BadUri)?;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let granted =
        granted(hosts, host, port).ok_or_else(|| OutboundError::Denied(format!("{host}:{port}")))?;
    Ok(Target { host: host.to_owned(), port, tls, granted })
}

async fn exchange<B>(
    (connector, reach): (&Connector, Reach),
    target: &Target,
    mut request: Request<B>,
    timeouts: Timeouts,
    (open, meter): (OpenRequest, Meter),
) -> Result<Response<ResponseBody>, OutboundError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let http = |error: hyper::Error| OutboundError::Http(error.to_string());
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let connecting = async {
        let stream = TokioIo::new(connector.connect(target, reach, open.function()).await?);
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(stream).await.map_err(http)
    };
    let (mut sender, connection) = timeout(bounded(timeouts.connect, CONNECT_TIMEOUT), connecting)
        .await
        .map_err(|_| OutboundError::ConnectTimeout)??;
    // Its error is told to the request or to the body, whichever waits.
    let driver = Driver(tokio::spawn(meter.of(async move { drop(connection.await) })));
    let response = timeout(bounded(timeouts.first_byte, FIRST_BYTE_TIMEOUT), sender.send_request(request))
        .await
        .map_err(|_| OutboundError::FirstByteTimeout)?
        .map_err(http)?;
    let pause_max = bounded(timeouts.between_bytes, BETWEEN_BYTES_TIMEOUT);
    let body = |body| Reply { body, pause_max, pause: None, _driver: driver, _open: open };
    Ok(response.map(|incoming| body(incoming).boxed_unsync()))
}

/// What was asked for within bounds, or the default.
fn bounded(asked: Option<Duration>, default: Duration) -> Duration {
    asked.unwrap_or(default).min(TIMEOUT_MAX)
}

/// The task that moves a connection's bytes; it ends with whoever wants them.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A response's body, with its connection.
struct Reply {
    body: Incoming,
    pause_max: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    _driver: Driver,
    _open: OpenRequest,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let this = &mut *self;
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause = None;
            return Poll::Ready(
                next.map(|frame| frame.map_err(|error| OutboundError::Http(error.to_string()))),
            );
        }
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(this.pause_max)));
        pause.as_mut().poll(cx).map(|()| Some(Err(OutboundError::ReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
