//! Goal: blobs are written, read, listed and deleted over real HTTP, whole or not at all, and every refusal says what was wrong.

mod leading;
mod leaving;
mod origins;
mod parts;
mod reading;
mod signed;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::SpanKind;

use super::recorder::Recorder;
use super::spans::{CALLER, attribute, one};
use super::world::{Plan, SendBody, World, empty};
use crate::front::Options;
use crate::stores::tests::fake::Store;
use crate::stores::tests::fake::blobs::BlobBucket;
use crate::worker::tests::{Guest, text, until};

/// A gateway, and three stores, of which the first one leads. All namespaces that are named have the bucket `b`.
pub(super) struct Blobs {
    pub(super) world: World,
    pub(super) stores: [Store; 3],
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn problem(&self) -> (u16, &str) {
        (self.status, self.header("coracle-error"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Blobs {
    pub(super) async fn start() -> Self {
        Self::with(Options::DEFAULTS).await
    }

    pub(super) async fn with(options: Options) -> Self {
        let mut plan = Plan::local(Guest::new(async |_| Ok(text("ran"))));
        plan.options = options;
        let (world, stores) =
            (plan.start().await, [Store::start().await, Store::start().await, Store::start().await]);
        world.change(Store::records(&[&stores[0], &stores[1], &stores[2]]));
        world.view.update(|view| {
            (view.routing.following, view.routing.told) = (true, true);
            true
        });
        stores[1].state().follows = true;
        stores[2].state().follows = true;
        for name in ["b", "shop/b"] {
            stores[0].state().blob_buckets.insert(name.to_owned(), BlobBucket::default());
        }
        Self { world, stores }
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = self.request(method, path, headers);
        let body = SendBody::new(Full::from(body.into()).map_err(|never| match never {}));
        self.send(request.body(body).unwrap()).await
    }

    pub(super) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> http::request::Builder {
        let request = self.world.request(method, &format!("/.coracle/blob/{path}"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    pub(super) async fn send(&self, request: Request<SendBody>) -> Answer {
        let (head, body) = self.world.send(request).await.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(60), body.collect()).await.unwrap().unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Keys of the bucket `b`, and how many uploads are open there.
    pub(super) fn there(&self) -> (Vec<String>, usize) {
        let state = self.stores[0].state();
        let bucket = &state.blob_buckets["b"];
        (bucket.blobs.keys().cloned().collect(), bucket.uploads.len())
    }
}

/// Bytes of which no two chunks are alike.
pub(super) fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

const HELLO: &str = "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"";

#[tokio::test]
async fn a_blob_is_written_read_listed_and_deleted() {
    let blobs = Blobs::start().await;
    let said = [("content-type", "text/plain"), ("coracle-meta-by", "me"), ("cdn-loop", "coracle")];
    let made = blobs.ask("PUT", "b/a/x%20y", &said, "hello").await;
    assert_eq!((made.status, made.header("etag"), made.body.len()), (201, HELLO, 0), "{made:?}");
    assert_eq!(blobs.stores[0].state().blob_hops, [1]);
    let again = blobs.ask("PUT", "@default/b/a/x%20y", &said, "hello").await;
    assert_eq!((again.status, again.header("etag")), (204, HELLO));
    for method in ["GET", "HEAD"] {
        let read = blobs.ask(method, "b/a/x%20y", &[], "").await;
        let told = ["etag", "content-type", "coracle-meta-by", "content-length", "accept-ranges"];
        assert_eq!(told.map(|name| read.header(name)), [HELLO, "text/plain", "me", "5", "bytes"]);
        let told = ["x-content-type-options", "content-security-policy", "last-modified", "cache-control"];
        let expected = ["nosniff", "sandbox", "Wed, 21 Oct 2015 07:28:00 GMT", "no-cache"];
        assert_eq!(told.map(|name| read.header(name)), expected);
        assert_eq!((read.status, read.text()), (200, if method == "GET" { "hello" } else { "" }));
    }
    assert_eq!(blobs.get("@shop/b/a/x%20y").await.problem(), (404, "blob-not-found"));
    for key in ["a/1", "a/2", "a/3", "b"] {
        assert_eq!(blobs.ask("PUT", &format!("b/{key}"), &[], "").await.status, 201);
    }
    let list = blobs.get("b?prefix=a/").await;
    let begins = "{\"blobs\":[{\"key\":\"a/1\",\"bytes\":0,\"etag\":\"e3b0c44298";
    assert!(list.text().starts_with(begins) && list.text().ends_with("\"after\":\"a/3\"}"), "{list:?}");
    let list = blobs.get("b/?prefix=a%2F&after=a/3&limit=1").await;
    assert!(
        list.text().contains("\"modified\":\"2015-10-21T07:28:00.123Z\",\"contentType\":\"text/plain\""),
        "{list:?}"
    );
    assert!(!list.text().contains("after") && list.header("content-type") == "application/json", "{list:?}");
    assert_eq!(blobs.ask("DELETE", "b/a/x%20y", &[], "").await.status, 204);
    let gone = blobs.ask("DELETE", "b/a/x%20y", &[], "").await;
    assert_eq!(gone.problem(), (404, "blob-not-found"));
    assert!(gone.text().contains("'a/x y'"), "{gone:?}");
}

#[tokio::test]
async fn what_is_large_comes_and_goes_over_both_protocols() {
    let blobs = Blobs::start().await;
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<SendBody>();
    for (index, client) in [&blobs.world.client, &http2].into_iter().enumerate() {
        for (bytes, known) in [(70_000, true), ((5 << 20) + 1, false)] {
            let (data, path) = (content(bytes), format!("b/{index}/{bytes}"));
            let body = Full::from(data.clone()).map_err(|never| match never {});
            let body = if known {
                SendBody::new(body)
            } else {
                let pieces: Vec<_> = data
                    .chunks(30_000)
                    .map(|it| Ok(http_body::Frame::data(Bytes::copy_from_slice(it))))
                    .collect();
                SendBody::new(http_body_util::StreamBody::new(futures::stream::iter(pieces)))
            };
            let answer = client.request(blobs.request("PUT", &path, &[]).body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 201);
            let etag = answer.headers()["etag"].clone();
            let read = client.request(blobs.request("GET", &path, &[]).body(empty()).unwrap()).await.unwrap();
            assert_eq!(
                (&read.headers()["etag"], read.headers()["content-length"].to_str().unwrap()),
                (&etag, bytes.to_string().as_str())
            );
            assert!(read.into_body().collect().await.unwrap().to_bytes() == data, "{path}");
        }
    }
    assert_eq!(blobs.world.front.inner.open.count(), 0, "every place is given back");
}

#[tokio::test]
async fn changes_are_made_on_their_terms_or_not_at_all() {
    let blobs = Blobs::start().await;
    let put = async |headers: &[(&str, &str)], body: &'static str| {
        let answer = blobs.ask("PUT", "b/k", headers, body).await;
        (answer.status, answer.header("coracle-error").to_owned())
    };
    let (failed, bad) = ((412, "precondition-failed".to_owned()), (400, "bad-request".to_owned()));
    assert_eq!(put(&[("if-match", "*")], "x").await, failed);
    assert_eq!(put(&[("if-none-match", "*")], "hello").await, (201, String::new()));
    assert_eq!(put(&[("if-none-match", "*")], "x").await, failed);
    assert_eq!(put(&[("if-match", "\"other\"")], "x").await, failed);
    assert_eq!(put(&[("if-match", HELLO)], "hello").await, (204, String::new()));
    for headers in [
        [("if-none-match", HELLO)],
        [("if-match", "a, b")],
        [("if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT")],
        [("coracle-meta-a_b", "x")],
        [("content-encoding", "gzip")],
        [("content-range", "bytes 0-0/1")],
        [("content-digest", "sha-256=x")],
        [("content-type", "a/b;\tc")],
    ] {
        assert_eq!(put(&headers, "x").await, bad, "{headers:?}");
    }
    let digest = [("content-digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:")];
    assert_eq!(put(&digest, "hello").await, (204, String::new()));
    assert_eq!(put(&digest, "hullo").await, (400, "digest-mismatch".to_owned()));
    let large = blobs.ask("PUT", "b/large", &digest, content(1 << 20)).await;
    assert_eq!(large.problem(), (400, "digest-mismatch"));
    let large = blobs.ask("PUT", "b/k", &[("if-none-match", "*")], content(1 << 20)).await;
    assert_eq!(large.problem(), (412, "precondition-failed"));
    until("nothing is left of them", || blobs.there() == (vec!["k".to_owned()], 0)).await;
    assert_eq!(blobs.get("b/k").await.text(), "hello");
    let delete = async |etag: &str| blobs.ask("DELETE", "b/k", &[("if-match", etag)], "").await.status;
    assert_eq!((delete("\"other\"").await, delete(HELLO).await), (412, 204));
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let blobs = Blobs::start().await;
    for (method, path, problem, allow) in [
        ("GET", "none/k", (404, "bucket-not-found"), ""),
        ("PUT", "none/k", (404, "bucket-not-found"), ""),
        ("GET", "None/k", (404, "bucket-not-found"), ""),
        ("GET", "none", (404, "bucket-not-found"), ""),
        ("GET", "b/%2e%2e/x", (400, "bad-request"), ""),
        ("GET", "b/a%00", (400, "bad-request"), ""),
        ("PUT", "b/a%2F..%2Fb", (400, "bad-request"), ""),
        ("GET", "b?limit=0", (400, "bad-request"), ""),
        ("GET", "b/?uploads", (400, "bad-request"), ""),
        ("OPTIONS", "b/k", (405, "bad-request"), "DELETE, GET, HEAD, PUT"),
        ("GET", "@shop", (404, "reserved-path"), ""),
        ("PUT", "b/", (405, "bad-request"), "GET, HEAD"),
        ("DELETE", "b", (405, "bad-request"), "GET, HEAD"),
        ("POST", "b/k", (405, "bad-request"), "DELETE, GET, HEAD, PUT"),
        ("PATCH", "b/k", (405, "bad-request"), "DELETE, GET, HEAD, PUT"),
        ("PUT", "b/k?uploads", (405, "bad-request"), "POST"),
        (
            "PATCH",
            "b/k?uploadId=00000000000000000000000000000000",
            (405, "bad-request"),
            "DELETE, GET, HEAD, POST, PUT",
        ),
        ("PUT", "b/k?uploadId=00000000000000000000000000000000", (400, "bad-request"), ""),
        ("PUT", "b/k?partNumber=1", (400, "bad-request"), ""),
        ("PUT", "", (405, "bad-request"), "GET, HEAD"),
    ] {
        let answer = blobs.ask(method, path, &[], "").await;
        assert_eq!(
            (answer.problem(), answer.header("allow")),
            (problem, allow),
            "{method} {path}: {answer:?}"
        );
        assert!(answer.text().contains("\"detail\":\""), "{answer:?}");
    }
    let loops = ["coracle"; 17].join(", ");
    assert_eq!(blobs.ask("PUT", "b/k", &[("cdn-loop", &loops)], "").await.problem(), (508, "loop-detected"));
    let usage = blobs.get("").await;
    assert!(usage.status == 200 && usage.text().contains("/.coracle/blob/BUCKET/KEY"), "{usage:?}");
    assert_eq!(blobs.there(), (vec![], 0));
}

#[tokio::test]
async fn a_request_is_one_span_of_its_callers_trace() {
    let ended = Recorder::start().await;
    let blobs = Blobs::start().await;
    let caller = ended.caller();
    blobs.ask("PUT", "@shop/b/k", &[("traceparent", &caller)], "x").await;
    until("the span ended", || ended.count() >= 1).await;
    let spans = ended.take();
    let put = one(&spans, "PUT /.coracle/blob", SpanKind::Server, CALLER);
    for (key, value) in [
        ("coracle.service", "coracle-gateway"),
        ("coracle.namespace", "shop"),
        ("db.namespace", "b"),
        ("http.response.status_code", "201"),
    ] {
        assert_eq!(attribute(put, key), value);
    }
}
