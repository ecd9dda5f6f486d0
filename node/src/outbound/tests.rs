//! Requests against a server on this machine.

use std::net::SocketAddr;

use coracle_proto::id::FunctionId;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::quota::RequestsMax;
use super::*;

/// Answers one request with `answer`, after it has seen the head.
async fn server(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the other side closes.
        let _ = stream.read(&mut [0]).await;
        String::from_utf8(head).unwrap()
    });
    (address, seen)
}

fn function(name: &str) -> FunctionId {
    FunctionId::parse("", name).unwrap()
}

async fn get(hosts: &[String], uri: String, timeouts: Timeouts) -> Result<String, OutboundError> {
    use http_body_util::BodyExt as _;
    let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let egress = Egress::new(Reach::default()).unwrap();
    let response = egress.send(&egress.requests_of(function("f")), hosts, request, timeouts).await?;
    let body = response.into_body().collect().await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_named_port_on_this_machine_is_reached_and_nothing_else_is() {
    let (address, seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let uri = format!("http://{address}/a?b");
    let denied = get(&["example.org".to_owned()], uri.clone(), Timeouts::default()).await;
    assert!(matches!(denied, Err(OutboundError::Denied(_))), "{denied:?}");
    for host in ["127.0.0.1", "localhost"] {
        let (port, hosts) = (address.port(), [host.to_owned()]);
        let other = get(&hosts, format!("http://{host}:{port}/"), Timeouts::default()).await;
        assert!(matches!(other, Err(OutboundError::Denied(_))), "{other:?}");
        for usual in ["http", "https"] {
            let private = get(&hosts, format!("{usual}://{host}/"), Timeouts::default()).await;
            assert!(matches!(private, Err(OutboundError::PrivateAddress(_))), "{private:?}");
        }
    }
    assert_eq!(get(&[address.to_string()], uri, Timeouts::default()).await.unwrap(), "hi");
    assert!(seen.await.unwrap().starts_with("GET /a?b HTTP/1.1\r\n"));
}

#[tokio::test]
async fn what_a_request_takes_of_the_processor_is_counted_for_its_call() {
    let (address, _seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let egress = Egress::new(Reach::default()).unwrap();
    let (caller, other) = (egress.requests_of(function("f")), egress.requests_of(function("f")));
    let request = http::Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).unwrap();
    let _ = egress.send(&caller, &[address.to_string()], request, Timeouts::default()).await.unwrap();
    assert!(!caller.meter().used().is_zero());
    assert!(other.meter().used().is_zero());
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let timeouts = Timeouts { between_bytes: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let (address, seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let error = get(&[address.to_string()], format!("http://{address}/"), timeouts).await;
    assert!(matches!(error, Err(OutboundError::ReadTimeout)), "{error:?}");
    seen.await.unwrap();

    let timeouts = Timeouts { first_byte: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let (address, seen) = server("").await;
    let error = get(&[address.to_string()], format!("http://{address}/"), timeouts).await;
    assert!(matches!(error, Err(OutboundError::FirstByteTimeout)), "{error:?}");
    seen.await.unwrap();
}

#[tokio::test]
async fn uris_that_hide_their_host_are_refused() {
    let hosts = ["example.org".to_owned()];
    for uri in ["http://example.org@127.0.0.1/", "ftp://example.org/", "/example.org"] {
        let error = get(&hosts, uri.to_owned(), Timeouts::default()).await;
        assert!(matches!(error, Err(OutboundError::BadUri | OutboundError::Denied(_))), "{uri}: {error:?}");
    }
}

/// Silent servers hold up a function for long; the requests of another one go out meanwhile.
#[tokio::test]
async fn a_function_that_has_all_its_requests_open_takes_none_from_others() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let egress = Egress::with(Reach::default(), RequestsMax { node: 4, function: 2, call: 2 }).unwrap();
    let send = |of_call: &Requests, address: &str| {
        let request = http::Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).unwrap();
        egress.send(of_call, &[address.to_owned()], request, Timeouts::default())
    };
    let (busy, late, other) = (
        egress.requests_of(function("f")),
        egress.requests_of(function("f")),
        egress.requests_of(function("g")),
    );
    let open = [send(&busy, &silent_address), send(&busy, &silent_address)];
    let Err(error) = send(&busy, &silent_address).await else { panic!("a third of one call") };
    assert_eq!(error.to_string(), "the call has 2 outgoing requests open on this node, and may have no more");
    let Err(error) = send(&late, &silent_address).await else { panic!("a third of one function") };
    assert!(matches!(error, OutboundError::TooMany { whose: Whose::Function, max: 2 }), "{error}");
    let (address, seen) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let answer = send(&other, &address.to_string()).await.unwrap();
    assert_eq!(answer.status(), 204);
    drop((answer, open));
    seen.await.unwrap();
    let (address, _seen) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(send(&late, &address.to_string()).await.unwrap().status(), 204, "what ended is not counted");
}
