//! Goal: readers get the bytes that they ask for, on their conditions, also when stores are lost on the way.

use http_body_util::BodyExt as _;

use super::{Blobs, HELLO, content};
use crate::front::tests::world::empty;
use crate::worker::tests::until;

#[tokio::test]
async fn ranges_and_conditions_are_heeded() {
    let blobs = Blobs::start().await;
    blobs.ask("PUT", "b/k", &[], "hello").await;
    const AT: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
    for (headers, status, range, body) in [
        (&[("range", "bytes=1-3")][..], 206, "bytes 1-3/5", "ell"),
        (&[("range", "bytes=-2")], 206, "bytes 3-4/5", "lo"),
        (&[("range", "bytes=2-")], 206, "bytes 2-4/5", "llo"),
        (&[("range", "bytes=0-0,2-3")], 200, "", "hello"),
        (&[("range", "pages=1-2")], 200, "", "hello"),
        (&[("range", "bytes=1-1"), ("if-range", HELLO)], 206, "bytes 1-1/5", "e"),
        (&[("range", "bytes=1-1"), ("if-range", "\"other\"")], 200, "", "hello"),
        (&[("range", "bytes=1-1"), ("if-range", AT)], 200, "", "hello"),
        (&[("if-none-match", HELLO)], 304, "", ""),
        (&[("if-none-match", HELLO), ("range", "bytes=1-1")], 304, "", ""),
        (&[("if-modified-since", AT)], 304, "", ""),
        (&[("if-match", HELLO)], 200, "", "hello"),
    ] {
        let answer = blobs.ask("GET", "b/k", headers, "").await;
        let seen = (answer.status, answer.header("content-range"), answer.text());
        assert_eq!(seen, (status, range, body), "{headers:?}");
        assert_eq!(answer.header("etag"), HELLO);
    }
    let beyond = blobs.ask("GET", "b/k", &[("range", "bytes=5-")], "").await;
    assert_eq!(
        (beyond.problem(), beyond.header("content-range")),
        ((416, "range-not-satisfiable"), "bytes */5")
    );
    let other = blobs.ask("GET", "b/k", &[("if-match", "\"other\"")], "").await;
    assert_eq!(other.problem(), (412, "precondition-failed"));
    let head = blobs.ask("HEAD", "b/k", &[("range", "bytes=1-1")], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "5"), "a range is of GET");
    let head = blobs.ask("HEAD", "b/k", &[("if-none-match", "*")], "").await;
    assert_eq!(head.status, 304);
    assert_eq!(blobs.ask("HEAD", "b/none", &[], "").await.status, 404);
}

#[tokio::test]
async fn stores_that_are_lost_on_the_way_are_not_noticed() {
    let blobs = Blobs::start().await;
    let data = content(9 << 20);
    blobs.stores[1].state().kept.breaks_after = Some(5 << 20);
    assert_eq!(blobs.ask("PUT", "b/k", &[], data.clone()).await.status, 201);
    until("two have all of it", || {
        [0, 2].iter().all(|index| blobs.stores[*index].state().kept.chunks.len() == 3)
    })
    .await;
    {
        let kept = &mut blobs.stores[2].state().kept;
        kept.breaks_after = Some(kept.taken + (2 << 20));
    }
    assert!(blobs.get("b/k").await.body == data);
    let some = blobs.ask("GET", "b/k", &[("range", "bytes=4194300-4194310")], "").await;
    assert!(some.status == 206 && some.body == data.slice(4_194_300..4_194_311));
}

/// What nobody has is told with a status where that is known at once, and breaks off where it is not.
#[tokio::test]
async fn what_nobody_has_is_never_sent_as_if_it_were_whole() {
    let blobs = Blobs::start().await;
    let data = content(9 << 20);
    assert_eq!(blobs.ask("PUT", "b/k", &[], data.clone()).await.status, 201);
    for store in &blobs.stores {
        store.state().kept.chunks.retain(|key, _| key.2 != 1);
    }
    let first = blobs.ask("GET", "b/k", &[("range", "bytes=0-4194303")], "").await;
    assert!(first.status == 206 && first.body == data.slice(..4 << 20));
    let second = blobs.ask("GET", "b/k", &[("range", "bytes=4194304-4194305")], "").await;
    assert_eq!(second.problem(), (503, "no-quorum"));
    let whole = blobs.world.send(blobs.request("GET", "b/k", &[]).body(empty()).unwrap()).await;
    assert_eq!(whole.status(), 200);
    assert!(whole.into_body().collect().await.is_err(), "it broke off");
    until("its place is given back", || blobs.world.front.inner.open.count() == 0).await;
}
