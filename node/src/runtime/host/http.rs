//! `wasi:http`: requests that a guest takes and answers, and its own ones to whom its spec grants, with the call's trace.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, WasiHttpView};

use super::cut::Cut;
use super::interface::{Interface, Release};
use crate::outbound::{Egress, OutboundError, Timeouts};
use crate::runtime::bounds::{BODY_CHUNK_BYTES, BODY_CHUNKS_MAX};
use crate::runtime::call::CallContext;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

pub(super) const fn interface<T: WasiHttpView + 'static>() -> Interface<T> {
    Interface {
        release: Release::Wasip2,
        exactly: None,
        names: &["wasi:http/outgoing-handler", "wasi:http/types"],
        link: |linker| add_only_http_to_linker_async(linker),
    }
}

/// The way of a guest's own requests.
pub(in crate::runtime) struct WayOut {
    egress: Arc<Egress>,
    /// The call that the guest serves.
    invocation: Option<Arc<CallContext>>,
    /// Where the bodies of its requests are streams: whether they were cut off.
    cut: Option<Cut>,
}

impl WayOut {
    pub(in crate::runtime) const fn new(egress: Arc<Egress>) -> Self {
        Self { egress, invocation: None, cut: None }
    }

    /// Requests are this call's from now on: its grant, its trace, its log.
    pub(in crate::runtime) fn begin(&mut self, invocation: Arc<CallContext>) {
        self.invocation = Some(invocation);
    }

    /// No request goes out until another call begins.
    pub(in crate::runtime) fn end(&mut self) {
        self.invocation = None;
        self.cut = None;
    }

    /// The bodies of this call's requests are streams, which look whole when they are dropped with their guest: they are
    /// cut off when `cut` says so.
    pub(in crate::runtime) fn cut_by(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }
}

impl WasiHttpHooks for WayOut {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let Some(invocation) = self.invocation.clone() else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        invocation.write_onward(request.headers_mut());
        if let Some(cut) = &self.cut {
            request = request.map(|body| cut.watch(body));
        }
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let (of_call, hosts) = (invocation.requests(&self.egress), invocation.version.spec.hosts());
        let sending = self.egress.send(of_call, hosts, request, timeouts);
        invocation.account.requests();
        Box::new(async move {
            let response = sending.await.map_err(|error| {
                // The guest is told a code only, without the bound or the host.
                if error.is_refusal() {
                    invocation.account.refused();
                    invocation.author.say(&format!("an outgoing request was refused: {error}"));
                }
                named(error)
            })?;
            let response = response.map(|body| body.map_err(named).boxed_unsync());
            Ok((response, Box::new(async { Ok(()) }) as Box<dyn Future<Output = Result<(), Error>> + Send>))
        })
    }

    // A body that nobody reads holds these: the host's memory, which the guest's `memory` does not count.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS_MAX
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }
}

fn named(error: OutboundError) -> Error {
    match error {
        OutboundError::Denied(_) => Error::HttpRequestDenied,
        OutboundError::PrivateAddress(_) | OutboundError::OutOfReach { .. } => Error::DestinationIpProhibited,
        OutboundError::BadUri => Error::HttpRequestUriInvalid,
        OutboundError::TooMany { .. } | OutboundError::TooManyLookups { .. } => Error::ConnectionLimitReached,
        OutboundError::ResolveTimeout(_) => Error::DnsTimeout,
        OutboundError::Resolve(why) => Error::DnsError { rcode: Some(why), info_code: None },
        OutboundError::Connect(_) => Error::ConnectionRefused,
        OutboundError::ConnectTimeout => Error::ConnectionTimeout,
        OutboundError::FirstByteTimeout => Error::HttpResponseTimeout,
        OutboundError::ReadTimeout => Error::ConnectionReadTimeout,
        OutboundError::Tls(_) => Error::TlsProtocolError,
        OutboundError::Http(_) => Error::HttpProtocolError,
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::spec::Draft;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::outbound::Reach;
    use crate::runtime::call::tests::invocation;
    use crate::runtime::tests::Lines;

    /// That of a call with a log.
    fn way_out(hosts: Vec<String>) -> (WayOut, Arc<Lines>) {
        let (invocation, lines) = invocation(Draft { hosts, ..Draft::default() });
        let mut way_out = WayOut::new(Arc::new(Egress::new(Reach::default()).unwrap()));
        way_out.begin(invocation);
        (way_out, lines)
    }

    async fn send(way_out: &mut WayOut, uri: String) -> Result<u16, Error> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get(uri).body(body).unwrap();
        let sending = way_out.send_request(request, None, Box::new(async { Ok(()) }));
        Box::into_pin(sending).await.map(|(response, _)| response.status().as_u16())
    }

    #[tokio::test]
    async fn a_granted_host_gets_the_trace_and_another_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let (mut without, lines) = way_out(Vec::new());
        let denied = send(&mut without, format!("http://{address}/")).await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)), "{denied:?}");
        let said = format!("'{address}' is not one of the function's 'hosts'");
        assert!(lines.all().concat().contains(&said), "{:?}", lines.all());
        let (mut with, lines) = way_out(vec![address.clone()]);
        assert_eq!(send(&mut with, format!("http://{address}/x")).await.unwrap(), 204);
        assert!(lines.all().is_empty());
        let head = server.await.unwrap();
        assert!(head.contains("traceparent: 00-ab-cd-01\r\n"), "{head}");
        assert!(head.contains("cdn-loop: a, coracle\r\n"), "{head}");
    }
}
