//! Goal: what a bucket's access does not allow needs a signature that is good for just that.

use super::Blobs;
use crate::blobs::hex;
use crate::clock;
use crate::stores::tests::fake::blobs::signature;

pub(super) fn signed(method: &str, key: &str, expires: u64) -> String {
    format!("expires={expires}&signature={}", hex(&signature(method, "b", key, expires)))
}

#[tokio::test]
async fn a_signature_is_good_for_one_key_one_method_and_some_time() {
    let blobs = Blobs::start().await;
    blobs.stores[0].state().blob_buckets.get_mut("b").unwrap().access = "signed";
    let ask = async |method: &str, query: &str| {
        let answer = blobs.ask(method, &format!("b/k?{query}"), &[], "hello").await;
        (answer.status, answer.header("coracle-error").to_owned())
    };
    let later = clock::unix_ms() / 1000 + 100;
    let refused = (403, "signature-refused".to_owned());
    let (get, put, delete) =
        (signed("GET", "k", later), signed("PUT", "k", later), signed("DELETE", "k", later));
    for (method, query) in [
        ("PUT", String::new()),
        ("PUT", get.clone()),
        ("PUT", signed("PUT", "other", later)),
        ("PUT", signed("PUT", "k", 1)),
        ("PUT", put.replace("expires=", "expires=9")),
        ("PUT", put.split_once('&').unwrap().0.to_owned()),
        ("PUT", put.split_once('&').unwrap().1.to_owned()),
        ("PUT", format!("{put}0")),
        ("POST", format!("uploads&{get}")),
    ] {
        assert_eq!(ask(method, &query).await, refused, "{method} {query}");
    }
    assert_eq!(ask("PUT", &put).await.0, 201);
    assert_eq!(ask("POST", &format!("uploads&{put}")).await.0, 200);
    for method in ["GET", "HEAD"] {
        assert_eq!((ask(method, &get).await.0, ask(method, &put).await.0), (200, 403));
    }
    assert_eq!(blobs.get("b").await.problem(), (403, "signature-refused"));
    assert_eq!(blobs.get(&format!("b?{}", signed("GET", "", later))).await.status, 200);
    assert_eq!((ask("DELETE", &put).await, ask("DELETE", &delete).await.0), (refused, 204));
}

#[tokio::test]
async fn a_bucket_may_let_anybody_read() {
    let blobs = Blobs::start().await;
    blobs.ask("PUT", "b/k", &[], "hello").await;
    blobs.stores[0].state().blob_buckets.get_mut("b").unwrap().access = "read";
    assert_eq!((blobs.get("b/k").await.status, blobs.get("b").await.status), (200, 200));
    for method in ["PUT", "DELETE"] {
        assert_eq!(blobs.ask(method, "b/k", &[], "x").await.problem(), (403, "signature-refused"));
    }
}
