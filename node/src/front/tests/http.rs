//! Goal: requests and responses pass whole and streaming; what belongs to a connection does not; errors say what is wrong.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use futures::{StreamExt as _, stream};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::world::{Plan, SendBody, World, empty, full};
use crate::call::{Body, Call, CallError};
use crate::worker::tests::{Guest, answer, text, until, version};

/// Sends back what comes, piece by piece.
fn echo() -> std::sync::Arc<Guest> {
    Guest::new(async |call: Call| {
        let pieces = call.request.into_body().into_data_stream().map(|piece| piece.map(Frame::data));
        Ok(answer(Body::new(StreamBody::new(pieces))))
    })
}

async fn streams_both_ways(world: World) {
    let (send, pieces) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(4);
    let body = SendBody::new(StreamBody::new(ReceiverStream::new(pieces)));
    let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    send.send(piece("one")).await.unwrap();
    let mut response = world.send(world.request("POST", "/f").body(body).unwrap()).await;
    for (back, next) in [("one", "two"), ("two", "three")] {
        let frame = tokio::time::timeout(Duration::from_secs(5), response.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), back);
        send.send(piece(next)).await.unwrap();
    }
    drop(send);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "three");
}

#[tokio::test]
async fn bodies_stream_both_ways_on_this_node() {
    streams_both_ways(Plan::local(echo()).start().await).await;
}

#[tokio::test]
async fn bodies_stream_both_ways_between_nodes() {
    streams_both_ways(Plan::remote(vec![echo()]).start().await).await;
}

/// Whether it came by way of functions alone, or of proxies between them.
#[tokio::test]
async fn a_circle_of_functions_ends() {
    let world = Plan::local(Guest::new(async |_| Ok(text("ran")))).start().await;
    let status = async |loops: &[&str]| {
        let request =
            loops.iter().fold(world.request("GET", "/f"), |it, value| it.header("cdn-loop", *value));
        let response = world.send(request.body(empty()).unwrap()).await;
        (response.status().as_u16(), response.headers().get("coracle-error").cloned())
    };
    let sixteen = ["coracle"; 16];
    assert_eq!(status(&sixteen).await, (200, None));
    assert_eq!(status(&["cdn.example; a=1, other"; 20]).await, (200, None), "chains of others");
    let detected = (508, Some("loop-detected".parse().unwrap()));
    assert_eq!(status(&["coracle"; 17]).await, detected);
    assert_eq!(status(&[&format!("{}, other, coracle", sixteen.join(","))]).await, detected);
}

#[tokio::test]
async fn a_large_body_passes_whole_between_nodes() {
    let world = Plan::remote(vec![echo()]).start().await;
    let sent: Vec<u8> = (0..5_000_000_u32).flat_map(|n| (n as u16).to_le_bytes()).collect();
    let body = SendBody::new(http_body_util::Full::from(sent.clone()).map_err(|never| match never {}));
    let response = world.send(world.request("POST", "/f").body(body).unwrap()).await;
    assert!(response.collect().await.unwrap().to_bytes() == sent, "10 MB came back changed");
}

