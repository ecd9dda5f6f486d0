//! Calls through gateway and worker of one node, against `wasmtime serve`, in turn: A B A B A B.

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
/// Pairs of measurements; the median ratio is quoted.
const ROUNDS: usize = 3;

struct Measured {
    rate: f64,
    latency: Histogram<u64>,
}

/// Compares on two components, with one connection and with sixteen.
pub(crate) async fn run() {
    println!("\n== calls: one node against wasmtime serve, fresh instance per request on both");
    println!(
        "{:<14} {:>5} {:>22} {:>26} {:>10} {:>10}",
        "component", "conns", "coracle /s p50 p99 us", "wasmtime serve /s p50 p99", "rate x", "p50 x"
    );
    let cluster = Cluster::start(crate::PROGRAM, 1).await;
    for (name, file) in
        [("hello-min", "hello-min.component.wasm"), ("rust-http", "rust-http-wasip2crate.component.wasm")]
    {
        cluster.deploy(name, &guest(file), &["--concurrency", "1000"]).await;
        let peer = Peer::serve(&guest(file)).await;
        for connections in [1, 16] {
            let mut pairs = Vec::new();
            for _ in 0..ROUNDS {
                let ours = closed_loop(&cluster.nodes[0].http, &format!("/{name}"), connections).await;
                let theirs = closed_loop(&peer.address, &format!("/{name}"), connections).await;
                pairs.push((ours, theirs));
            }
            print(name, connections, &pairs);
        }
    }
}

fn print(name: &str, connections: usize, pairs: &[(Measured, Measured)]) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let p = |measured: &Measured, quantile| measured.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let (ours, theirs) = &pairs[pairs.len() / 2];
    let rate = median(pairs.iter().map(|(ours, theirs)| ours.rate / theirs.rate).collect());
    let p50 = median(pairs.iter().map(|(ours, theirs)| p(ours, 0.5) / p(theirs, 0.5)).collect());
    println!(
        "{name:<14} {connections:>5} {:>9.0} {:>5.0} {:>6.0} {:>13.0} {:>5.0} {:>6.0} {rate:>10.2} {p50:>10.2}",
        ours.rate,
        p(ours, 0.5),
        p(ours, 0.99),
        theirs.rate,
        p(theirs, 0.5),
        p(theirs, 0.99),
    );
}

/// Each connection sends its next request when the last was answered.
async fn closed_loop(address: &str, path: &str, connections: usize) -> Measured {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(address.to_owned(), path.to_owned(), begin)))
        .collect();
    let mut latency = Histogram::new(3).unwrap();
    for task in tasks {
        latency.add(task.await.unwrap()).unwrap();
    }
    Measured { rate: latency.len() as f64 / begin.elapsed().as_secs_f64(), latency }
}

async fn one_connection(address: String, path: String, begin: Instant) -> Histogram<u64> {
    let stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut latency = Histogram::new(3).unwrap();
    while begin.elapsed() < DURATION {
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
