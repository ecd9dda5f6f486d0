//! Goal: where a node has WASI 0.3, calls of its components are calls like all others; where it has not, they are refused.

mod reuse;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::spec::{Draft, ReuseDraft};
use coracle_proto::status::Code;
use futures::stream;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fixture::{Fixture, Function, call, collect, eventually, get, post};
use super::guests::{http, service};
use crate::call::{Body, CallError};
use crate::runtime::{Outcome, Usage};

/// Answers `0123`.
const HELLO: &str = "(call $head) (call $print (i32.const 1024) (i32.const 4)) (call $finish)";
/// Copies the request through the guest's memory.
const ECHO: &str = "(call $consume) (call $head)
    (block $over (loop $more
      (br_if $over (i32.eqz (local.tee $n (call $read (i32.const 8192) (i32.const 4096)))))
      (call $print (i32.const 8192) (local.get $n)) (br $more)))
    (call $trailers) (call $finish)";
/// Computes, and goes on in the slow lane.
const LONG: &str =
    "(loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 30000000))))";

async fn deployed(fixture: &Fixture, body: &str, draft: Draft) -> Function {
    fixture.deploy("service", &service(body), draft).await.unwrap()
}

/// The only account since the last time.
async fn one(fixture: &Fixture) -> Usage {
    eventually("it is told", || fixture.usages.count() > 0).await;
    let mut told = fixture.usages.take();
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

#[tokio::test]
async fn without_the_flag_it_is_refused_and_the_flag_is_named() {
    let fixture = Fixture::new();
    let refusal = fixture.deploy("service", &service(HELLO), Draft::default()).await.unwrap_err();
    assert_eq!(refusal.code, Code::UnsupportedModule);
    assert!(refusal.message.contains("'--enable-wasip3'"), "{}", refusal.message);
}

#[tokio::test]
async fn what_is_not_made_for_one_request_at_a_time_is_refused() {
    let fixture = Fixture::with_wasip3();
    let composed = r#"(component (component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
          (func (export "f") (canon lift (core func $i "f"))))
        (instance $it) (export "wasi:http/handler@0.3.0" (instance $it)))"#;
    for (text, named) in [
        (r#"(component (instance $it) (export "wasi:cli/run@0.3.0" (instance $it)))"#, "'wasi:http/handler'"),
        (r#"(component (import "wasi:http/handler@0.3.0" (instance)))"#, "'wasi:http/handler'"),
        (
            r#"(component (instance $it) (export "wasi:http/handler@0.4.0" (instance $it)))"#,
            "0.2 and 0.3 run here",
        ),
        (composed, "composed"),
    ] {
        let (_, path) = fixture.write(&wat::parse_str(text).unwrap());
        let refusal = fixture.runtime.check(&path).await.unwrap_err();
        assert_eq!(refusal.code, Code::UnsupportedModule, "{text}");
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
}

#[tokio::test]
async fn it_answers_beside_components_of_0_2() {
    let fixture = Fixture::with_wasip3();
    let function = deployed(&fixture, HELLO, Draft::default()).await;
    for _ in 0..300 {
        assert_eq!(fixture.get(&function, "/").await.unwrap(), (200, "0123".to_owned()));
    }
    assert_eq!(fixture.runtime.stats().running, 0);
    let older = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    assert_eq!(fixture.get(&older, "/").await.unwrap().0, 200);
    let (digest, artifact) = (older.version.digest, &older.artifact);
    assert!(!fixture.runtime.prepare(&digest, artifact).await.unwrap().compiled);
    let without = fixture.restarted();
    assert!(!without.is_prepared(&digest), "code of another engine");
    assert!(without.prepare(&digest, artifact).await.unwrap().compiled);
    let refusal = without.prepare(&function.version.digest, &function.artifact).await.unwrap_err();
    assert!(refusal.message.contains("'--enable-wasip3'"), "{}", refusal.message);
}

/// Two pieces and a trailer.
fn in_pieces() -> Body {
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    let frames =
        [Frame::data(Bytes::from("one ")), Frame::data(Bytes::from("two")), Frame::trailers(trailers)];
    StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync()
}

#[tokio::test]
async fn bodies_and_trailers_go_through_in_both_directions() {
    let fixture = Fixture::with_wasip3();
    for body in [ECHO, "(call $forward)"] {
        let function = deployed(&fixture, body, Draft::default()).await;
        let mut request = get("/");
        *request.body_mut() = in_pieces();
        let answer = fixture.call(&function, request).await.unwrap().response;
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "one two");
        let usage = one(&fixture).await;
        assert_eq!(
            (usage.outcome, usage.bytes_in, usage.bytes_out),
            (Outcome::Answered(StatusCode::OK), 7, 7)
        );

        let long = "x".repeat(1 << 20);
        let answer = fixture.call(&function, post("/", long.clone())).await.unwrap();
        assert_eq!(collect(answer).await.unwrap(), (200, long));
        assert_eq!(one(&fixture).await.bytes_out, 1 << 20);
    }
}

/// How a call fails, at its head or behind it.
async fn fails(fixture: &Fixture, function: &Function) -> CallError {
    match fixture.call(function, get("/")).await {
        Ok(answer) => answer.response.into_body().collect().await.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn each_bound_and_each_failure_has_its_code_and_is_told_once() {
    let fixture = Fixture::with_wasip3();
    let draft = || Draft { cpu_time_ms: 50, timeout_ms: 500, memory_bytes: 4 << 20, ..Draft::default() };
    let hungry = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let begun = "(call $head) (call $print (i32.const 1024) (i32.const 4))";
    for (body, code) in [
        ("(unreachable)", Code::FunctionTrapped),
        (&format!("{begun} (unreachable)"), Code::FunctionTrapped),
        ("(drop (call $recurse (i64.const 1) (i64.const 2)))", Code::FunctionTrapped),
        ("(loop (br 0))", Code::CpuTimeExceeded),
        (&format!("{begun} (loop (br 0))"), Code::CpuTimeExceeded),
        ("(loop (call $log (i32.const 1024) (i32.const 4)) (br 0))", Code::CpuTimeExceeded),
        ("(call $sleep (i64.const 60000000000))", Code::ResponseTimeout),
        (hungry, Code::MemoryExceeded),
        ("", Code::FunctionTrapped),
        ("(call $fail (i32.const 1024) (i32.const 4))", Code::FunctionFailed),
        (
            "(call $sized (i32.const 1029) (i32.const 1)) (call $print (i32.const 1024) (i32.const 16)) (call $finish)",
            Code::InvalidResponse,
        ),
        (
            "(call $sized (i32.const 1029) (i32.const 1)) (call $print (i32.const 1024) (i32.const 4)) (call $finish)",
            Code::InvalidResponse,
        ),
        ("(loop (call $keep) (br 0))", Code::FunctionTrapped),
    ] {
        let function = deployed(&fixture, body, draft()).await;
        let error = fails(&fixture, &function).await;
        println!("{body}: {error}");
        assert_eq!(error.code(), code, "{body}: {error}");
        assert_eq!(one(&fixture).await.outcome, Outcome::Failed(code), "{body}");
        eventually("the instance is gone", || fixture.runtime.stats().running == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_ended_and_so_is_one_that_nobody_ends() {
    let fixture = Fixture::with_wasip3();
    let draft = || Draft { idle_timeout_ms: 200, reuse: Some(ReuseDraft::default()), ..Draft::default() };
    // The store of the last one is dropped somewhere else, after its answer was told.
    for after in ["(call $sleep (i64.const 60000000000))", "", LONG] {
        let body = format!("(call $head) (call $print (i32.const 1024) (i32.const 4)) {after}");
        let function = deployed(&fixture, &body, draft()).await;
        assert_eq!(fails(&fixture, &function).await.code(), Code::IdleTimeout, "{after}");
        eventually("the instance is gone", || fixture.runtime.stats().running == 0).await;
        assert_eq!(one(&fixture).await.outcome, Outcome::Failed(Code::IdleTimeout), "{after}");
        assert_eq!(fixture.runtime.stats().resting, 0, "{after}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_guest() {
    let fixture = Fixture::with_wasip3();
    for body in [
        "(call $sleep (i64.const 60000000000))",
        "(loop (br 0))",
        "(call $head) (loop (call $print (i32.const 1024) (i32.const 16)) (br 0))",
    ] {
        let function = deployed(&fixture, body, Draft { cpu_time_ms: 60_000, ..Draft::default() }).await;
        let runtime = fixture.runtime.clone();
        let calling = tokio::spawn(async move { runtime.invoke(call(&function, get("/"))).await });
        eventually("it runs", || fixture.runtime.stats().running == 1).await;
        calling.abort();
        // One that had its head by then leaves with its answer.
        drop(calling.await);
        eventually("the instance is gone", || fixture.runtime.stats().running == 0).await;
        assert_eq!(one(&fixture).await.outcome, Outcome::Abandoned, "{body}");
    }
}

/// Its guest waits, goes on with it, or computes in the slow lane.
#[tokio::test]
async fn a_caller_that_leaves_in_mid_answer_ends_the_guests_tasks() {
    let fixture = Fixture::with_wasip3();
    let draft = || Draft { cpu_time_ms: 60_000, reuse: Some(ReuseDraft::default()), ..Draft::default() };
    let print = "(call $print (i32.const 1024) (i32.const 4))";
    // The second piece waits until the first is on its way.
    let begun = format!("(call $head) {print} {print} {print}");
    for body in [
        format!("{begun} (call $sleep (i64.const 60000000000))"),
        format!("{begun} (loop {print} (br 0))"),
        format!("{LONG} {begun} (loop (br 0))"),
    ] {
        let function = deployed(&fixture, &body, draft()).await;
        let mut answer = fixture.call(&function, get("/")).await.unwrap().response.into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "0123", "{body}");
        assert_eq!(fixture.runtime.stats().running, 1, "{body}");
        drop(answer);
        eventually("the instance is gone", || fixture.runtime.stats().running == 0).await;
        assert_eq!(one(&fixture).await.outcome, Outcome::Abandoned, "{body}");
        assert_eq!(fixture.runtime.stats().resting, 0, "{body}");
    }
}

#[tokio::test]
async fn its_lines_are_its_calls() {
    let fixture = Fixture::with_wasip3();
    let body = format!("(call $log (i32.const 1024) (i32.const 10)) {HELLO}");
    let function = deployed(&fixture, &body, Draft::default()).await;
    let mut request = get("/");
    let trace = format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8));
    request.headers_mut().insert("traceparent", trace.parse().unwrap());
    collect(fixture.call(&function, request).await.unwrap()).await.unwrap();
    eventually("they are told", || !fixture.lines.all().is_empty()).await;
    assert_eq!(fixture.lines.all(), [format!("{}: 0123456789", function.version.id)]);
    assert_eq!(fixture.lines.whose()[0].1, Some([0xab; 16]));
}

#[tokio::test]
async fn its_own_requests_go_to_granted_hosts_alone_and_tell_the_chain() {
    let fixture = Fixture::with_wasip3();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let stores: Vec<_> = address
        .bytes()
        .enumerate()
        .map(|(at, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 3000 + at))
        .collect();
    let body = format!(
        "{} (i32.store8 (i32.const 1024) (i32.add (i32.const 48)
          (call $send (i32.const 3000) (i32.const {})))) {HELLO}",
        stores.concat(),
        address.len()
    );
    let denied = deployed(&fixture, &body, Draft::default()).await;
    assert_eq!(fixture.get(&denied, "/").await.unwrap().1, "1123");
    assert_eq!(one(&fixture).await.requests, 0);
    let said = format!("'{address}' is not one of the function's 'hosts'");
    assert!(fixture.lines.all().concat().contains(&said), "{:?}", fixture.lines.all());

    let granted = deployed(&fixture, &body, Draft { hosts: vec![address.clone()], ..Draft::default() }).await;
    let mut request = get("/");
    request.headers_mut().insert("traceparent", "00-ab-cd-01".parse().unwrap());
    let answer = collect(fixture.call(&granted, request).await.unwrap()).await.unwrap();
    assert_eq!(answer.1, "0123");
    assert_eq!(one(&fixture).await.requests, 1);
    let head = server.await.unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("traceparent: 00-ab-cd-01\r\n") && head.contains("cdn-loop: coracle\r\n"),
        "{head}"
    );
}

/// Neither waits for the other.
#[tokio::test]
async fn calls_at_once_have_instances_of_their_own() {
    let fixture = Arc::new(Fixture::with_wasip3());
    let slow = format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1))) (call $sleep (i64.const 50000000))
        (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (global.get $count))) {HELLO}"
    );
    let function = deployed(&fixture, &slow, Draft::default()).await;
    let both = tokio::join!(fixture.get(&function, "/"), fixture.get(&function, "/"));
    assert_eq!((both.0.unwrap().1, both.1.unwrap().1), ("1123".to_owned(), "1123".to_owned()));
    assert!(fixture.deploy("older", &http(""), Draft::default()).await.is_ok());
    eventually("both are told", || fixture.usages.count() == 2).await;
    assert!(fixture.usages.take().iter().all(|usage| usage.cpu > Duration::ZERO));
}
