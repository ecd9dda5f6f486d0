//! Goal: each verb of the command line writes each form of result, and ends with the exit code that is documented.

use std::path::Path;
use std::time::Duration;

use coracle_tests::{Cluster, Options, eventually, guest, run, wat};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Answers like CGI with what it was given: method, `HTTP_X_TEST` and body.
const ECHO: &str = "rust-http-wasip1.component.wasm";

async fn cluster() -> (Cluster, TempDir) {
    (Cluster::start(PROGRAM, 1).await, TempDir::new().unwrap())
}

fn manifest(folder: &Path, text: &str) -> String {
    let path = folder.join("coracle.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_result_has_each_form() {
    let (cluster, _) = cluster().await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
    let id = cluster.id_of(0).await.to_string();
    // Command, whether it is a list, its name, and words of its table.
    let cases: [(&[&str], bool, Option<&str>, &[&str]); 7] = [
        (&["status"], false, None, &["leader node", "NODE", "FUNCTION", "/hello/*", "1/"]),
        (&["node", "list"], true, Some(&id), &["NODE", "STATE", "alive", "leader"]),
        (&["node", "get", &id], false, Some(&id), &["state", "alive", "pids", "supervisor ", "hello"]),
        (&["function", "list"], true, Some("hello"), &["NAME", "VERSION", "READY", "hello"]),
        (&["function", "get", "hello"], false, Some("hello"), &["hello", "sha256:", "memory", "128 MiB"]),
        (&["route", "list"], true, None, &["ROUTE", "FUNCTION"]),
        (&["version"], false, Some("0.1.0"), &["coracle 0.1.0"]),
    ];
    for (command, is_list, name, words) in cases {
        let with = |format| [command, &["-o", format]].concat();
        let table = cluster.run(command).await.ok();
        let json = cluster.run(&with("json")).await.ok().json();
        let yaml = cluster.run(&with("yaml")).await.ok();
        let names = cluster.run(&with("name")).await.ok();
        for word in words {
            assert!(table.stdout.contains(word), "{command:?}: no '{word}' in\n{}", table.stdout);
        }
        assert_eq!(table.stderr, "", "{command:?}");
        assert_eq!(json.is_array(), is_list, "{command:?}: {json}");
        if let Some(first) = yaml_keys(&yaml.stdout).first() {
            let object = if is_list { &json[0] } else { &json };
            assert!(object.get(first).is_some(), "{command:?}: YAML has {first}, JSON not: {json}");
        }
        if let Some(name) = name {
            assert_eq!(names.stdout, format!("{name}\n"), "{command:?}");
        }
        let wide = cluster.run(&with("wide")).await.ok();
        for word in words {
            assert!(wide.stdout.contains(word), "{command:?}: no '{word}' in\n{}", wide.stdout);
        }
        if matches!(command, ["status"] | ["node" | "function" | "route", "list"]) {
            // A changed width of a column that both have makes no difference: headings are counted.
            let columns = |text: &str| {
                text.lines()
                    .flat_map(str::split_whitespace)
                    .filter(|it| it.chars().all(char::is_uppercase))
                    .count()
            };
            assert!(columns(&wide.stdout) > columns(&table.stdout), "{command:?}: {}", wide.stdout);
        }
    }
    let _ = cluster.run(&["-o", "nonsense", "status"]).await.failed_with(1);
}

/// The top-level keys of a YAML object, or of the first one of a list.
fn yaml_keys(text: &str) -> Vec<&str> {
    let keys = text.lines().map(|line| line.trim_start_matches("- "));
    keys.filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .filter(|key| !key.contains(' '))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_deploys_all_of_its_functions() {
    let (cluster, folder) = cluster().await;
    std::fs::copy(guest("hello-min.component.wasm"), folder.path().join("hello.wasm")).unwrap();
    std::fs::copy(guest(ECHO), folder.path().join("echo.wasm")).unwrap();
    let text = "[function.hello]\ncomponent = 'hello.wasm'\nroutes = ['/greet']\nmemory = '16MiB'\n\
                [function.echo]\nnamespace = 'shop'\ncomponent = 'echo.wasm'\nenv = { WHO = 'tests' }\n";
    let file = manifest(folder.path(), text);
    let list = cluster.run(&["deploy", &file, "-o", "json"]).await.ok().json();
    assert_eq!((&list[0]["name"], &list[1]["name"]), (&"hello".into(), &"echo".into()));
    assert_eq!((&list[0]["unchanged"], &list[1]["namespace"]), (&false.into(), &"shop".into()));
    for url in [&list[0]["urls"][0], &list[1]["urls"][0]] {
        let answer = cluster.client.get(url.as_str().unwrap()).await.unwrap();
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    }
    let hello = cluster.run(&["function", "get", "hello", "-o", "json"]).await.ok().json();
    assert_eq!(hello["versions"][0]["spec"]["memory_bytes"], 16 << 20);
    let _ = cluster.run(&["invoke", "shop/echo"]).await.ok();

    let folder_named = folder.path().display().to_string();
    let again = cluster.run(&["deploy", &folder_named, "--no-wait", "-o", "json"]).await.ok();
    // Of another folder, and with one function only: its own addresses count, and a list is a list.
    let grpc = &cluster.nodes[0].grpc;
    let hello = "[function.hello]\ncomponent = 'hello.wasm'\nroutes = ['/greet']\nmemory = '16MiB'\n";
    let file = manifest(folder.path(), &format!("addresses = ['{grpc}']\n{hello}"));
    let home = [("XDG_CONFIG_HOME".to_owned(), folder_named.clone())];
    let one = run(Path::new(PROGRAM), &["deploy", &file, "-o", "json"], &home, "").await.ok().json();
    assert_eq!((&one[0]["name"], &one[0]["unchanged"]), (&"hello".into(), &true.into()));
    // What was deployed before a failure is told, and where and at which step it failed.
    std::fs::write(folder.path().join("bad.wasm"), "no wasm").unwrap();
    let file = manifest(folder.path(), &format!("{hello}[function.bad]\ncomponent = 'bad.wasm'\n"));
    let half = cluster.run(&["deploy", &file, "-o", "json"]).await.failed_with(4);
    assert_eq!(half.json()[0]["name"], "hello");
    let step = format!("node {}, check: ", cluster.id_of(0).await);
    assert!(half.stderr.contains(&step) && half.stderr.contains("not-wasm"), "{}", half.stderr);
    assert!(again.json().as_array().unwrap().iter().all(|one| one["unchanged"] == true), "{again:?}");
    assert!(again.stderr.contains("is unchanged") && !again.stderr.contains("is ready on"), "{again:?}");
    let shop = cluster.run(&["function", "list", "--namespace", "shop", "-o", "name"]).await.ok();
    assert_eq!(shop.stdout, "shop/echo\n");
    assert_eq!(cluster.run(&["route", "list", "-o", "name"]).await.ok().stdout, "/greet\n/shop/echo/*\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_this_side_is_said_before_anything_is_sent() {
    let folder = TempDir::new().unwrap();
    let home = [("XDG_CONFIG_HOME".to_owned(), folder.path().display().to_string())];
    let text = "[function.hello]\ncomponent = 'hello.wasm'\nmemroy = '1MiB'\ntimeout = 5\n";
    let file = manifest(folder.path(), text);
    let wasm = guest("hello-min.component.wasm").display().to_string();
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["deploy", &file],
            &["coracle.toml:3", "did you mean 'memory'?", "coracle.toml:4", "such as \"30s\""],
        ),
        (&["deploy", &file, "--memory", "1MiB"], &["--memory", "in a manifest it is a key"]),
        (&["deploy", &wasm], &["coracle deploy NAME"]),
        (&["deploy", "x", "nowhere.wasm"], &["nowhere.wasm"]),
        (&["deploy", "Not A Name", &wasm], &["NAME"]),
        (&["invoke", "hello", "-d", "@nowhere"], &["nowhere"]),
        (&["logs", "hello", "--since", "yesterday"], &["--since"]),
        (&["status", "--context", "prod"], &["--address and --context"]),
        (&["sail"], &["unrecognized subcommand"]),
    ];
    for (command, words) in cases {
        // An address that nobody has: it must not matter, but where the data of a call is read last.
        let arguments = [&["--address", "127.0.0.1:1", "--wait-timeout", "1s"], command].concat();
        let done = run(Path::new(PROGRAM), &arguments, &home, "").await.failed_with(1);
        for word in words {
            assert!(done.stderr.contains(word), "{command:?}: no '{word}' in {}", done.stderr);
        }
        assert_eq!(done.stdout, "", "{command:?}");
    }
    // A flag goes before the environment.
    let environment =
        [home.to_vec(), vec![("CORACLE_ADDRESS".to_owned(), "127.0.0.1:1".to_owned())]].concat();
    let done =
        run(Path::new(PROGRAM), &["status", "--context", "prod"], &environment, "").await.failed_with(1);
    assert!(done.stderr.contains("no context 'prod'"), "{}", done.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(PROGRAM);
    let done = command.args(["version", "-o", "json"]).stdout(writer).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_cannot_be_used_costs_traces_and_nothing_else() {
    let environment = |endpoint: &str| vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.to_owned())];
    for endpoint in ["https://127.0.0.1:4317", "nonsense"] {
        let local = run(Path::new(PROGRAM), &["completion", "bash"], &environment(endpoint), "").await.ok();
        assert_eq!(local.stderr, "");
        let options = Options { nodes: 1, environment: environment(endpoint), ..Options::default() };
        let cluster = Cluster::with(PROGRAM, options).await;
        cluster.deploy("hello", &guest("hello-min.component.wasm"), &[]).await;
        let answer = cluster.client.get(&cluster.url(0, "/hello")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let status = cluster.run(&["status"]).await.ok();
        assert!(status.stderr.contains("warning: no traces are sent"), "{}", status.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_exit_code() {
    let (cluster, folder) = cluster().await;
    cluster.deploy("hello", &guest("hello-min.component.wasm"), &["--route", "/hello"]).await;
    let wasm = guest("hello-min.component.wasm").display().to_string();

    let nobody = run(Path::new(PROGRAM), &["status", "--address", "127.0.0.1:1"], &[], "").await;
    let nobody = nobody.failed_with(2);
    assert!(nobody.stderr.contains("127.0.0.1:1: Connection refused"), "{}", nobody.stderr);

    let text = folder.path().join("text.wasm");
    std::fs::write(&text, "no wasm").unwrap();
    let refused = cluster.run(&["deploy", "x", &text.display().to_string()]).await.failed_with(4);
    assert!(refused.stderr.contains("(code not-wasm, see docs/errors/not-wasm.md)"), "{}", refused.stderr);
    for missing in [["function", "get", "nobody"], ["invoke", "nobody", "-dx"], ["node", "get", "77"]] {
        let _ = cluster.run(&missing).await.failed_with(6);
    }
    let _ = cluster.run(&["logs", "nobody"]).await.failed_with(6);
    let _ = cluster.run(&["function", "rollback", "hello"]).await.failed_with(6);
    let conflict = cluster.run(&["deploy", "other", &wasm, "--route", "/hello"]).await.failed_with(8);
    assert!(conflict.stderr.contains("route-conflict"), "{}", conflict.stderr);

    let traps = wat::command(folder.path(), "traps", wat::TRAP);
    cluster.deploy("traps", &traps, &[]).await;
    let failed = cluster.run(&["invoke", "traps"]).await.failed_with(9);
    assert!(failed.stderr.contains("function-trapped") && failed.stdout.is_empty(), "{failed:?}");
    assert!(failed.stderr.contains("status 500, invocation"), "{failed:?}");

    let loops = wat::command(folder.path(), "loops", wat::LOOP);
    let limits = ["--concurrency", "1", "--cpu-time", "5m", "--timeout", "5m"];
    cluster.deploy("loops", &loops, &limits).await;
    let busy = cluster.start_command(&["invoke", "loops"]);
    eventually("the call runs", async || {
        let status = cluster.status().await?;
        let calls = &status["nodes"][0]["load"]["in_flight"];
        if *calls == 1 { Ok(()) } else { Err(format!("{calls} calls")) }
    })
    .await;
    let throttled = cluster.run(&["invoke", "loops"]).await.failed_with(10);
    assert!(throttled.stderr.contains("(code concurrency-limit"), "{}", throttled.stderr);
    drop(busy);
    eventually("a command gives up at its deadline", async || {
        let late = cluster.run(&["invoke", "loops", "--wait-timeout", "300ms"]).await;
        // The place is free as soon as the caller has left.
        if late.code == 7 && late.stderr.contains("no answer of 'loops'") {
            Ok(())
        } else {
            Err(format!("{late:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invoke_sends_what_it_is_given() {
    let (cluster, folder) = cluster().await;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    cluster.deploy("echo", &guest(ECHO), &[]).await;
    let file = folder.path().join("words");
    std::fs::write(&file, "one two three\n").unwrap();
    let at_file = format!("@{}", file.display());
    for (data, stdin, words) in [("one two", "", 2), (at_file.as_str(), "", 3), ("@-", "a b c d", 4)] {
        let done = cluster.run_with(&["invoke", "wc", "-d", data], stdin).await.ok();
        assert!(done.stdout.contains(&format!("\"words\":{words}")), "{data}: {done:?}");
    }
    let told = cluster.run(&["invoke", "wc", "-d", "x"]).await.ok();
    for word in ["node 1, warm, ", "s, 1 attempt, version 1, status 200, invocation ", ", trace "] {
        assert!(told.stderr.contains(word), "no '{word}' in {}", told.stderr);
    }
    let quiet = cluster.run(&["--quiet", "invoke", "wc", "-d", "x"]).await.ok();
    assert_eq!(quiet.stderr, "");

    let path = cluster.run(&["invoke", "echo", "-X", "GET", "--path", "/a/b"]).await.ok();
    assert!(path.stdout.contains("/a/b"), "{path:?}");
    // The trace is the caller's own where a header names one: so the header arrived.
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = cluster.run(&["invoke", "echo", "-H", parent]).await.ok();
    assert!(traced.stderr.contains("trace 0af7651916cd43dd8448eb211c80319c"), "{}", traced.stderr);
    let _ = cluster.run(&["invoke", "echo", "-H", "no header"]).await.failed_with(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_cut_and_followed() {
    let (cluster, folder) = cluster().await;
    cluster.deploy("says", &wat::command(folder.path(), "says", "(call $say (i32.const 2))"), &[]).await;
    for _ in 0..3 {
        let _ = cluster.client.post(&cluster.url(0, "/says"), "").await.unwrap();
    }
    let lines = async |arguments: &[&str]| {
        let done = cluster.run(&[&["logs", "says", "-o", "json"], arguments].concat()).await.ok();
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = eventually("three lines", async || {
        let all = lines(&[]).await;
        if all.len() == 3 { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await;
    assert_eq!(
        (&all[0]["line"], &all[0]["stream"], &all[0]["node"]),
        (&"hello".into(), &"stderr".into(), &1.into())
    );
    assert_eq!(lines(&["--tail", "2"]).await, all[1..]);
    assert_eq!(lines(&["--since", "10m"]).await, all);
    assert_eq!(lines(&["--since", all[2]["time"].as_str().unwrap()]).await.last(), all.last());
    assert!(lines(&["--since", "2100-01-01T00:00:00Z"]).await.is_empty());
    let plain = cluster.run(&["logs", "says", "--tail", "1"]).await.ok();
    assert!(plain.stdout.contains("node=1 version=1 stderr hello\n"), "{}", plain.stdout);

    let mut follow = cluster.start_command(&["logs", "says", "-f", "--tail", "1", "-o", "json"]);
    follow.wait_for(all[2]["invocation"].as_str().unwrap(), Duration::from_secs(5)).await;
    let answer = cluster.client.post(&cluster.url(0, "/says"), "").await.unwrap();
    follow.wait_for(answer.header("coracle-invocation-id"), Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_and_delete() {
    let (cluster, _) = cluster().await;
    let file = guest(ECHO);
    for who in ["first", "second", "third"] {
        cluster.deploy("who", &file, &["--env", &format!("WHO={who}")]).await;
    }
    let answers = async |who: &str| {
        let done = cluster.run(&["invoke", "who"]).await.ok();
        assert!(done.stdout.contains(who), "expected {who}: {done:?}");
    };
    let back = cluster.run(&["function", "rollback", "who"]).await.ok();
    assert!(back.stderr.contains("calls of who go to version 2"), "{}", back.stderr);
    answers("second").await;
    let _ = cluster.run(&["fn", "rollback", "who", "--to", "3"]).await.ok();
    answers("third").await;
    let never = cluster.run(&["function", "rollback", "who", "--to", "9"]).await.failed_with(6);
    assert!(never.stderr.contains("version-not-found"), "{}", never.stderr);

    let asked = cluster.run(&["function", "delete", "who"]).await.failed_with(1);
    assert!(
        asked.stderr.contains("Delete the function 'who'") && asked.stderr.contains("give -y"),
        "{asked:?}"
    );
    answers("third").await;
    let gone = cluster.run(&["function", "delete", "who", "-y", "-o", "name"]).await.ok();
    assert_eq!(gone.stdout, "who\n");
    assert!(gone.stderr.contains("who is deleted"), "{}", gone.stderr);
    let _ = cluster.run(&["function", "delete", "who", "-y"]).await.failed_with(6);
    assert_eq!(cluster.run(&["function", "list", "-o", "json"]).await.ok().json(), Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_address_is_passed_over() {
    let (cluster, _) = cluster().await;
    let addresses = format!("127.0.0.1:1,{}", cluster.nodes[0].grpc);
    let before =
        run(Path::new(PROGRAM), &["--address", &addresses, "status", "-o", "json"], &[], "").await.ok();
    let live = ["status", "--address", "127.0.0.1:1", "--address", &cluster.nodes[0].grpc, "-o", "json"];
    let after = run(Path::new(PROGRAM), &live, &[], "").await.ok();
    assert_eq!(before.json()["cluster"], after.json()["cluster"]);
    let environment = [("CORACLE_ADDRESS".to_owned(), addresses)];
    let named = run(Path::new(PROGRAM), &["status", "-o", "name"], &environment, "").await.ok();
    assert_eq!(Value::String(named.stdout.trim().to_owned()), before.json()["cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_version_and_colour_need_no_cluster() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(Path::new(PROGRAM), &["completion", shell], &[], "").await.ok();
        assert!(script.stdout.contains("rollback") && script.stderr.is_empty(), "{shell}: {script:?}");
        assert!(!script.stdout.contains("data-plane"), "{shell}: a hidden verb is offered");
    }
    let _ = run(Path::new(PROGRAM), &["completion", "cobol"], &[], "").await.failed_with(1);
    let version = run(Path::new(PROGRAM), &["version", "-o", "json"], &[], "").await.ok().json();
    assert_eq!((&version["version"], &version["os"]), (&env!("CARGO_PKG_VERSION").into(), &"linux".into()));
    let flag = run(Path::new(PROGRAM), &["--version"], &[], "").await.ok();
    assert_eq!(flag.stdout, format!("coracle {}\n", env!("CARGO_PKG_VERSION")));
}

/// What the command writes to a terminal, by way of `script` (util-linux).
async fn on_a_terminal(cluster: &Cluster, file: &Path, environment: &[(String, String)]) -> String {
    let grpc = &cluster.nodes[0].grpc;
    let command = format!("{PROGRAM} --address {grpc} deploy hello {}", file.display());
    let done = run(Path::new("script"), &["-qec", &command, "/dev/null"], environment, "").await.ok();
    done.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_for_terminals_and_for_those_who_like_it() {
    let cluster = Cluster::with(PROGRAM, Options { nodes: 1, ..Options::default() }).await;
    let file = guest("hello-min.component.wasm");
    let plain = cluster.deploy("hello", &file, &[]).await;
    assert!(plain.stderr.contains('✓') && !plain.stderr.contains('\x1b'), "{}", plain.stderr);
    let green = "\x1b[32m✓";
    assert!(on_a_terminal(&cluster, &file, &[]).await.contains(green));
    let sober = on_a_terminal(&cluster, &file, &[("NO_COLOR".to_owned(), "1".to_owned())]).await;
    assert!(sober.contains('✓') && !sober.contains(green), "{sober}");
}
