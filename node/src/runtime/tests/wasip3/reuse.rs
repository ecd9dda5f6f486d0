//! Goal: an instance of 0.3 serves one call after another where its function asks for it and nothing of a call is left in it.

use coracle_proto::spec::{Draft, ReuseDraft};

use super::deployed;
use crate::runtime::tests::fixture::{Fixture, eventually};

/// What lets go of the request.
const FORGET: &str = "(call $forget (global.get $req))";

/// Counts the calls of its instance, does something, and answers with the count.
fn counts(then: &str) -> String {
    format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1))) {then}
        (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (global.get $count)))
        (call $head) (call $print (i32.const 1024) (i32.const 1)) (call $finish)"
    )
}

/// The handler `body` of an instance that does `start` when it is made. Behind a handler the guest's text goes on with the end of
/// a function: here of one that nobody calls.
fn started(start: &str, body: &str) -> String {
    format!(
        r#"{body} (i32.const 0))
        (func (export "_initialize") (local $n i32) {start})
        (func (result i32)"#
    )
}

/// What four calls of a guest say that counts them and does something, with what the platform said of it.
async fn four(then: &str, draft: Draft) -> (String, Fixture) {
    four_of(&counts(then), draft).await
}

async fn four_of(body: &str, draft: Draft) -> (String, Fixture) {
    let fixture = Fixture::with_wasip3();
    let function = deployed(&fixture, body, draft).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(match fixture.get_to_the_end(&function, "/").await {
            Ok((_, said)) => said,
            Err(error) => error.code().name().to_owned(),
        });
    }
    (all.join(" "), fixture)
}

fn reuse(calls: u32) -> Draft {
    Draft { reuse: Some(ReuseDraft { calls, age_ms: 0 }), ..Draft::default() }
}

#[tokio::test]
async fn only_where_it_is_asked_for_and_so_many_times() {
    assert_eq!(four(FORGET, Draft::default()).await.0, "1 1 1 1");
    let (all, fixture) = four(FORGET, reuse(0)).await;
    let stats = fixture.runtime.stats();
    assert_eq!((all.as_str(), stats.resting, stats.running), ("1 2 3 4", 1, 0), "{:?}", fixture.lines.all());
    eventually("each is told", || fixture.usages.count() == 4).await;
    assert_eq!(four(FORGET, reuse(2)).await.0, "1 2 1 2");
    let reads = "(call $consume) (drop (call $read (i32.const 8192) (i32.const 64))) (call $trailers)
        (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 520) (i32.const 0))
        (call $log (i32.const 1024) (i32.const 4))";
    let (all, fixture) = four(reads, reuse(0)).await;
    assert_eq!(all, "1 2 3 4", "{:?}", fixture.lines.all());
}

#[tokio::test]
async fn not_by_one_that_holds_on_to_its_calls() {
    for kept in ["", "(call $forget (global.get $req)) (call $keep)", "(call $consume)"] {
        let (all, fixture) = four(kept, reuse(0)).await;
        assert_eq!((all.as_str(), fixture.runtime.stats().resting), ("1 1 1 1", 0), "{kept}");
        let said = fixture.lines.all().concat();
        assert!(said.contains("'reuse' has no effect"), "{kept}: {said}");
    }
}

/// What it opened before its first call could not be told from what it has kept of that one: a later call could read the body.
#[tokio::test]
async fn not_by_one_that_held_streams_before_its_first_call() {
    const OPENS: &str = "(loop (i64.store offset=3072 (local.get $n) (call $body_new))
        (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 8))) (i32.const 64))))";
    const CLOSES: &str = "(loop (call $body_close (call $writer (i64.load offset=3072 (local.get $n))))
        (call $in_close (call $reader (i64.load offset=3072 (local.get $n))))
        (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 8))) (i32.const 64))))";
    let (all, fixture) = four_of(&started("", &counts(FORGET)), reuse(0)).await;
    assert_eq!((all.as_str(), fixture.runtime.stats().resting), ("1 2 3 4", 1), "it opened none");
    for then in [format!("{CLOSES} (call $consume)"), format!("{CLOSES} {FORGET}"), FORGET.to_owned()] {
        // Once an instance has closed them there is nothing left to close.
        let then = format!("(if (i32.eq (global.get $count) (i32.const 1)) (then {then}) (else {FORGET}))");
        let (all, fixture) = four_of(&started(OPENS, &counts(&then)), reuse(0)).await;
        assert_eq!((all.as_str(), fixture.runtime.stats().resting), ("1 1 1 1", 0), "{then}");
        let said = fixture.lines.all().concat();
        assert!(said.contains("'reuse' has no effect"), "{then}: {said}");
    }
}

#[tokio::test]
async fn not_after_a_failure() {
    let trap = "(call $forget (global.get $req)) (if (i32.eq (global.get $count) (i32.const 3)) (then (unreachable)))";
    assert_eq!(four(trap, reuse(0)).await.0, "1 2 function-trapped 1");
}
