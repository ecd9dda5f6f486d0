//! Goal: one trace from the caller to the guest, with the right parents, kinds and names, errors marked.

use coracle_tests::{Cluster, Collector, Options, Span, SpanKind, eventually, guest, wat};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

async fn traced(nodes: usize) -> (Cluster, Collector) {
    let collector = Collector::start().await;
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint())];
    (Cluster::with(PROGRAM, Options { nodes, environment, ..Options::default() }).await, collector)
}

/// Waits for the spans of one trace until all the names are there.
async fn trace(collector: &Collector, id: &str, names: &[&str]) -> Vec<Span> {
    eventually(&format!("spans {names:?}"), async || {
        let spans = collector.trace(id);
        let missing: Vec<_> =
            names.iter().filter(|name| !spans.iter().any(|span| span.name == **name)).collect();
        if missing.is_empty() {
            Ok(spans)
        } else {
            Err(format!(
                "missing {missing:?} in {:?}",
                spans.iter().map(|span| &span.name).collect::<Vec<_>>()
            ))
        }
    })
    .await
}

fn one<'a>(spans: &'a [Span], name: &str, service: &str, kind: SpanKind) -> &'a Span {
    let found: Vec<_> = spans
        .iter()
        .filter(|span| span.name == name && span.service == service && span.kind == kind)
        .collect();
    assert_eq!(found.len(), 1, "{name} of {service} as {kind:?}: {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_also_across_nodes() {
    let (cluster, collector) = traced(3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "2"]).await;
    let holders = cluster.holders("hello-min").await;
    let without = (0..3).find(|node| !holders.contains(node));
    // The gateway that holds no replica must ask another node.
    let url = cluster.url(without.expect("two of three hold it"), "/hello-min");
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let answer = cluster
        .client
        .send("GET".parse().unwrap(), &url, &[("traceparent", &parent)], "".into())
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());

    let names = ["invoke hello-min", "execute hello-min", "wasm.instantiate", "wasm.run"];
    let _ = trace(&collector, TRACE, &names).await;
    let spans = eventually("both sides of the call", async || {
        let spans = collector.trace(TRACE);
        if spans.iter().filter(|span| span.name == "execute hello-min").count() == 2 {
            Ok(spans)
        } else {
            Err(format!("{spans:?}"))
        }
    })
    .await;
    let invoke = one(&spans, "invoke hello-min", "coracle-gateway", SpanKind::Server);
    assert_eq!(invoke.parent, CALLER);
    assert_eq!(invoke.attributes["faas.trigger"], "http");
    assert_eq!(invoke.attributes["http.response.status_code"], "200");
    assert_eq!(invoke.attributes["http.request.method"], "GET");
    let sent = one(&spans, "execute hello-min", "coracle-gateway", SpanKind::Client);
    assert_eq!(sent.parent, invoke.id);
    let executed = one(&spans, "execute hello-min", "coracle-worker", SpanKind::Server);
    assert_eq!(executed.parent, sent.id);
    assert_ne!(executed.instance, invoke.instance, "the call did not cross nodes");
    assert_eq!(executed.attributes["faas.coldstart"], "true");
    let run = spans.iter().find(|span| span.name == "wasm.run").unwrap();
    assert_eq!((run.parent.as_str(), run.service.as_str()), (executed.id.as_str(), "coracle-worker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_is_one_trace_through_its_queue() {
    let collector = Collector::start().await;
    let environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint())];
    let roles = vec!["controller,worker,gateway,store"];
    let options = Options { nodes: 1, roles, environment, ..Options::default() };
    let cluster = Cluster::with(PROGRAM, options).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let (url, parent) = (cluster.url(0, "/hello-min"), format!("00-{TRACE}-{CALLER}-01"));
    let headers = [("traceparent", parent.as_str()), ("prefer", "respond-async")];
    // The data group is founded some seconds after the cluster.
    eventually("the call is accepted", async || {
        let answer = cluster.client.send("POST".parse().unwrap(), &url, &headers, "".into()).await?;
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let names = ["send hello-min", "process hello-min", "invoke hello-min", "execute hello-min", "settle"];
    let spans = trace(&collector, TRACE, &names).await;
    let accepted = |span: &&Span| span.name == "send hello-min" && !span.error;
    let send = spans.iter().find(accepted).expect("the one that was accepted");
    assert_eq!((send.kind, send.parent.as_str()), (SpanKind::Producer, CALLER));
    assert_eq!(send.attributes["messaging.system"], "coracle");
    let process = one(&spans, "process hello-min", "coracle-gateway", SpanKind::Consumer);
    assert_eq!(process.parent, send.id);
    assert_eq!(process.attributes["messaging.operation.type"], "process");
    assert_eq!(process.attributes["messaging.destination.name"], "function/hello-min");
    let invoke = one(&spans, "invoke hello-min", "coracle-gateway", SpanKind::Server);
    assert_eq!(
        (invoke.parent.as_str(), invoke.attributes["faas.trigger"].as_str()),
        (process.id.as_str(), "pubsub")
    );
    let settle = one(&spans, "settle", "coracle-gateway", SpanKind::Client);
    assert_eq!(settle.parent, process.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_marked_and_deploys_are_traces() {
    let (cluster, collector) = traced(1).await;
    let folder = tempfile::TempDir::new().unwrap();
    let deployed = cluster.deploy("traps", &wat::command(folder.path(), "traps", wat::TRAP), &[]).await;
    let answer = cluster.client.get(&cluster.url(0, "/traps")).await.unwrap();
    assert_eq!(answer.status, 500);
    eventually("the error is marked", async || {
        let spans = collector.spans();
        let marked = spans.iter().any(|span| {
            span.name == "invoke traps"
                && span.error
                && span.attributes.get("error.type").is_some_and(|code| code == "function-trapped")
        });
        if marked {
            Ok(())
        } else {
            Err(format!("{:?}", spans.iter().map(|span| (&span.name, span.error)).collect::<Vec<_>>()))
        }
    })
    .await;
    let taken = wat::command(folder.path(), "other", wat::TRAP);
    let taken = taken.to_str().unwrap();
    let refused = cluster.run(&["deploy", "other", taken, "--route", "/traps/*"]).await;
    assert_ne!(refused.code, 0, "the route is taken");
    for name in ["deploy", "raft.propose"] {
        eventually("the refusal is marked where it was made", async || {
            let of = |span: &Span| span.service == "coracle-controller" && span.name == name && span.error;
            let spans = collector.spans();
            let code = spans.iter().find(|span| of(span)).and_then(|span| span.attributes.get("error.type"));
            if code.is_some_and(|code| code == "route-conflict") {
                Ok(())
            } else {
                Err(format!("{name}: {code:?}"))
            }
        })
        .await;
    }
    let id = trace_of(&deployed.stderr);
    let steps = ["deploy", "raft.propose", "wasm.compile", "reconcile.round", "place"];
    let spans = trace(&collector, &id, &steps).await;
    assert!(
        spans
            .iter()
            .any(|span| span.service == "coracle-cli" && span.name == "deploy" && span.parent.is_empty()),
        "{spans:?}"
    );
    for service in ["coracle-cli", "coracle-controller", "coracle-worker"] {
        assert!(spans.iter().any(|span| span.service == service), "no {service} in {spans:?}");
    }
    eventually("each span's parent has come", async || {
        let spans = collector.trace(&id);
        let known: Vec<_> = spans.iter().map(|span| span.id.as_str()).collect();
        let orphan = |span: &&Span| !span.parent.is_empty() && !known.contains(&span.parent.as_str());
        match spans.iter().find(orphan) {
            None => Ok(()),
            Some(span) => Err(format!("the parent of {} in {spans:?}", span.name)),
        }
    })
    .await;
}

/// Two nodes have the artifact from the upload. The third one fetches it for its replica, and then the fetch belongs to
/// the deploy; or to repair the number of copies, if that comes first, and then it is a trace of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_fetch_of_the_third_node_is_seen() {
    let (cluster, collector) = traced(3).await;
    let file = guest("hello-min.component.wasm");
    let deployed = cluster.deploy("hello-min", &file, &["--replicas", "3"]).await;
    let _ = trace(&collector, &trace_of(&deployed.stderr), &["deploy", "wasm.compile"]).await;
    eventually("one node fetched, without an error", async || {
        let spans = collector.spans();
        let fetches: Vec<_> = spans.iter().filter(|span| span.name == "artifact.fetch").collect();
        let [fetch] = fetches[..] else { return Err(format!("{fetches:?}")) };
        let well = fetch.service == "coracle-worker" && fetch.kind == SpanKind::Internal && !fetch.error;
        if well { Ok(()) } else { Err(format!("{fetch:?}")) }
    })
    .await;
}

/// The trace that a command named on stderr.
fn trace_of(stderr: &str) -> String {
    let mut words = stderr.split(|char: char| !char.is_ascii_hexdigit());
    words.rfind(|word| word.len() == 32).expect("the command names its trace").to_owned()
}
