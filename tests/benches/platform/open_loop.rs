//! An open loop: requests are sent when they are due, not when the one before was answered, and each is timed from when it
//! was due. Who waits in line behind a slow answer is counted with its wait. A process of its own: see `main`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What is sent.
pub(crate) struct Plan {
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) connections: usize,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
}

impl Plan {
    /// From a command line, as [`Self::arguments`] made it.
    pub(crate) fn parse(arguments: &[String]) -> Self {
        let [address, path, connections, rate, seconds] = arguments else {
            panic!("not a plan: {arguments:?}")
        };
        Self {
            address: address.clone(),
            path: path.clone(),
            connections: connections.parse().unwrap(),
            rate: rate.parse().unwrap(),
            duration: Duration::from_secs_f64(seconds.parse().unwrap()),
        }
    }

    pub(crate) fn arguments(&self) -> [String; 5] {
        let seconds = self.duration.as_secs_f64().to_string();
        [
            self.address.clone(),
            self.path.clone(),
            self.connections.to_string(),
            self.rate.to_string(),
            seconds,
        ]
    }
}

/// Sends, and prints the 50th and 99th percentile in microseconds. Each connection has a thread, whose sleeps are as exact as
/// the kernel's; whichever is free takes what is due next.
pub(crate) fn run(plan: Plan) {
    let (plan, next) = (Arc::new(plan), Arc::new(AtomicU32::new(0)));
    // All are connected when the first is due.
    let begin = Instant::now() + Duration::from_millis(100);
    let threads: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (plan, next) = (Arc::clone(&plan), Arc::clone(&next));
            std::thread::spawn(move || connection(&plan, &next, begin))
        })
        .collect();
    let mut latency = Histogram::<u64>::new(3).unwrap();
    for thread in threads {
        latency.add(thread.join().unwrap()).unwrap();
    }
    println!("{} {}", latency.value_at_quantile(0.5), latency.value_at_quantile(0.99));
}

fn connection(plan: &Plan, next: &AtomicU32, begin: Instant) -> Histogram<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sender = runtime.block_on(async {
        let stream = TcpStream::connect(&plan.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    });
    let mut latency = Histogram::new(3).unwrap();
    loop {
        let due = Duration::from_secs(1).div_f64(plan.rate) * next.fetch_add(1, Ordering::Relaxed);
        if due >= plan.duration {
            return latency;
        }
        let due = begin + due;
        std::thread::sleep(due.saturating_duration_since(Instant::now())); // a bounded poll: until it is due
        runtime.block_on(async {
            sender.ready().await.unwrap();
            let request =
                Request::get(&plan.path).header("host", &plan.address).body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert!(response.status().is_success(), "{}", response.status());
            response.into_body().collect().await.unwrap();
        });
        latency.record(u64::try_from(due.elapsed().as_micros()).unwrap()).unwrap();
    }
}
