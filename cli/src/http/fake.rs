//! A gateway for tests: it has one namespace's blobs, on a real socket, and breaks off where it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::address::Address;
use crate::client::fake::FakeStore;

/// What it has, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Front {
    /// By path.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Each with its headers `range` and `if-match`.
    pub(crate) seen: Vec<(String, String, String)>,
    /// So many requests are answered with 503.
    pub(crate) busy: usize,
    /// An answer ends after so many bytes, once each.
    pub(crate) cuts: Vec<usize>,
}

/// A running one.
#[derive(Debug, Clone)]
pub(crate) struct FakeGateway {
    pub(crate) address: Address,
    front: Arc<Mutex<Front>>,
    store: FakeStore,
}

impl FakeGateway {
    pub(crate) async fn start(store: FakeStore) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let gateway = Self { address, front: Arc::default(), store };
        let own = gateway.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let gateway = own.clone();
                let serve = service_fn(move |request| gateway.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve),
                );
            }
        });
        gateway
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Front) -> T) -> T {
        look(&mut self.front.lock().unwrap())
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let header = |name| {
            let value = request.headers().get(name).map(|it: &http::HeaderValue| it.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let (range, condition) = (header("range"), header("if-match"));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let query = uri.query().unwrap_or_default().to_owned();
        assert!(query.contains("signature=07070707"), "it is signed: {query}");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let path = uri.path().to_owned();
        let busy = self.with(|front| {
            front.seen.push((format!("{method} {path}"), range.clone(), condition));
            let busy = front.busy > 0;
            front.busy = front.busy.saturating_sub(1);
            busy
        });
        Ok(match method {
            _ if busy => answer(StatusCode::SERVICE_UNAVAILABLE, "", Vec::new()),
            Method::GET => self.get(&path, &range),
            _ => self.put(&query, &body),
        })
    }

    fn get(&self, path: &str, range: &str) -> Response<Full<Bytes>> {
        self.with(|front| {
            let Some(blob) = front.blobs.get(path).cloned() else {
                return answer(StatusCode::NOT_FOUND, "", Vec::new());
            };
            let (status, from, to) =
                match range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) {
                    None => (StatusCode::OK, 0, blob.len()),
                    Some((from, last)) => {
                        let to = last.parse::<usize>().map_or(blob.len(), |last| last + 1);
                        (StatusCode::PARTIAL_CONTENT, from.parse().unwrap(), to)
                    }
                };
            let mut data = blob[from..to].to_vec();
            if let Some(cut) = front.cuts.pop() {
                data.truncate(cut);
            }
            answer(status, "", data)
        })
    }

    /// A part: what is small goes to the stores at once.
    fn put(&self, query: &str, body: &Bytes) -> Response<Full<Bytes>> {
        let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let (upload, number) = (asked("uploadId").unwrap(), asked("partNumber").unwrap());
        let etag = self.store.put_part(upload, number.parse().unwrap(), body);
        answer(StatusCode::CREATED, &etag, Vec::new())
    }
}

fn answer(status: StatusCode, etag: &str, data: Vec<u8>) -> Response<Full<Bytes>> {
    let quoted = format!("\"{etag}\"");
    Response::builder().status(status).header("etag", quoted).body(Full::new(data.into())).unwrap()
}