#[tokio::test]
async fn headers_of_one_connection_stay_there() {
    let guest = Guest::new(async |call: Call| {
        let mut lines: Vec<_> = call
            .request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.push(format!("{} {}", call.request.method(), call.request.uri()));
        let mut answer = text(lines.join("\n"));
        let headers = answer.response.headers_mut();
        for (name, value) in [
            ("connection", "x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("coracle-error", "forged"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Ok(answer)
    });
    for plan in [Plan::local(guest.clone()), Plan::remote(vec![guest])] {
        let world = plan.start().await;
        let request = world
            .request("GET", "/f/a%20b?q=1&q=2")
            .header("host", "Shop.Example:81")
            .header("connection", "x-drop, close")
            .header("x-drop", "1")
            .header("te", "trailers")
            .header("coracle-route", "/forged")
            .header("x-forwarded-for", "10.1.1.1")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let whole = world.whole(request.body(empty()).unwrap()).await;
        assert_eq!(whole.status, 200, "{whole:?}");
        let text = &whole.text;
        for gone in ["x-drop:", "connection:", "te:", "coracle-route: /forged"] {
            assert!(!text.lines().any(|line| line.starts_with(gone)), "{gone} in\n{text}");
        }
        for there in [
            "GET http://Shop.Example:81/f/a%20b?q=1&q=2",
            "host: Shop.Example:81",
            "x-forwarded-for: 10.1.1.1, 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: Shop.Example:81",
            "coracle-route: /f",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(text.lines().any(|line| line == there), "no '{there}' in\n{text}");
        }
        assert_eq!(
            (whole.header("x-private"), whole.header("keep-alive"), whole.header("x-kept")),
            ("", "", "1")
        );
        assert_eq!((whole.header("coracle-error"), whole.header("coracle-node")), ("", "1"));
        assert_eq!((whole.header("coracle-start"), whole.header("coracle-version")), ("warm", "1"));
        assert_eq!((whole.header("coracle-attempt"), whole.header("coracle-invocation-id").len()), ("", 32));
    }
}

/// A world whose view is as it was on disk.
async fn untold(news_timeout: Duration) -> World {
    let mut plan = Plan::local(Guest::new(async |_| Ok(text("here"))));
    plan.options.news_timeout = news_timeout;
    let world = plan.start().await;
    world.view.update(|view| {
        view.routing.told = false;
        true
    });
    world
}

#[tokio::test]
async fn what_the_view_on_disk_lacks_waits_for_a_controllers_word() {
    let world = untold(Duration::from_secs(60)).await;
    let later = async {
        until("the call waits", || world.front.waiting() == 1).await;
        world.add(&version("g", Draft::default()), "/late/*");
        // One frame of several: only then is it known that there is no more.
        world.add(&version("h", Draft::default()), "/later/*");
        world.view.update(|view| !std::mem::replace(&mut view.routing.told, true));
    };
    let (waited, ()) = tokio::join!(world.get("/later"), later);
    assert_eq!((waited.status, waited.text.as_str()), (200, "here"));
    assert_eq!(world.get("/nothing/here").await.status, 404, "the first word says all");
}

/// A gateway whose own controller was behind answered 404 for functions that there were, for a second.
#[tokio::test]
async fn what_a_controller_is_still_telling_of_is_not_said_to_be_missing() {
    let world = untold(Duration::from_millis(1)).await;
    world.view.update(|view| !std::mem::replace(&mut view.routing.following, true));
    let told = world.get("/nothing/here").await;
    assert_eq!(
        (told.status, told.header("coracle-error"), told.header("retry-after")),
        (503, "no-view", "1")
    );
    world.view.update(|view| !std::mem::replace(&mut view.routing.told, true));
    assert_eq!(world.get("/nothing/here").await.status, 404);
    world.view.update(|view| {
        view.routing = crate::view::Scoped::default();
        true
    });
    assert_eq!(world.get("/nothing/here").await.status, 503, "without any view nothing is known");
}

#[tokio::test]
async fn a_view_that_no_controller_confirms_has_to_do() {
    let world = untold(Duration::from_millis(1)).await;
    assert_eq!(world.get("/nothing/here").await.status, 404);
}

#[tokio::test]
async fn the_platforms_own_answers_help() {
    let guest = Guest::new(async |call: Call| {
        Ok(text(format!("{} {}{}", call.request.method(), call.request.uri().path(), call.trigger.route())))
    });
    let world = Plan::local(guest).start().await;
    let missing = world.get("/nothing/here").await;
    assert_eq!((missing.status, missing.header("coracle-error")), (404, "route-not-found"));
    assert_eq!(missing.header("content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(&missing.text).unwrap();
    assert_eq!(problem["type"], "docs/errors/route-not-found.md");
    assert_eq!((&problem["status"], &problem["title"]), (&404.into(), &"route-not-found".into()));
    assert!(problem["detail"].as_str().unwrap().contains("/nothing/here"), "{problem}");
    assert_eq!(world.get("/.coracle/nothing").await.header("coracle-error"), "reserved-path");
    assert_eq!(world.get("/.coracle/invoke/default/g").await.header("coracle-error"), "function-not-found");
    assert_eq!(world.get("/.coracle/health").await.text, "ok\n");
    assert!(world.get("/").await.text.contains("coracle deploy"));
    let html = world.request("GET", "/").header("accept", "text/html,*/*").body(empty()).unwrap();
    assert!(world.whole(html).await.text.starts_with("<!doctype html>"));
    let named = world.request("POST", "/.coracle/invoke/default/f/a/b?x=1").body(full("{}")).unwrap();
    assert_eq!(world.whole(named).await.text, "POST /a/b");
    let bare = world.request("POST", "/.coracle/invoke/default/f").body(empty()).unwrap();
    assert_eq!(world.whole(bare).await.text, "POST /");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_served() {
    let world = Plan::local(echo()).start().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<SendBody>();
    let request = http::Request::post(world.url("/f")).body(full("over h2")).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (http::Version::HTTP_2, 200));
    assert_eq!(response.collect().await.unwrap().to_bytes(), "over h2");
}

/// RFC 9110: no content with these, whatever the function makes, and over HTTP/2 as over HTTP/1.
#[tokio::test]
async fn an_answer_has_a_body_only_where_there_is_one() {
    let guest = Guest::new(async |call: Call| {
        let (path, method) = (call.request.uri().path(), call.request.method());
        let mut response = text(format!("{method} {path}")).response;
        *response.status_mut() = path.rsplit('/').next().unwrap().parse().unwrap();
        if path.contains("/declared/") {
            let length = response.body().size_hint().exact().unwrap();
            response.headers_mut().insert("content-length", length.into());
        }
        if path.contains("/streamed/") {
            response = response.map(|body| {
                Body::new(StreamBody::new(body.into_data_stream().map(|it| it.map(Frame::data))))
            });
        }
        let mut made = answer(Body::default());
        made.response = response;
        Ok(made)
    });
    let world = Plan::local(guest).start().await;
    let second = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<SendBody>();
    for (client, which) in [(&world.client, 1), (&second, 2)] {
        let ask = async |method: &str, path: &str| {
            let request = world.request(method, path).body(empty()).unwrap();
            let (head, body) = client.request(request).await.unwrap().into_parts();
            let length = head.headers.get("content-length").map(|it| it.to_str().unwrap().to_owned());
            (head.status.as_u16(), length, body.is_end_stream(), body.collect().await.unwrap().to_bytes())
        };
        for kind in ["", "/declared", "/streamed"] {
            for (method, status) in
                [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 205), ("GET", 304), ("POST", 204)]
            {
                let (told, length, ended, body) = ask(method, &format!("/f{kind}/{status}")).await;
                assert_eq!((told, body.len(), ended), (status, 0, true), "{which} {method} {kind} {status}");
                if matches!(status, 204 | 205) {
                    assert!(length.is_none_or(|it| it == "0"), "{which} {method} {kind} {status}");
                } else if method == "HEAD" && kind != "/streamed" {
                    assert_eq!(length.unwrap(), format!("HEAD /f{kind}/{status}").len().to_string());
                }
            }
            assert!(!ask("GET", &format!("/f{kind}/200")).await.3.is_empty());
        }
        for page in ["/nowhere", "/", "/.coracle/health", "/.coracle/what"] {
            let (status, length, ended, body) = ask("HEAD", page).await;
            assert!(ended && body.is_empty(), "{which} {page}");
            let whole = ask("GET", page).await;
            assert_eq!((status, length), (whole.0, Some(whole.3.len().to_string())), "{which} {page}");
        }
    }
}

/// Over HTTP/1 an error ends the connection, over HTTP/2 it resets the stream: what was made before it comes first, and so
/// does the head.
#[tokio::test]
async fn what_was_made_before_a_failure_reaches_its_caller() {
    let guest = Guest::new(async |_| {
        let piece = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let frames = [piece("made"), piece(" before"), Err(CallError::new(Code::FunctionTrapped, "it"))];
        Ok(answer(Body::new(StreamBody::new(stream::iter(frames)))))
    });
    for plan in [Plan::local(guest.clone()), Plan::remote(vec![guest.clone()])] {
        let world = plan.start().await;
        for http2 in [false, true] {
            let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .http2_only(http2)
                .build_http::<SendBody>();
            for _ in 0..20 {
                let response =
                    client.request(world.request("GET", "/f").body(empty()).unwrap()).await.unwrap();
                let (mut body, mut made) = (response.into_body(), Vec::new());
                while let Some(Ok(frame)) = body.frame().await {
                    made.extend(frame.into_data().unwrap());
                }
                assert_eq!(made, b"made before", "HTTP/2: {http2}");
            }
        }
        until("nothing is open", || world.front.inner.open.count() == 0).await;
    }
}
