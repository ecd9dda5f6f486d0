//! Goal: every limit has an error that names it, and a function at its limit fails alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use coracle_tests::{Answer, Client, Cluster, Load, eventually, guest, wat, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// A node with a good neighbour that is called 50 times a second while something misbehaves.
struct Neighbourhood {
    cluster: Cluster,
    folder: TempDir,
}

impl Neighbourhood {
    async fn new() -> Self {
        let cluster = Cluster::start(PROGRAM, 1).await;
        cluster.deploy("neighbour", &guest("hello-min.component.wasm"), &[]).await;
        Self { cluster, folder: TempDir::new().unwrap() }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deploys a command and calls it `calls` times at once, beside the neighbour; none of whose calls may fail.
    async fn misbehave(&self, name: &str, body: &str, flags: &[&str], calls: usize) -> Vec<Answer> {
        self.cluster.deploy(name, &wat::command(self.folder(), name, body), flags).await;
        let urls = vec![self.cluster.url(0, "/neighbour")];
        let beside = tokio::spawn(Load::gets(100, 50, urls).run(Arc::new(AtomicUsize::new(0))));
        let url = self.cluster.url(0, &format!("/{name}"));
        let client = self.cluster.client.clone();
        let tasks: Vec<_> = (0..calls)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(async move { client.post(&url, "x").await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap().unwrap());
        }
        let report = beside.await.unwrap();
        assert_eq!(report.failed().len(), 0, "the neighbour of {name} suffered: {report}");
        answers
    }
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.header("coracle-error")), (status, code), "{}", answer.text());
    assert!(answer.text().contains(code), "the body does not name {code}: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_traps_recursion_and_exits_fail_alone() {
    let town = Neighbourhood::new().await;
    for answer in town.misbehave("loops", wat::LOOP, &["--cpu-time", "300ms"], 4).await {
        is(&answer, 504, "cpu-time-exceeded");
    }
    for answer in town.misbehave("sleeps", wat::LOOP, &["--timeout", "300ms"], 2).await {
        is(&answer, 504, "response-timeout");
        assert!(answer.elapsed < Duration::from_millis(300) * 5, "{:?}", answer.elapsed);
    }
    for answer in town.misbehave("traps", wat::TRAP, &[], 4).await {
        is(&answer, 500, "function-trapped");
    }
    for answer in town.misbehave("recurses", wat::RECURSE, &[], 4).await {
        is(&answer, 500, "function-trapped");
    }
    for answer in town.misbehave("exits", wat::EXIT, &[], 4).await {
        is(&answer, 500, "function-failed");
        assert!(answer.text().contains('3'), "the exit code is not named: {}", answer.text());
    }
    for answer in town.misbehave("hello", wat::HELLO, &[], 4).await {
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "hello\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let town = Neighbourhood::new().await;
    for answer in town.misbehave("grows", wat::ALLOCATE, &["--memory", "32MiB"], 4).await {
        is(&answer, 507, "memory-exceeded");
        assert!(answer.text().contains("33554432") || answer.text().contains("32"), "{}", answer.text());
    }
}

/// Each call of it would fail: the deploy does.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_could_never_be_had_is_refused_by_the_deploy() {
    let town = Neighbourhood::new().await;
    let text = r#"(module (memory (export "memory") 4096) (func (export "_start")))"#;
    let file = wat::write(town.folder(), "large", text);
    let deploy = ["deploy", "large", file.to_str().unwrap()];
    let refused = town.cluster.run(&deploy).await.failed_with(4);
    assert!(refused.stderr.contains("268435456") && refused.stderr.contains("memory"), "{}", refused.stderr);
    let _ = town.cluster.run(&[&deploy[..], &["--memory", "256MiB"]].concat()).await.ok();
    town.cluster.answers(0, "/large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_is_bounded() {
    let town = Neighbourhood::new().await;
    let answers =
        town.misbehave("narrow", wat::LOOP, &["--concurrency", "2", "--cpu-time", "500ms"], 6).await;
    let refused =
        answers.iter().filter(|answer| answer.header("coracle-error") == "concurrency-limit").count();
    let ran = answers.iter().filter(|answer| answer.header("coracle-error") == "cpu-time-exceeded").count();
    assert_eq!((ran, refused), (2, 4), "{:?}", answers.iter().map(Answer::text).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| [429, 504].contains(&answer.status.as_u16())));
}

