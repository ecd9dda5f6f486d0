//! Calls through gateway and worker of one node, against `wasmtime serve`, in turn: A B, B A, A B.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_tests::{Cluster, guest};
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::peer::Peer;

/// Of one measurement.
const DURATION: Duration = Duration::from_secs(4);
/// Before the first one: code is mapped, pools and caches are filled.
const WARM_UP: Duration = Duration::from_secs(1);
/// Pairs of measurements. Whose turn is first alternates; the pair with the median ratio is printed.
const ROUNDS: usize = 5;

struct Measured {
    rate: f64,
    latency: Histogram<u64>,
}

impl Measured {
    fn micros(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Compares on two components, with one connection and with sixteen.
pub(crate) async fn run() {
    println!("\n== calls: one node against {}, a fresh instance for each request on both", Peer::version());
    println!(
        "{:<10} {:>5}  {:>27}  {:>27}  {:>15}  {:>6} {:>6}",
        "component",
        "conns",
        "coracle: /s, p50, p99 in us",
        "wasmtime serve: the same",
        "rate x (range)",
        "p50 x",
        "p99 x"
    );
    let cluster = Cluster::start(crate::PROGRAM, 1).await;
    for (name, file) in
        [("hello-min", "hello-min.component.wasm"), ("rust-http", "rust-http-wasip2crate.component.wasm")]
    {
        cluster.deploy(name, &guest(file), &["--concurrency", "1000"]).await;
        let peer = Peer::serve(&guest(file)).await;
        let (path, our_address) = (format!("/{name}"), &cluster.nodes[0].http);
        for connections in [1, 16] {
            let ours = async |duration| closed_loop(our_address, &path, connections, duration).await;
            let theirs = async |duration| closed_loop(&peer.address, &path, connections, duration).await;
            let _ = (ours(WARM_UP).await, theirs(WARM_UP).await);
            let mut pairs = Vec::new();
            for round in 0..ROUNDS {
                pairs.push(if round % 2 == 0 {
                    let first = ours(DURATION).await;
                    (first, theirs(DURATION).await)
                } else {
                    let first = theirs(DURATION).await;
                    (ours(DURATION).await, first)
                });
            }
            print(name, connections, pairs);
        }
    }
}

fn print(name: &str, connections: usize, mut pairs: Vec<(Measured, Measured)>) {
    let ratio = |(ours, theirs): &(Measured, Measured)| ours.rate / theirs.rate;
    pairs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    let (least, most) = (ratio(&pairs[0]), ratio(&pairs[pairs.len() - 1]));
    let (ours, theirs) = &pairs[pairs.len() / 2];
    let p = |quantile| ours.micros(quantile) / theirs.micros(quantile);
    println!(
        "{name:<10} {connections:>5}  {:>13.0} {:>6.0} {:>6.0}  {:>13.0} {:>6.0} {:>6.0}  {:>5.2} ({least:.2}-{most:.2})  {:>6.2} {:>6.2}",
        ours.rate,
        ours.micros(0.5),
        ours.micros(0.99),
        theirs.rate,
        theirs.micros(0.5),
        theirs.micros(0.99),
        ours.rate / theirs.rate,
        p(0.5),
        p(0.99),
    );
}

/// Each connection sends its next request when the last was answered.
async fn closed_loop(address: &str, path: &str, connections: usize, duration: Duration) -> Measured {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(address.to_owned(), path.to_owned(), begin, duration)))
        .collect();
    let mut latency = Histogram::new(3).unwrap();
    for task in tasks {
        latency.add(task.await.unwrap()).unwrap();
    }
    Measured { rate: latency.len() as f64 / begin.elapsed().as_secs_f64(), latency }
}

async fn one_connection(address: String, path: String, begin: Instant, duration: Duration) -> Histogram<u64> {
    let stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut latency = Histogram::new(3).unwrap();
    while begin.elapsed() < duration {
        let sent = Instant::now();
        sender.ready().await.unwrap();
        let request = Request::get(&path).header("host", &address).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await.unwrap();
        latency.record(u64::try_from(sent.elapsed().as_nanos()).unwrap()).unwrap();
    }
    latency
}
