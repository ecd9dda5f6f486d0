//! The admin server (7401): metrics, health and readiness of a node, for supervisor and children together.

mod health;
mod inspect;
mod metrics;

use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_ports::{ACCEPT_PAUSE, Bounds, Place, Places};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::ground::{Addresses, Board};
use inspect::Inspector;

/// For a request's head, also while a connection waits for its next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection with whatever is asked on it: one whose caller takes no answer would stay for ever.
const LIFE_MAX: Duration = Duration::from_secs(5 * 60);
/// Scrapers and probes have a few connections each, and each costs the supervisor a file and some kilobytes.
const CONNECTIONS_MAX: usize = 128;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

type Answer = Response<Full<Bytes>>;

#[derive(Debug)]
struct Admin {
    board: Board,
    inspector: Inspector,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, addresses: Addresses, board: Board) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "the admin port cannot be served"),
    };
    let admin = Arc::new(Admin { board, inspector: Inspector::new(addresses) });
    let places = Places::new(Bounds::halves(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        admit(&places, &admin, (stream, peer), &mut connections);
        // Those that make room are to see it: on one thread nobody else would have a turn.
        tokio::task::yield_now().await;
    }
}

/// Serves a connection beside the others, or closes it where all places are of callers who are being answered.
fn admit(
    places: &Places,
    admin: &Arc<Admin>,
    (stream, peer): (TcpStream, IpAddr),
    connections: &mut JoinSet<()>,
) {
    let (place, ended) = match places.take(peer) {
        Ok(taken) => taken,
        Err(full) => return debug!(%peer, ?full, "an admin connection too many"),
    };
    let admin = Arc::clone(admin);
    connections.spawn(async move {
        tokio::select! {
            () = talk(stream, &place, &admin) => {}
            // Its sender never sends.
            _ = ended => debug!(%peer, "an admin connection made room"),
            () = tokio::time::sleep(LIFE_MAX) => debug!(%peer, "an admin connection was old"),
        }
    });
}

async fn talk(stream: TcpStream, place: &Place, admin: &Arc<Admin>) {
    let service = service_fn(move |request| async move {
        let _asking = place.usage().begin();
        answer(Arc::clone(admin), request).await
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "admin connection");
    }
}

async fn answer<B: Send>(admin: Arc<Admin>, request: Request<B>) -> Result<Answer, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            let reports = admin.inspector.metrics().await;
            response(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                metrics::exposition(&admin.board.view(), &reports),
            )
        }
        "/healthz" => json(StatusCode::OK, &health::alive(&admin.board.view())),
        "/readyz" => {
            let report = admin.inspector.readiness().await;
            let ready = health::ready(&admin.board.view(), report.as_ref());
            json(if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &ready)
        }
        "/" => plain(
            StatusCode::OK,
            "/metrics  OpenMetrics\n/healthz  the node's processes\n/readyz   whether it takes calls\n",
        ),
        _ => plain(StatusCode::NOT_FOUND, "not found; try /metrics, /healthz, /readyz\n"),
    })
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    // Our own types have nothing that JSON cannot say.
    let body = serde_json::to_vec(value).unwrap_or_default();
    response(status, JSON, body)
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    response(status, TEXT, text)
}

fn response(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::ground::Kind;

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_whose_children_are_gone_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = listening();
        // Nothing listens at a port that was just closed.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let addresses = Addresses { data: Some(closed), ..Addresses::default() };
        let board = Board::new(folder.path(), &[Kind::Data]);
        board.update(Kind::Data, |child| child.last_message = Some("out of memory".to_owned()));
        let server = tokio::spawn(serve(listener, addresses, board));
        let answers = tokio::task::spawn_blocking(move || {
            ["/metrics", "/readyz", "/healthz", "/nothing"].map(|path| get(address, path))
        });
        let [metrics, ready, health, nothing] = answers.await.unwrap();
        assert!(metrics.contains("application/openmetrics-text; version=1.0.0"), "{metrics}");
        assert!(
            metrics.contains("coracle_child_up{child=\"data\"} 0") && metrics.ends_with("# EOF\n"),
            "{metrics}"
        );
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("out of memory"), "{ready}");
        assert!(health.starts_with("HTTP/1.1 200") && health.contains("out of memory"), "{health}");
        assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
        server.abort();
    }

    /// Callers that never end their heads take no place from one that does, not even from the same address.
    #[tokio::test(flavor = "multi_thread")]
    async fn half_requests_do_not_delay_whole_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (listener, address) = listening();
        let board = Board::new(folder.path(), &[Kind::Data]);
        let server = tokio::spawn(serve(listener, Addresses::default(), board));
        let asked = tokio::task::spawn_blocking(move || {
            let mut half = Vec::new();
            let mut slowest = Duration::ZERO;
            for count in [0, 64, 128, 400] {
                while half.len() < count {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").unwrap();
                    half.push(stream);
                }
                let begun = now();
                assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"), "beside {count} half ones");
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
        let slowest = asked.await.unwrap();
        println!("/healthz beside up to 400 half requests: {slowest:?} at most");
        // The goal is 100 ms; tests run on busy machines.
        assert!(slowest < Duration::from_millis(5 * 100), "{slowest:?}");
        server.abort();
    }

    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    fn now() -> Instant {
        Instant::now()
    }
}
