//! Goal: however a call ends, exactly one account of it is told, and its numbers are those of the call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{Digest, InvocationId};
use coracle_proto::record::Version;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::fixture::{Fixture, Function, collect, eventually, get, post};
use super::guests::{command, http};
use crate::runtime::{Outcome, Usage};

const OK: Outcome = Outcome::Answered(StatusCode::OK);
/// More than the 17 pages that the guests of these tests begin with are not asked for.
const MEMORY: std::ops::Range<u64> = 17 << 16..32 << 20;

/// The only account since the last time.
async fn one(fixture: &Fixture) -> Usage {
    eventually("it is told", || fixture.usages.count() > 0).await;
    let mut told = fixture.usages.take();
    assert_eq!(told.len(), 1, "{told:?}");
    let usage = told.remove(0);
    assert_eq!((usage.invocation, usage.trigger), (InvocationId::new(7), "http"));
    assert!(usage.wall < Duration::from_secs(10), "{usage:?}");
    usage
}

async fn ends(fixture: &Fixture, function: &Function, code: Code) -> Usage {
    let error = match fixture.call(function, get("/")).await {
        Ok(answer) => answer.response.into_body().collect().await.map(drop).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code(), code, "{error}");
    let usage = one(fixture).await;
    assert_eq!(usage.outcome, Outcome::Failed(code));
    usage
}

#[tokio::test]
async fn an_answer_is_told_with_what_it_took() {
    let fixture = Fixture::new();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    for cold in [true, false] {
        let (_, said) = fixture.get(&hello, "/").await.unwrap();
        let usage = one(&fixture).await;
        assert_eq!((usage.outcome, usage.cold), (OK, cold));
        assert_eq!((usage.bytes_in, usage.bytes_out, usage.requests), (0, said.len() as u64, 0));
        assert_eq!(usage.version.id, hello.version.id);
        assert!(usage.memory_peak_bytes >= 1 << 16 && usage.cpu > Duration::ZERO, "{usage:?}");
        assert!(usage.wall >= usage.cpu / 2 && usage.memory_byte_seconds() > 0.0, "{usage:?}");
    }
    let echo = fixture.guest("rust-http-wasip1.component.wasm", Draft::default()).await;
    let (_, said) = collect(fixture.call(&echo, post("/", "12345")).await.unwrap()).await.unwrap();
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_in, usage.bytes_out), (OK, 5, said.len() as u64));
    let wc = fixture.guest("c-wc.wasm", Draft::default()).await;
    let (_, said) = collect(fixture.call(&wc, post("/", "a b c")).await.unwrap()).await.unwrap();
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_in, usage.bytes_out), (OK, 5, said.len() as u64));
}

#[tokio::test]
async fn each_way_to_fail_is_told_once() {
    let fixture = Fixture::new();
    let draft = || Draft { cpu_time_ms: 50, timeout_ms: 2000, ..Draft::default() };
    for (guest, code) in [
        ("(unreachable)", Code::FunctionTrapped),
        ("(loop (br 0))", Code::CpuTimeExceeded),
        ("", Code::FunctionFailed),
        ("(local.set $b (call $head (local.get $out))) (loop (br 0))", Code::CpuTimeExceeded),
    ] {
        let function = fixture.deploy("bad", &http(guest), draft()).await.unwrap();
        let usage = ends(&fixture, &function, code).await;
        assert!(MEMORY.contains(&usage.memory_peak_bytes), "{usage:?}");
        assert!(code != Code::CpuTimeExceeded || usage.cpu >= Duration::from_millis(50), "{usage:?}");
    }
    let sleeping = command("", "(call $sleep (i64.const 60000000000))");
    let function = fixture.deploy("late", &sleeping, Draft { timeout_ms: 50, ..Draft::default() }).await;
    let usage = ends(&fixture, &function.unwrap(), Code::ResponseTimeout).await;
    assert!(usage.wall >= Duration::from_millis(50) && usage.cpu < usage.wall, "{usage:?}");
    let flowing = "(local.set $s (call $stream (call $head (local.get $out))))
        (call $print (local.get $s) (i32.const 1024) (i32.const 2))
        (call $print (local.get $s) (i32.const 1024) (i32.const 2)) (unreachable)";
    let function = fixture.deploy("cut", &http(flowing), Draft::default()).await.unwrap();
    let usage = ends(&fixture, &function, Code::FunctionTrapped).await;
    assert!(usage.bytes_out <= 4, "{usage:?}");
}

