//! A guest's own HTTP requests: what its spec grants, with the call's trace.

use std::sync::Arc;

use coracle_proto::record::Version;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::guest::{BODY_CHUNK_BYTES, BODY_CHUNKS_MAX};
use super::log::LineLog;
use crate::hops::CDN_LOOP;
use crate::outbound::{Caller, Meter, Outbound, OutboundError, Timeouts};

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The hooks of one call.
pub(super) struct WayOut {
    outbound: Arc<Outbound>,
    caller: Caller,
    version: Arc<Version>,
    /// The function's own log: the guest is told a code only, without the bound or the host.
    log: LineLog,
    /// `traceparent` and `tracestate` for requests that have none.
    trace: HeaderMap,
    /// What requests say of the chain of calls that they go on with.
    hops: HeaderValue,
}

impl WayOut {
    pub(super) fn new(
        outbound: Arc<Outbound>,
        version: Arc<Version>,
        log: LineLog,
        (trace, hops): (HeaderMap, HeaderValue),
    ) -> Self {
        let caller = outbound.caller(version.id.function.clone());
        Self { outbound, caller, version, log, trace, hops }
    }
}

impl WayOut {
    /// What the call's requests take of the processor.
    pub(super) fn meter(&self) -> Meter {
        self.caller.meter().clone()
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
        request.headers_mut().insert(CDN_LOOP, self.hops.clone());
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let sending = self.outbound.send(&self.caller, self.version.spec.hosts(), request, timeouts);
        let log = self.log.clone();
        Box::new(async move {
            let response = sending.await.map_err(|error| {
                if error.is_refusal() {
                    log.say(&format!("an outgoing request was refused: {error}"));
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
pub(super) mod tests {
    use coracle_proto::id::{Digest, FunctionId, InvocationId, VersionId, VersionNumber};
    use coracle_proto::record::Kind;
    use coracle_proto::spec::{Draft, FunctionSpec};
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::log::Author;
    use super::super::tests::Lines;
    use super::*;
    use crate::logs::Stream;
    use crate::outbound::Reach;

    /// One whose trace is `00-ab-cd-01`, and its log.
    pub(in super::super) fn way_out(hosts: Vec<String>) -> (WayOut, Arc<Lines>) {
        let function = FunctionId::parse("", "f").unwrap();
        let version = Version {
            id: VersionId { function, number: VersionNumber::new(1) },
            digest: Digest::new([0; 32]),
            size: 0,
            kind: Kind::HttpComponent,
            spec: FunctionSpec::new(Draft { hosts, ..Draft::default() }).unwrap(),
            created_ms: 0,
            trace: String::new(),
        };
        let trace = HeaderMap::from_iter([("traceparent".parse().unwrap(), "00-ab-cd-01".parse().unwrap())]);
        let (log, lines) = log();
        (
            WayOut::new(
                Arc::new(Outbound::new(Reach::default()).unwrap()),
                Arc::new(version),
                log,
                (trace, HeaderValue::from_static("a, coracle")),
            ),
            lines,
        )
    }

    /// The log of a function.
    pub(in super::super) fn log() -> (LineLog, Arc<Lines>) {
        let version =
            VersionId { function: FunctionId::parse("", "f").unwrap(), number: VersionNumber::new(1) };
        let author = Author { version, invocation: InvocationId::new(1), trace: None };
        let lines = Arc::<Lines>::default();
        (LineLog::new(Arc::<Lines>::clone(&lines), Arc::new(author), Stream::Stderr), lines)
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
