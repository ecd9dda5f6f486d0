//! `wasi:http` components answer.

use coracle_proto::spec::Draft;

use super::fixture::{Fixture, collect, env, get, post};

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
    assert_eq!(fixture.runtime.stats().running, 0);
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