#[tokio::test]
async fn what_the_runtime_refuses_is_told() {
    let fixture = Fixture::with_guests_bytes(16 << 20);
    let large = r#"(module (memory (export "memory") 400) (func (export "_start")))"#;
    let large = fixture.deploy("large", &wat::parse_str(large).unwrap(), Draft::default()).await.unwrap();
    let usage = ends(&fixture, &large, Code::Overloaded).await;
    assert_eq!((usage.memory_peak_bytes, usage.cpu), (0, Duration::ZERO));
    let version = Version { digest: Digest::new([9; 32]), ..(*large.version).clone() };
    let unknown = Function { version: Arc::new(version), ..large };
    let usage = ends(&fixture, &unknown, Code::NotReady).await;
    assert!(usage.cold);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_given_up_is_told() {
    let fixture = Arc::new(Fixture::new());
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let function = fixture.deploy("endless", &http(endless), Draft::default()).await.unwrap();
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 16);
    drop(body);
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_out), (Outcome::Abandoned, 16));
    // In the slow lane, before there is a head.
    let function = fixture.deploy("loop", &http("(loop (br 0))"), Draft::default()).await.unwrap();
    let calling = tokio::spawn({
        let (fixture, function) = (Arc::clone(&fixture), function.clone());
        async move { fixture.get(&function, "/").await }
    });
    eventually("it runs", || fixture.runtime.stats().running == 1).await;
    assert_eq!(fixture.usages.count(), 0);
    calling.abort();
    assert_eq!(one(&fixture).await.outcome, Outcome::Abandoned);
}

/// The front takes the body from such an answer, which stops its guest.
#[tokio::test]
async fn an_answer_without_a_body_is_answered_at_its_head() {
    let fixture = Fixture::new();
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let function = fixture.deploy("endless", &http(endless), Draft::default()).await.unwrap();
    let mut request = get("/");
    *request.method_mut() = Method::HEAD;
    drop(fixture.call(&function, request).await.unwrap());
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_out), (OK, 0));
}

/// Whoever has as many bytes as were declared may not ask for the end.
#[tokio::test]
async fn an_answer_that_was_taken_whole_is_answered() {
    let yields = "(loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000000))))";
    let handler = format!(
        "(local.set $b (call $sized (local.get $out) (i32.const 1029) (i32.const 1)))
        (local.set $s (call $stream (local.get $b)))
        (call $print (local.get $s) (i32.const 1024) (i32.const 2)) {yields}
        (call $print (local.get $s) (i32.const 1026) (i32.const 3)) {yields}
        (call $finish (local.get $b) (local.get $s))"
    );
    let fixture = Fixture::new();
    let function = fixture.deploy("sized", &http(&handler), Draft::default()).await.unwrap();
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    let mut taken = 0;
    while taken < 5 {
        taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(body);
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_out), (OK, 5));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_told_with_what_came() {
    let fixture = Fixture::new();
    let frames = stream::iter([Ok(Frame::data(Bytes::from("123")))]).chain(stream::pending());
    let body = StreamBody::new(frames).boxed_unsync();
    let request = ::http::Request::post("/").header("host", "example.org").body(body).unwrap();
    let draft = Draft { idle_timeout_ms: 50, ..Draft::default() };
    let echo = fixture.guest("rust-http-wasip1.component.wasm", draft).await;
    let error = fixture.call(&echo, request).await.unwrap_err();
    assert_eq!(error.code(), Code::IdleTimeout);
    let usage = one(&fixture).await;
    assert_eq!((usage.outcome, usage.bytes_in), (Outcome::Failed(Code::IdleTimeout), 3));
}
