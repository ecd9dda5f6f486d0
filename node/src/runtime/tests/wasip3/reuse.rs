//! Goal: an instance of 0.3 serves one call after another where its function asks for it and nothing of a call is left in it.

use coracle_proto::spec::{Draft, ReuseDraft};

use super::deployed;
use crate::runtime::tests::fixture::Fixture;

/// What four calls say of a guest that counts them and does something, with what the platform said of it.
async fn four(then: &str, draft: Draft) -> (String, Fixture) {
    let fixture = Fixture::with_wasip3();
    let body = format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1))) {then}
        (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (global.get $count)))
        (call $head) (call $print (i32.const 1024) (i32.const 1)) (call $finish)"
    );
    let function = deployed(&fixture, &body, draft).await;
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
    const FORGET: &str = "(call $forget (global.get $req))";
    assert_eq!(four(FORGET, Draft::default()).await.0, "1 1 1 1");
    let (all, fixture) = four(FORGET, reuse(0)).await;
    let stats = fixture.runtime.stats();
    assert_eq!((all.as_str(), stats.resting, stats.running), ("1 2 3 4", 1, 0), "{:?}", fixture.lines.all());
    assert_eq!(fixture.usages.take().len(), 4);
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

#[tokio::test]
async fn not_after_a_failure() {
    let trap = "(call $forget (global.get $req)) (if (i32.eq (global.get $count) (i32.const 3)) (then (unreachable)))";
    assert_eq!(four(trap, reuse(0)).await.0, "1 2 function-trapped 1");
}
