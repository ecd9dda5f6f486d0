//! Each bound of a call ends it with the error that names it.

use std::time::Duration;

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use http_body_util::{BodyExt as _, StreamBody};

use super::fixture::{Fixture, body, collect, eventually, get, post};
use super::guests::{command, http};
use crate::call::{Call, CallError};
use crate::clock;

/// What a GET to a component with such a handler comes to.
async fn http_error(handler: &str, draft: Draft) -> CallError {
    let fixture = Fixture::new();
    let function = fixture.deploy("bad", &http(handler), draft).await.unwrap();
    let error = fixture.get(&function, "/").await.unwrap_err();
    println!("{}: {error}", error.code());
    eventually("the instance is gone", || fixture.runtime.stats().running == 0).await;
    error
}

async fn command_error(text: &str, start: &str, draft: Draft) -> CallError {
    let fixture = Fixture::new();
    let function = fixture.deploy("bad", &command(text, start), draft).await.unwrap();
    let error = fixture.get(&function, "/").await.unwrap_err();
    println!("{}: {error}", error.code());
    error
}

const LOOP: &str = "(loop (br 0))";

#[tokio::test]
async fn cpu_time() {
    let began = clock::now();
    let error = http_error(LOOP, Draft { cpu_time_ms: 50, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::CpuTimeExceeded);
    assert!(error.to_string().contains("50 ms"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn cpu_time_counts_after_the_head_too() {
    let handler = "(local.set $b (call $head (local.get $out))) (loop (br 0))";
    let error = http_error(handler, Draft { cpu_time_ms: 50, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::CpuTimeExceeded);
}

#[tokio::test]
async fn time_to_the_head() {
    let error = http_error(LOOP, Draft { timeout_ms: 50, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::ResponseTimeout);
    let sleeping = "(call $sleep (i64.const 60000000000))";
    let error = command_error("", sleeping, Draft { timeout_ms: 50, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::ResponseTimeout);
}

#[tokio::test]
async fn memory() {
    let hungry = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let error = http_error(hungry, Draft { memory_bytes: 4 << 20, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::MemoryExceeded);
    let error = http_error("", Draft { memory_bytes: 1 << 20, ..Draft::default() }).await;
    assert_eq!(error.code(), Code::MemoryExceeded, "17 pages at once");
}

#[tokio::test]
async fn a_guest_that_copes_with_refused_memory_answers() {
    let polite = "(drop (memory.grow (i32.const 1000))) (local.set $b (call $head (local.get $out)))
        (local.set $s (call $stream (local.get $b))) (call $print (local.get $s) (i32.const 1024) (i32.const 4))
        (call $finish (local.get $b) (local.get $s))";
    let fixture = Fixture::new();
    let draft = Draft { memory_bytes: 4 << 20, ..Draft::default() };
    let function = fixture.deploy("polite", &http(polite), draft).await.unwrap();
    assert_eq!(fixture.get(&function, "/").await.unwrap(), (200, "0123".to_owned()));
}

#[tokio::test]
async fn what_the_host_keeps_for_a_guest() {
    let fields = "(loop (drop (call $fields)) (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000))))";
    let error = http_error(fields, Draft::default()).await;
    assert_eq!(error.code(), Code::FunctionTrapped, "a thousand resources: {error}");
    let chunk = |bytes| {
        format!(
            "(local.set $s (call $stream (call $head (local.get $out))))
            (call $write_now (local.get $s) (i32.const 4096) (i32.const {bytes}) (i32.const 64)) (loop (br 0))"
        )
    };
    let draft = || Draft { cpu_time_ms: 50, ..Draft::default() };
    let error = http_error(&chunk(16 << 10), draft()).await;
    assert_eq!(error.code(), Code::CpuTimeExceeded, "so much is taken");
    let error = http_error(&chunk((16 << 10) + 1), draft()).await;
    assert_eq!(error.code(), Code::FunctionTrapped, "a larger piece of a body: {error}");
}

#[tokio::test]
async fn a_failure_after_a_refused_allocation_is_named_by_what_it_is() {
    let refused = "(drop (memory.grow (i32.const 60000)))";
    let recurse = format!("{refused} (drop (call $recurse (i64.const 1) (i64.const 2)))");
    let error = http_error(&recurse, small()).await;
    assert_eq!(error.code(), Code::FunctionTrapped, "its stack was too small, not its memory");
    let error = command_error("", &format!("{refused} (call $exit (i32.const 3))"), small()).await;
    assert_eq!(error.code(), Code::FunctionFailed);
    assert!(error.to_string().contains("status 3; it had asked for more"), "{error}");
    let error = http_error(&format!("{refused} (unreachable)"), small()).await;
    assert_eq!(error.code(), Code::MemoryExceeded);
}

fn small() -> Draft {
    Draft { memory_bytes: 4 << 20, ..Draft::default() }
}

#[tokio::test]
async fn the_time_to_the_head_is_named_as_the_spec_has_it() {
    let fixture = Fixture::new();
    let function = fixture.deploy("slow", &http(LOOP), Draft::default()).await.unwrap();
    let call = Call { head_timeout: Duration::from_millis(20), ..super::fixture::call(&function, get("/")) };
    let error = fixture.runtime.invoke(call).await.unwrap_err();
    assert!(error.to_string().contains("within 30000 ms"), "{error}");
}

#[tokio::test]
async fn traps() {
    let error = http_error("(unreachable)", Draft::default()).await;
    assert_eq!(error.code(), Code::FunctionTrapped);
    assert!(error.to_string().contains("unreachable"), "{error}");
    let error = http_error("(drop (call $recurse (i64.const 1) (i64.const 2)))", Draft::default()).await;
    assert_eq!(error.code(), Code::FunctionTrapped);
    assert!(error.to_string().contains("call stack exhausted"), "{error}");
    let after_head = "(local.set $b (call $head (local.get $out))) (unreachable)";
    assert_eq!(http_error(after_head, Draft::default()).await.code(), Code::FunctionTrapped);
    assert_eq!(http_error("", Draft::default()).await.code(), Code::FunctionFailed, "no answer");
}

#[tokio::test]
async fn a_trap_is_logged_with_its_stack() {
    let fixture = Fixture::new();
    let function = fixture.deploy("bad", &http("(unreachable)"), Draft::default()).await.unwrap();
    fixture.get(&function, "/").await.unwrap_err();
    let lines = fixture.lines.all();
    assert!(lines.iter().any(|line| line.contains("wasm backtrace")), "{lines:?}");
}

#[tokio::test]
async fn idle_time_of_a_response() {
    let draft = || Draft { idle_timeout_ms: 50, ..Draft::default() };
    let text = "(call $print (i32.const 1024) (i32.const 4)) (call $sleep (i64.const 60000000000))";
    assert_eq!(command_error("text", text, draft()).await.code(), Code::IdleTimeout);
}

#[tokio::test]
async fn idle_time_of_a_request() {
    let fixture = Fixture::new();
    let draft = Draft { idle_timeout_ms: 50, ..Draft::default() };
    let function = fixture.guest("rust-http-wasip1.component.wasm", draft.clone()).await;
    let silent = || StreamBody::new(futures::stream::pending()).boxed_unsync();
    let request = http_request(silent());
    let error = fixture.call(&function, request).await.unwrap_err();
    assert_eq!(error.code(), Code::IdleTimeout);

    let function = fixture.guest("rust-wc-wasip1.wasm", draft).await;
    let error = fixture.call(&function, http_request(silent())).await.unwrap_err();
    assert_eq!(error.code(), Code::IdleTimeout);
}

fn http_request(body: crate::call::Body) -> ::http::Request<crate::call::Body> {
    ::http::Request::post("/").header("host", "example.org").body(body).unwrap()
}

#[tokio::test]
async fn sizes_of_a_command() {
    let fixture = Fixture::new();
    let function = fixture.guest("rust-wc-wasip1.wasm", Draft::default()).await;
    let error = fixture.call(&function, post("/", vec![b'a'; (6 << 20) + 1])).await.unwrap_err();
    assert_eq!(error.code(), Code::RequestTooLarge);
    let (status, _) =
        collect(fixture.call(&function, post("/", vec![b'a'; 6 << 20])).await.unwrap()).await.unwrap();
    assert_eq!(status, 200);

    let flood = "(loop (call $print (i32.const 0) (i32.const 65536)) (br 0))";
    let error = command_error("", flood, Draft::default()).await;
    assert_eq!(error.code(), Code::ResponseTooLarge);
}

#[tokio::test]
async fn a_streamed_answer_flows_and_a_flood_is_held_back() {
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let fixture = Fixture::new();
    let function = fixture.deploy("endless", &http(endless), Draft::default()).await.unwrap();
    let answer = fixture.call(&function, get("/")).await.unwrap();
    let mut stream = answer.response.into_body();
    for _ in 0..1000 {
        let data = stream.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "0123456789abcdef");
    }
    assert_eq!(fixture.runtime.stats().running, 1);
    drop(stream);
    eventually("its instance is freed", || fixture.runtime.stats().running == 0).await;
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let fixture = Fixture::new();
    let function = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let request = ::http::Request::get("/").body(body("")).unwrap();
    assert_eq!(fixture.call(&function, request).await.unwrap_err().code(), Code::BadRequest);
}
