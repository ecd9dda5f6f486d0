//! Goal: pages of other origins may what anybody may who has the URL, and browsers are told so.

use super::Blobs;
use super::signed::signed;
use crate::clock;

#[tokio::test]
async fn a_page_of_another_origin_may_what_anybody_may() {
    let blobs = Blobs::start().await;
    let asks = |method| {
        [
            ("origin", "https://page.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type,X-Other, coracle-meta-a"),
        ]
    };
    let told = blobs.ask("OPTIONS", "b/k", &asks("PUT"), "").await;
    let names = ["origin", "methods", "headers", "max-age"];
    let allow = names.map(|name| match name {
        "max-age" => told.header("access-control-max-age"),
        name => told.header(&format!("access-control-allow-{name}")),
    });
    assert_eq!(allow, ["*", "GET, HEAD, PUT", "content-type, coracle-meta-a", "3600"]);
    assert_eq!((told.status, told.header("access-control-allow-credentials")), (204, ""));
    assert_eq!(blobs.ask("OPTIONS", "b/k", &asks("DELETE"), "").await.status, 405);
    let seen = ["access-control-allow-origin", "access-control-expose-headers"];
    let said =
        [("origin", "https://page.example"), ("coracle-meta-a", "x"), ("content-disposition", "attachment")];
    let put = blobs.ask("PUT", "b/k", &said, "hello").await;
    assert_eq!((put.status, put.header(seen[0])), (201, "*"));
    let got = blobs.get("b/k").await;
    assert_eq!((got.header(seen[0]), got.header("content-disposition")), ("*", "attachment"));
    assert!(got.header(seen[1]).ends_with("etag, coracle-meta-a"), "{got:?}");
    assert_eq!(blobs.ask("DELETE", "b/k", &[], "").await.header(seen[0]), "");
    blobs.stores[0].state().blob_buckets.get_mut("b").unwrap().access = "signed";
    let refused = blobs.get("b/k").await;
    assert_eq!(
        (refused.status, refused.header(seen[0])),
        (403, ""),
        "nothing is told of what needs a signature"
    );
    let signature = signed("PUT", "k", clock::unix_ms() / 1000 + 100);
    let put = blobs.ask("PUT", &format!("b/k?{signature}"), &said, "hello").await;
    assert_eq!((put.status, put.header(seen[0])), (201, "*"));
}
