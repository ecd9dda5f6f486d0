//! A guest's own HTTP requests: what its spec grants, with the call's trace.

use std::sync::Arc;

use coracle_proto::record::Version;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::outbound::{Outbound, OutboundError, Timeouts};

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The hooks of one call.
pub(super) struct WayOut {
    outbound: Arc<Outbound>,
    version: Arc<Version>,
    /// `traceparent` and `tracestate` for requests that have none.
    trace: HeaderMap,
}

impl WayOut {
    pub(super) fn new(outbound: Arc<Outbound>, version: Arc<Version>, trace: HeaderMap) -> Self {
        Self { outbound, version, trace }
    }
}

impl WasiHttpHooks for WayOut {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !request.headers().contains_key(coracle_proto::trace::TRACEPARENT) {
            for (name, value) in &self.trace {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let sending = self.outbound.send(self.version.spec.hosts(), request, timeouts);
        Box::new(async move {
            let response = sending.await.map_err(named)?;
            let response = response.map(|body| body.map_err(named).boxed_unsync());
            Ok((response, Box::new(async { Ok(()) }) as Box<dyn Future<Output = Result<(), Error>> + Send>))
        })
    }
}

fn named(error: OutboundError) -> Error {
    match error {
        OutboundError::Denied(_) => Error::HttpRequestDenied,
        OutboundError::PrivateAddress(_) => Error::DestinationIpProhibited,
        OutboundError::BadUri => Error::HttpRequestUriInvalid,
        OutboundError::TooMany(_) => Error::ConnectionLimitReached,
        OutboundError::Resolve(why) => Error::DnsError { rcode: Some(why), info_code: None },
        OutboundError::Connect(_) => Error::ConnectionRefused,
        OutboundError::ConnectTimeout => Error::ConnectionTimeout,
        OutboundError::FirstByteTimeout => Error::HttpResponseTimeout,
        OutboundError::ReadTimeout => Error::ConnectionReadTimeout,
        OutboundError::Tls(_) => Error::TlsProtocolError,
        OutboundError::Http(_) => Error::HttpProtocolError,
    }
}
