//! `wasi:http` components answer.

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use http_body_util::BodyExt as _;

use super::fixture::{Fixture, collect, env, eventually, get, post};
use super::guests::http;
use crate::call::CallError;

#[tokio::test]
async fn the_smallest_component_answers_cold_and_warm() {
    let fixture = Fixture::new();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let first = fixture.call(&hello, get("/")).await.unwrap();
    assert!(first.cold);
    let (status, body) = collect(first).await.unwrap();
    println!("{status} {body:?}");
    assert_eq!(status, 200);
    let second = fixture.call(&hello, get("/")).await.unwrap();
    assert!(!second.cold);
    assert_eq!(collect(second).await.unwrap(), (status, body.clone()));
    // Many in one task that never waits: tokio's budget of such a task runs out meanwhile.
    for _ in 0..300 {
        assert_eq!(fixture.get(&hello, "/").await.unwrap(), (status, body.clone()));
    }
    eventually("the last instance is freed", || fixture.runtime.stats().running == 0).await;
    assert_eq!(fixture.runtime.stats().resident, 1);
}

#[tokio::test]
async fn components_of_three_tool_chains_answer() {
    let fixture = Fixture::new();
    let rust = fixture.guest("rust-http-wasip2crate.component.wasm", Draft::default()).await;
    let (status, body) = fixture.get(&rust, "/a/b").await.unwrap();
    assert_eq!(
        (status, body.contains("hello from Rust"), body.contains("/a/b")),
        (200, true, true),
        "{body}"
    );

    let c = fixture.guest("c-http.component.wasm", Draft::default()).await;
    let (status, body) = fixture.get(&c, "/").await.unwrap();
    println!("C: {status} {body:?}");
    assert_eq!(status, 200);

    let draft = Draft { env: env(&[("WHO", "tester")]), ..Draft::default() };
    let rust = fixture.guest("rust-http-wasip1.component.wasm", draft).await;
    let answer = fixture.call(&rust, post("/x?y", "12345")).await.unwrap();
    assert_eq!(answer.response.headers()["x-lang"], "rust");
    let (status, body) = collect(answer).await.unwrap();
    println!("Rust: {status} {body:?} {:?}", fixture.lines.all());
    assert!(body.contains("tester") && body.contains('5'), "{body}");
    assert!(!fixture.lines.all().is_empty(), "it logs a line");
}

/// Head with `content-length: 5`, so many bytes, and whatever comes after them.
async fn five_declared(bytes: usize, after: &str) -> Result<(u16, String), CallError> {
    let fixture = Fixture::new();
    let handler = format!(
        "(local.set $b (call $sized (local.get $out) (i32.const 1029) (i32.const 1)))
        (local.set $s (call $stream (local.get $b)))
        (call $print (local.get $s) (i32.const 1024) (i32.const {bytes})) {after}"
    );
    let function = fixture.deploy("sized", &http(&handler), Draft::default()).await.unwrap();
    fixture.get(&function, "/").await
}

const FINISH: &str = "(call $finish (local.get $b) (local.get $s))";
/// Until the head is on its way, so that the body streams.
const YIELD: &str = "(loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000000))))";

#[tokio::test]
async fn a_body_is_as_long_as_its_head_declares() {
    assert_eq!(five_declared(5, FINISH).await.unwrap(), (200, "01234".to_owned()));
    for after in ["", FINISH, YIELD] {
        let error = five_declared(16, after).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidResponse, "16 {after}: {error}");
        assert!(error.to_string().contains("content-length is 5"), "{error}");
    }
    for after in ["", FINISH, YIELD] {
        let error = five_declared(3, after).await.unwrap_err();
        assert!(matches!(error.code(), Code::FunctionFailed | Code::InvalidResponse), "3 {after}: {error}");
    }
}

/// Until the first piece has gone out, what fails has no answer but its error.
#[tokio::test]
async fn a_guest_that_fails_after_its_head_is_an_error_until_its_body_flows() {
    let fixture = Fixture::new();
    let head = "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))";
    let print = "(call $print (local.get $s) (i32.const 1024) (i32.const 2))";
    let work = "(loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200000))))";
    for (body, code) in [
        ("(unreachable)".to_owned(), Code::FunctionTrapped),
        (format!("{YIELD} (unreachable)"), Code::FunctionTrapped),
        (YIELD.to_owned(), Code::FunctionFailed),
        (format!("{print} (unreachable)"), Code::FunctionTrapped),
        (format!("{print} {work} (unreachable)"), Code::FunctionTrapped),
        (format!("{print} {work}"), Code::FunctionFailed),
    ] {
        let function =
            fixture.deploy("late", &http(&format!("{head} {body}")), Draft::default()).await.unwrap();
        for _ in 0..15 {
            let error = fixture.call(&function, get("/")).await.unwrap_err();
            assert_eq!(error.code(), code, "{body}: {error}");
        }
        let said = format!("the call failed: {}", fixture.call(&function, get("/")).await.unwrap_err());
        assert!(fixture.lines.all().last().unwrap().contains(&said), "{:?}", fixture.lines.all().last());
    }
    let flowing = format!("{head} {print} {print} {work} (unreachable)");
    let function = fixture.deploy("later", &http(&flowing), Draft::default()).await.unwrap();
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    for _ in 0..2 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "01");
    }
    assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::FunctionTrapped);
    assert!(fixture.lines.all().last().unwrap().contains("the answer broke off: the function trapped"));
}

/// In the slow lane a guest fails while its caller looks on, and on a busy machine its moment may come too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_guest_that_fails_after_its_first_piece_has_no_whole_answer() {
    let fixture = Fixture::new();
    let guest = "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 30000000))))
        (call $print (local.get $s) (i32.const 1024) (i32.const 2)) (unreachable)";
    let function = fixture.deploy("long", &http(guest), Draft::default()).await.unwrap();
    let mut broken_off = 0;
    for _ in 0..15 {
        let error = match fixture.call(&function, get("/")).await {
            Ok(answer) => {
                broken_off += 1;
                answer.response.into_body().collect().await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(error.code(), Code::FunctionTrapped, "{error}");
    }
    println!("{broken_off} of 15 were broken off, the others had the error for an answer");
}

#[tokio::test]
async fn a_body_that_was_not_finished_is_not_whole() {
    let fixture = Fixture::new();
    for pause in ["", YIELD] {
        let handler = format!(
            "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
            (call $print (local.get $s) (i32.const 1024) (i32.const 16)) {pause}"
        );
        let function = fixture.deploy("half", &http(&handler), Draft::default()).await.unwrap();
        let error = fixture.get(&function, "/").await.unwrap_err();
        assert_eq!(error.code(), Code::FunctionFailed, "{error}");
    }
}

#[tokio::test]
async fn the_text_of_a_guests_error_is_bounded() {
    let fixture = Fixture::new();
    let fail = |bytes| format!("(call $fail (local.get $out) (i32.const 4096) (i32.const {bytes}))");
    let function = fixture.deploy("wordy", &http(&fail(60_000)), Draft::default()).await.unwrap();
    let error = fixture.get(&function, "/").await.unwrap_err();
    assert_eq!((error.code(), error.refusal.message.len()), (Code::FunctionFailed, 4 << 10));
    let function = fixture.deploy("wordy", &http(&fail(1_000_000)), Draft::default()).await.unwrap();
    assert_eq!(fixture.get(&function, "/").await.unwrap_err().code(), Code::FunctionTrapped);
}
