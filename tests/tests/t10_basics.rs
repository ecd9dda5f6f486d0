//! Goal: one node takes each kind of function, answers calls, and says what it does.

use coracle_tests::{Cluster, guest, guests_small};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn each_small_function_is_deployed_and_called() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    for (name, file, method, path, body, expected) in guests_small() {
        cluster.deploy(name, &guest(file), &["--env", "WHO=tests"]).await;
        let url = cluster.url(0, &format!("/{name}{path}"));
        let answer = cluster.client.send(method.parse().unwrap(), &url, &[], body.into()).await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert!(
            answer.text().contains(expected),
            "{name} answered {:?}, expected {expected:?} in it",
            answer.text()
        );
        assert_eq!(answer.header("coracle-node"), "1");
        assert_eq!(answer.header("coracle-version"), "1");
        assert_eq!(answer.header("coracle-invocation-id").len(), 32);
        let warm = cluster.client.send(method.parse().unwrap(), &url, &[], body.into()).await.unwrap();
        assert_eq!(warm.header("coracle-start"), "warm");
    }
    let list = cluster.run(&["function", "list", "-o", "json"]).await.ok().json();
    let names: Vec<_> =
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    for (name, ..) in guests_small() {
        assert!(names.contains(&name.to_owned()), "{names:?} has no {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invoke_tells_node_start_duration_and_trace() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("rust-http-cli", &guest("rust-http-wasip1.component.wasm"), &["--env", "WHO=tests"]).await;
    let done = cluster.run(&["invoke", "rust-http-cli", "-d", "12345"]).await.ok();
    assert!(done.stdout.contains('5'), "{done:?}");
    for word in ["node", "cold", "trace"] {
        assert!(done.stderr.contains(word), "stderr has no '{word}': {}", done.stderr);
    }
    let warm = cluster.run(&["invoke", "rust-http-cli", "-d", "@-"]).await.ok();
    assert!(warm.stderr.contains("warm"), "{}", warm.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_helps_and_unknown_routes_are_problems() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let root = cluster.client.get(&cluster.url(0, "/")).await.unwrap();
    assert!(root.text().contains("coracle deploy"), "{}", root.text());
    let missing = cluster.client.get(&cluster.url(0, "/nothing/here")).await.unwrap();
    assert_eq!(missing.status, 404);
    assert_eq!(missing.header("coracle-error"), "route-not-found");
    assert_eq!(missing.header("content-type"), "application/problem+json");
    let reserved = cluster.client.get(&cluster.url(0, "/.coracle/nothing")).await.unwrap();
    assert_eq!(reserved.header("coracle-error"), "reserved-path");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_versions_and_rollback() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let file = guest("rust-http-wasip1.component.wasm");
    cluster.deploy("who", &file, &["--env", "WHO=first", "--route", "/who", "--route", "/people/*"]).await;
    let answer = cluster.client.get(&cluster.url(0, "/people/a/b")).await.unwrap();
    assert!(answer.text().contains("first"), "{}", answer.text());
    assert_eq!(cluster.client.get(&cluster.url(0, "/who/deeper")).await.unwrap().status, 404);

    cluster.deploy("who", &file, &["--env", "WHO=second", "--route", "/who", "--route", "/people/*"]).await;
    let answer = cluster.client.get(&cluster.url(0, "/who")).await.unwrap();
    assert!(answer.text().contains("second"), "{}", answer.text());
    assert_eq!(answer.header("coracle-version"), "2");

    let again = cluster
        .deploy("who", &file, &["--env", "WHO=second", "--route", "/who", "--route", "/people/*"])
        .await;
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);

    let other = cluster.run(&["deploy", "other", &file.display().to_string(), "--route", "/who"]).await;
    assert_eq!(other.code, 8, "{other:?}");
    assert!(other.stderr.contains("route-conflict") && other.stderr.contains("who"), "{}", other.stderr);

    let _ = cluster.run(&["function", "rollback", "who", "-y"]).await.ok();
    coracle_tests::eventually("the first version answers again", async || {
        let answer = cluster.client.get(&cluster.url(0, "/who")).await?;
        if answer.text().contains("first") { Ok(()) } else { Err(answer.text()) }
    })
    .await;

    let _ = cluster.run(&["function", "delete", "who", "-y"]).await.ok();
    coracle_tests::eventually("the routes are gone", async || {
        let answer = cluster.client.get(&cluster.url(0, "/who")).await?;
        if answer.status == 404 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    assert_eq!(cluster.run(&["function", "get", "who"]).await.code, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_have_lines_and_where_they_came_from() {
    let cluster = Cluster::start(PROGRAM, 2).await;
    cluster.deploy("logging", &guest("rust-http-wasip1.component.wasm"), &[]).await;
    for node in 0..2 {
        let _ = cluster.client.get(&cluster.url(node, "/logging/line")).await.unwrap();
    }
    coracle_tests::eventually("two log records", async || {
        let done = cluster.run(&["logs", "logging", "-o", "json"]).await.ok();
        let records = done.stdout.lines().filter(|line| line.contains("invocation")).count();
        if records >= 2 { Ok(()) } else { Err(format!("{done:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_has_the_documented_shape() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let status = cluster.status().await.unwrap();
    for key in ["cluster", "revision", "term", "leader", "quorum", "alarms", "nodes", "functions"] {
        assert!(status.get(key).is_some(), "no '{key}' in {status}");
    }
    let node = &status["nodes"][0];
    for key in ["id", "name", "state", "roles", "voter", "version", "pids", "grpc", "http", "admin", "load"] {
        assert!(node.get(key).is_some(), "no '{key}' in {node}");
    }
    assert_eq!(status["leader"], node["id"]);
    let function = &status["functions"][0];
    assert_eq!(function["name"], "hello-min");
    for key in ["version", "routes", "wanted", "ready"] {
        assert!(function.get(key).is_some(), "no '{key}' in {function}");
    }
}