#[tokio::test(flavor = "multi_thread")]
async fn buffered_bodies_are_bounded() {
    let town = Neighbourhood::new().await;
    let cluster = &town.cluster;
    cluster.deploy("wc", &guest("c-wc.wasm"), &[]).await;
    let url = cluster.url(0, "/wc");
    let fits = cluster.client.post(&url, vec![b'x'; 6 << 20]).await.unwrap();
    assert_eq!(fits.status, 200, "{}", fits.text());
    is(&cluster.client.post(&url, vec![b'x'; (6 << 20) + 1]).await.unwrap(), 413, "request-too-large");

    cluster
        .deploy(
            "talks",
            &wat::command(town.folder(), "talks", wat::TALK),
            &["--cpu-time", "60s", "--timeout", "60s"],
        )
        .await;
    let answer = cluster.client.post(&cluster.url(0, "/talks"), "").await;
    // Over the bound before the head it is an error, after it an aborted body: never a whole answer.
    match answer {
        Ok(answer) => is(&answer, 502, "response-too-large"),
        Err(broken) => assert!(broken.starts_with("body: "), "{broken}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_is_ended() {
    let town = Neighbourhood::new().await;
    town.cluster.deploy("waits", &guest("c-wc.wasm"), &["--idle-timeout", "500ms"]).await;
    let url = town.cluster.url(0, "/waits");
    let address = url.trim_start_matches("http://").trim_end_matches("/waits");
    let mut caller = TcpStream::connect(address).await.unwrap();
    let head = "POST /waits HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\nx";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = caller.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("it stalls for ever").unwrap();
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("coracle-error: idle-timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_bounded_and_say_what_was_dropped() {
    let town = Neighbourhood::new().await;
    for answer in town.misbehave("floods", wat::FLOOD, &["--cpu-time", "3s"], 2).await {
        is(&answer, 504, "cpu-time-exceeded");
    }
    eventually("the log says that records are missing, and why", async || {
        let done = town.cluster.run(&["logs", "floods", "--tail", "5"]).await.ok();
        let talk = format!("{}{}", done.stdout, done.stderr);
        if talk.contains("records are missing: over 1024 KiB a second") { Ok(()) } else { Err(talk) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_a_looping_guest_frees_its_slot() {
    let town = Neighbourhood::new().await;
    let file = wat::command(town.folder(), "lonely", wat::LOOP);
    town.cluster
        .deploy("lonely", &file, &["--concurrency", "1", "--cpu-time", "5m", "--timeout", "5m"])
        .await;
    let url = town.cluster.url(0, "/lonely");
    let call = || {
        let (client, url) = (town.cluster.client.clone(), url.clone());
        tokio::spawn(async move { client.post(&url, "").await })
    };
    let refused = |answer: &Result<Answer, String>| {
        answer.as_ref().is_ok_and(|it| it.header("coracle-error") == "concurrency-limit")
    };
    let caller = std::cell::RefCell::new(call());
    let has_the_slot = async || {
        // It was refused: by a look that was not over yet, or by one that had left and still had the slot.
        if caller.borrow().is_finished() {
            caller.replace(call());
        }
        let look = Client::new(Duration::from_millis(30)).post(&url, "").await;
        if refused(&look) && !caller.borrow().is_finished() { Ok(()) } else { Err(format!("{look:?}")) }
    };
    eventually("a caller has the slot", has_the_slot).await;
    for _ in 0..5 {
        caller.replace(call()).abort();
        within(Duration::from_millis(50), "it left, and the next one has the slot", has_the_slot).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_cannot_work_are_refused() {
    let town = Neighbourhood::new().await;
    let cluster = &town.cluster;
    let folder = town.folder();
    let imports = wat::write(
        folder,
        "imports",
        r#"(module (import "nowhere" "nothing" (func)) (func (export "_start")))"#,
    );
    let nothing = wat::write(folder, "nothing", "(module)");
    let bomb = {
        let depth = 200;
        let text =
            format!("(module (func (export \"_start\") {} {}))", "(loop ".repeat(depth), ")".repeat(depth));
        wat::write(folder, "bomb", &text)
    };
    let locals = wat::write(
        folder,
        "locals",
        &format!("(module (func (export \"_start\") (local {})))", "i64 ".repeat(50_000)),
    );
    let text = folder.join("text.wasm");
    std::fs::write(&text, "no wasm").unwrap();
    let cases = [
        ("imports", imports.as_path(), "unsatisfied-import", "nowhere"),
        ("nothing", nothing.as_path(), "unsupported-module", "_start"),
        ("pure", &guest("zig-pure.wasm"), "unsupported-module", "_start"),
        ("text", text.as_path(), "not-wasm", ""),
        ("locals", locals.as_path(), "module-too-complex", "50000"),
        ("bomb", bomb.as_path(), "module-too-complex", "64"),
    ];
    for (name, file, code, word) in cases {
        let done = cluster.run(&["deploy", name, &file.display().to_string()]).await;
        assert_eq!(done.code, 4, "{name}: {done:?}");
        assert!(done.stderr.contains(code) && done.stderr.contains(word), "{name}: {}", done.stderr);
    }
    let list = cluster.run(&["function", "list", "-o", "name"]).await.ok();
    assert!(!list.stdout.contains("imports") && !list.stdout.contains("pure"), "{}", list.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_out_of_bounds_name_the_bound() {
    let cluster = Cluster::start(PROGRAM, 1).await;
    let file = guest("hello-min.component.wasm").display().to_string();
    for (flag, value, word) in [
        ("--memory", "5GiB", "memory"),
        ("--timeout", "16m", "timeout"),
        ("--idle-timeout", "1h", "idle-timeout"),
        ("--cpu-time", "16m", "cpu-time"),
        ("--concurrency", "1001", "concurrency"),
        ("--replicas", "101", "replicas"),
        ("--route", "no-slash", "routes"),
        ("--host", "http://x", "hosts"),
    ] {
        let done = cluster.run(&["deploy", "x", &file, flag, value]).await;
        assert!([1, 4].contains(&done.code), "{flag}: {done:?}");
        assert!(done.stderr.contains(word), "{flag}: {}", done.stderr);
    }
}
