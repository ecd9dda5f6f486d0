//! Goal: callers who only connect, or send half of what they announce, take no place from anybody who does more.

use std::time::Duration;

use coracle_tests::{Client, Cluster, guest, within};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Connections that stay, each of which has sent so much.
async fn crowd(address: &str, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    crowd_of(1, address, count, sent).await
}

/// The same, from an address of this machine.
async fn crowd_of(caller: u8, address: &str, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let address = address.parse().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, caller], 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        // Who was turned away at once is part of the crowd too.
        let _ = stream.write_all(sent).await;
        crowd.push(stream);
    }
    crowd
}

fn open(crowd: &[TcpStream]) -> usize {
    let is_open = |stream: &&TcpStream| {
        let read = stream.try_read(&mut [0; 256]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    crowd.iter().filter(is_open).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_body_keeps_nobody_waiting() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    // One reads its request as it comes, one has it on its standard input.
    for (name, file) in [("http", "rust-http-wasip1.component.wasm"), ("command", "c-wc.wasm")] {
        cluster.deploy(name, &guest(file), &[]).await;
    }
    let mut held = Vec::new();
    for name in ["http", "command"] {
        let head = format!("POST /{name} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
        held.extend(crowd(&cluster.nodes[0].http, 110, head.as_bytes()).await);
    }
    // Not on a connection that it has already.
    let client = Client::default();
    for name in ["http", "command"] {
        let answer = client.post(&cluster.url(0, &format!("/{name}")), "one two").await.unwrap();
        println!("/{name} beside {} halves: {} after {:?}", held.len(), answer.status, answer.elapsed);
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        assert!(answer.elapsed < Duration::from_secs(1), "{:?}", answer.elapsed);
    }
    assert_eq!(open(&held), 220, "who was within its bounds was sent away");
}

/// A node whose processes have 1024 files each, as many systems grant: an eighth of the data plane's are for 7402.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_one_port_closes_no_other() {
    let limit = Rlimit { current: Some(1024), maximum: Some(1024) };
    setrlimit(Resource::Nofile, limit).expect("less is granted to anybody");
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    cluster.answers(0, "/hello").await;
    let node = &cluster.nodes[0];
    let (nothing, preface) = (&b""[..], &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]);
    for (port, address, sent, most) in [
        ("data", &node.data, nothing, 64),
        ("data, with a preface", &node.data, preface, 64),
        ("grpc", &node.grpc, nothing, 256),
        ("http", &node.http, &b"GET /hello HTTP/1.1\r\nhost:"[..], 256),
    ] {
        let held = crowd(address, 600, sent).await;
        within(Duration::from_secs(2), &format!("{port}: {most} of 600 are left"), async || {
            let open = open(&held);
            if open <= most { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .await;
        let client = Client::default();
        let answer = client.get(&cluster.url(0, "/hello")).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{port}: {}", answer.text());
        for path in ["healthz", "readyz"] {
            let answer = client.get(&format!("http://{}/{path}", node.admin)).await.unwrap();
            println!("{port}: /{path} beside 600: {} after {:?}", answer.status, answer.elapsed);
            assert_eq!(answer.status.as_u16(), 200, "{port}: {}", answer.text());
            // An answer takes less than 100 ms, and what it took is printed: five times that is for a machine that does more.
            assert!(answer.elapsed < Duration::from_millis(5 * 100), "{port}: {:?}", answer.elapsed);
        }
        let _ = cluster.run(&["node", "list"]).await.ok();
    }
    full_of_open_calls(&cluster).await;
}

/// Where each connection has an open call none makes room, and a load balancer is told.
async fn full_of_open_calls(cluster: &Cluster) {
    let node = &cluster.nodes[0];
    let client = Client::default();
    let readyz = format!("http://{}/readyz", node.admin);
    let half = b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
    // The crowd before is gone.
    within(Duration::from_secs(2), "few connections are open", async || {
        let metrics = client.get(&format!("http://{}/metrics", node.admin)).await?.text();
        let open = metrics.lines().find_map(|line| line.strip_prefix("coracle_connections "));
        let few = open.and_then(|open| open.parse().ok()).is_some_and(|open: u32| open < 10);
        if few { Ok(()) } else { Err(format!("{open:?} are open")) }
    })
    .await;
    let mut held = crowd_of(2, &node.http, 256, half).await;
    // Some more: one that came a moment ago makes room before one that was answered once.
    held.extend(crowd_of(3, &node.http, 300, half).await);
    within(Duration::from_secs(1), "/readyz says that the gateway is full", async || {
        let answer = client.get(&readyz).await?;
        let full =
            answer.status == 503 && answer.text().contains("512 open connections, all with open calls");
        if full { Ok(()) } else { Err(format!("{} with {} open", answer.text(), open(&held))) }
    })
    .await;
    drop(held);
    within(Duration::from_secs(1), "/readyz says that there is room again", async || {
        let answer = client.get(&readyz).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
