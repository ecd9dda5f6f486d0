//! Goal: restarts of any process lose nothing, and a data plane needs no controller to serve.

use std::time::Duration;

use coracle_tests::{Client, Cluster, Process, eventually, guest, is_gone, within};
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn one_node_killed_comes_back_with_everything() {
    let mut cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let before = cluster.run(&["function", "list", "-o", "json"]).await.ok().json();
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.answers(0, "/hello-min").await;
    cluster.wait_alive(1).await;
    assert_eq!(
        cluster.run(&["function", "list", "-o", "json"]).await.ok().json()[0]["version"],
        before[0]["version"]
    );
    cluster.deploy("second", &guest("c-http.component.wasm"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_come_back_with_everything() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let id = cluster.status().await.unwrap()["cluster"].clone();
    cluster.nodes.iter_mut().for_each(coracle_tests::Node::kill);
    cluster.nodes.iter_mut().for_each(coracle_tests::Node::start);
    for node in 0..3 {
        cluster.answers(node, "/hello-min").await;
    }
    cluster.wait_alive(3).await;
    let status = cluster.status().await.unwrap();
    assert_eq!(status["cluster"], id);
    assert_eq!(status["functions"][0]["name"], "hello-min");
    cluster.deploy("second", &guest("c-http.component.wasm"), &[]).await;
    cluster.answers(1, "/second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_child_killed_alone_is_back_within_a_second() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let node = &cluster.nodes[0];

    let (controller, data) = (node.pid(Process::Controller).unwrap(), node.pid(Process::DataPlane).unwrap());
    node.signal(Process::Controller, Signal::KILL);
    for _ in 0..50 {
        let answer = cluster.client.get(&cluster.url(0, "/hello-min")).await.unwrap();
        assert_eq!(answer.status, 200, "the data plane noticed: {}", answer.text());
    }
    within(Duration::from_secs(1), "the controller runs again", async || {
        match node.pid(Process::Controller) {
            Ok(pid) if pid != controller => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(node.pid(Process::DataPlane).unwrap(), data);
    cluster.wait_alive(1).await;

    // Its listeners are the supervisor's: who connects meanwhile waits in the kernel and is answered.
    node.signal(Process::DataPlane, Signal::KILL);
    eventually("it is dead", async || if is_gone(data) { Ok(()) } else { Err("it runs".into()) }).await;
    let begin = std::time::Instant::now();
    let answer = Client::default().get(&cluster.url(0, "/hello-min")).await;
    let answer = answer.expect("a connection made while no data plane runs is answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let took = begin.elapsed();
    println!("the data plane serves again: {took:?} (goal 1s)");
    assert!(took < Duration::from_secs(1) * coracle_tests::SLACK, "{took:?}");
    assert_ne!(node.pid(Process::DataPlane).unwrap(), data);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_their_supervisor() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let node = &cluster.nodes[0];
    let pids = [node.pid(Process::Controller).unwrap(), node.pid(Process::DataPlane).unwrap()];
    node.signal(Process::Supervisor, Signal::KILL);
    eventually("both children are gone", async || {
        let left: Vec<_> = pids.iter().filter(|pid| !is_gone(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_controller_a_restarted_data_plane_serves() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "2"]).await;
    for node in 0..3 {
        cluster.answers(node, "/hello-min").await;
    }
    let holders = cluster.holders("hello-min").await;
    let without = (0..3).find(|node| !holders.contains(node)).expect("two of three hold it");
    // With two of three nodes dead and the last one's controller stopped for good there is nobody to ask.
    let holder = (0..3).find(|node| *node != without).unwrap();
    let other = (0..3).find(|node| *node != without && *node != holder).unwrap();
    cluster.nodes[other].kill();
    for node in [without, holder] {
        cluster.nodes[node].signal(Process::Controller, Signal::STOP);
    }
    for node in [without, holder] {
        eventually("its view is on disk", async || {
            let files = std::fs::read_dir(cluster.nodes[node].folder.join("view"))
                .map_err(|error| error.to_string())?;
            // The gateway's tells where replicas are; the worker's own tells a holder that it is one.
            let wanted = if node == holder { 2 } else { 1 };
            let kept = files.flatten().map(|file| file.path());
            let kept = kept.filter(|path| path.extension().is_some_and(|is| is == "view"));
            let texts = kept.map(|path| std::fs::read(path).unwrap_or_default());
            let found = texts
                .filter(|bytes| bytes.windows(25).any(|part| part == b"replica/default/hello-min"))
                .count();
            if found >= wanted { Ok(()) } else { Err(format!("a replica in {found} of {wanted} views")) }
        })
        .await;
        let before = cluster.nodes[node].pid(Process::DataPlane).unwrap();
        cluster.nodes[node].signal(Process::DataPlane, Signal::KILL);
        eventually("a new data plane", async || match cluster.nodes[node].pid(Process::DataPlane) {
            Ok(pid) if pid != before => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    cluster.answers(holder, "/hello-min").await;
    // This one holds no replica: it calls the other, by the view that it kept on disk.
    cluster.answers(without, "/hello-min").await;
    // The command line needs no controller for a call either: told a gateway, or from a context that knows one.
    let called = cluster.run(&["invoke", "hello-min", "--gateway", &cluster.nodes[holder].http]).await.ok();
    assert!(called.stderr.contains("node "), "{}", called.stderr);
    let contexts = format!(
        "[context.boat]\naddresses = ['127.0.0.1:1']\ngateways = ['{}']\n",
        cluster.nodes[without].http
    );
    std::fs::create_dir_all(cluster.folder().join("coracle")).unwrap();
    std::fs::write(cluster.folder().join("coracle/contexts.toml"), contexts).unwrap();
    let called = cluster.run(&["invoke", "hello-min", "--context", "boat"]).await.ok();
    assert!(called.stderr.contains("cannot connect to 127.0.0.1:1"), "{}", called.stderr);
    let nobody = cluster.run(&["invoke", "hello-min", "--address", "127.0.0.1:1"]).await.failed_with(2);
    assert!(nobody.stderr.contains("--gateway HOST:PORT"), "{}", nobody.stderr);
    for node in [without, holder] {
        cluster.nodes[node].signal(Process::Controller, Signal::CONT);
    }
}

/// A leader whose machine is gone refuses no connection: nobody says that it does not lead any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_becomes_ready_with_what_it_knows() {
    let cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &["--replicas", "3"]).await;
    let leader = cluster.leader().await;
    let node = (0..3).find(|node| *node != leader).expect("three nodes");
    cluster.answers(node, "/hello-min").await;
    let before = cluster.nodes[node].pid(Process::DataPlane).unwrap();
    for other in (0..3).filter(|other| *other != node) {
        cluster.nodes[other].signal_all(Signal::STOP);
    }
    cluster.nodes[node].signal(Process::DataPlane, Signal::KILL);
    eventually("a new data plane", async || match cluster.nodes[node].pid(Process::DataPlane) {
        Ok(pid) if pid != before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    cluster.answers(node, "/hello-min").await;
    let (unknown, ready) =
        (cluster.url(node, "/unknown"), format!("http://{}/readyz", cluster.nodes[node].admin));
    eventually("it knows all that there is to know for it", async || {
        let (unknown, ready) = (cluster.client.get(&unknown).await?, cluster.client.get(&ready).await?);
        let found = (unknown.status.as_u16(), ready.status.as_u16());
        if found == (404, 200) { Ok(()) } else { Err(format!("{found:?} {}", unknown.text())) }
    })
    .await;
    let status =
        cluster.run(&["status", "--stale", "-o", "json", "--address", &cluster.nodes[node].grpc]).await;
    assert_eq!(status.json()["quorum"], false, "{status:?}");
    for other in (0..3).filter(|other| *other != node) {
        cluster.nodes[other].signal_all(Signal::CONT);
    }
}

/// Artifacts in a node's folder.
fn stored(node: &coracle_tests::Node) -> usize {
    let folders = std::fs::read_dir(node.folder.join("artifacts/sha256")).into_iter().flatten().flatten();
    let files = folders.flat_map(|it| std::fs::read_dir(it.path()).into_iter().flatten()).flatten();
    files.filter(|it| it.path().extension().is_some_and(|end| end == "wasm")).count()
}

/// With one of three nodes dead, the leader it was, deploys go on: at once, and when its death is known.
#[tokio::test(flavor = "multi_thread")]
async fn the_third_copy_appears_when_the_third_node_is_back() {
    let mut cluster = Cluster::start(PROGRAM, 3).await;
    let dead = cluster.leader().await;
    let id = cluster.id_of(dead).await;
    cluster.nodes[dead].kill();
    cluster.deploy("at-once", &guest("hello-min.component.wasm"), &[]).await;
    let others: Vec<_> = (0..3).filter(|node| *node != dead).collect();
    let copies =
        |cluster: &Cluster| others.iter().map(|node| stored(&cluster.nodes[*node])).collect::<Vec<_>>();
    assert_eq!(copies(&cluster), [1, 1]);
    within(Duration::from_secs(15), "its death is known", async || {
        let status = cluster.status().await?;
        let node = status["nodes"].as_array().and_then(|all| all.iter().find(|node| node["id"] == id));
        match node {
            Some(node) if node["state"] == "dead" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.deploy("later", &guest("c-http.component.wasm"), &[]).await;
    assert_eq!(copies(&cluster), [2, 2]);
    cluster.nodes[dead].start();
    within(Duration::from_secs(15), "the third copies", async || match stored(&cluster.nodes[dead]) {
        2 => Ok(()),
        other => Err(format!("{other} artifacts")),
    })
    .await;
}

/// A file is deleted under a running node, which cannot store it again at first: the cluster says that a copy is missing,
/// and makes it anew as soon as it can.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_a_node_lost_is_noticed_and_copied_again() {
    let cluster = Cluster::start(PROGRAM, 3).await;
    cluster.deploy("hello-min", &guest("hello-min.component.wasm"), &[]).await;
    let is_short = async || {
        let alarms = cluster.status().await?["alarms"].to_string();
        Ok::<_, String>((alarms.contains("artifacts-short"), alarms))
    };
    within(Duration::from_secs(15), "three copies", async || {
        let copies: Vec<_> = cluster.nodes.iter().map(stored).collect();
        let (short, alarms) = is_short().await?;
        if copies == [1, 1, 1] && !short { Ok(()) } else { Err(format!("{copies:?} {alarms}")) }
    })
    .await;
    let node = &cluster.nodes[1];
    let folders = std::fs::read_dir(node.folder.join("artifacts/sha256")).unwrap();
    let folder = folders.map(|it| it.unwrap().path()).next().expect("the artifact's folder");
    std::fs::remove_dir_all(&folder).unwrap();
    // Where a file lies no folder can be made.
    std::fs::write(&folder, "").unwrap();
    within(Duration::from_secs(15), "the loss is noticed", async || match is_short().await? {
        (true, _) => Ok(()),
        (false, alarms) => Err(alarms),
    })
    .await;
    std::fs::remove_file(&folder).unwrap();
    // The pause between two tries has doubled meanwhile.
    within(Duration::from_secs(30), "the third copy", async || {
        let (short, alarms) = is_short().await?;
        if stored(node) == 1 && !short { Ok(()) } else { Err(alarms) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_anothers_subtree_is_had_by_a_grant_only() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let hello = guest("hello-min.component.wasm");
    let file = hello.display().to_string();
    cluster.deploy("hello", &hello, &["--route", "/hello/*"]).await;
    let theft = ["deploy", "login", &file, "--namespace", "mallory", "--route", "/hello/login/*"];
    let refused = cluster.run(&theft).await.failed_with(8);
    println!("{}", refused.stderr);
    for part in ["'/hello/*' of 'hello'", "namespace 'default'", "--grant-routes mallory", "route-conflict"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    let by_name = cluster.run(&["deploy", "hello/world", &file]).await.failed_with(8);
    assert!(by_name.stderr.contains("route '/hello/world/*' of 'hello/world'"), "{}", by_name.stderr);

    cluster.deploy("hello", &hello, &["--route", "/hello/*", "--grant-routes", "mallory"]).await;
    let got = cluster.run(&["function", "get", "hello", "-o", "json"]).await.ok().json();
    assert_eq!(got["grant_routes"], serde_json::json!(["mallory"]));
    let _ = cluster.run(&theft).await.ok();
    let answered = async |path: &str| {
        let answer = cluster.client.get(&cluster.url(0, path)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.header("coracle-version").to_owned()
    };
    // Of 'mallory/login' there is one version, of 'hello' the second one.
    assert_eq!(
        (answered("/hello/login/x").await.as_str(), answered("/hello/other").await.as_str()),
        ("1", "2")
    );

    // Who takes the grant back is told what stays.
    let told = cluster.deploy("hello", &hello, &["--route", "/hello/*"]).await;
    assert!(told.stderr.contains("note: calls to '/hello/login/*' go to 'mallory/login'"), "{}", told.stderr);
    assert_eq!(
        (answered("/hello/login/x").await.as_str(), answered("/hello/other").await.as_str()),
        ("1", "3")
    );
}
