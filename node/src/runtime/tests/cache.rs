//! Compiled code: made once, checked before it is mapped, made anew when it is damaged.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use tracing::Instrument as _;

use super::fixture::{Fixture, call, collect, eventually, get, guest};
use crate::front::tests::recorder::Recorder;
use crate::runtime::MemoryMode;

fn code_files(fixture: &Fixture) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture.folder.path().join("cache")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect()
}

fn damage(fixture: &Fixture) {
    let [file] = code_files(fixture).try_into().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, bytes).unwrap();
}

#[tokio::test]
async fn every_memory_mode_answers() {
    // Kernels before 6.7 tell nobody which pages were touched: there the probe decides for less.
    let best = Fixture::with(MemoryMode::Auto).runtime.stats().memory;
    let scan = (best == MemoryMode::PoolScan).then_some(MemoryMode::PoolScan);
    println!("auto came to {best}; {} modes run", if scan.is_some() { "all" } else { "the other" });
    for mode in scan.into_iter().chain([MemoryMode::Pool, MemoryMode::OnDemand]) {
        let fixture = Fixture::with(mode);
        assert_eq!(fixture.runtime.stats().memory, mode);
        let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
        for _ in 0..3 {
            assert_eq!(fixture.get(&hello, "/").await.unwrap().0, 200, "{mode}");
        }
    }
}

#[tokio::test]
async fn one_compiles_when_many_ask_in_two_processes() {
    let fixture = Fixture::new();
    let other = fixture.restarted();
    let (digest, path) = fixture.write(&guest("rust-http-wasip1.component.wasm"));
    let asked =
        [&fixture.runtime, &other, &fixture.runtime, &other].map(|runtime| runtime.prepare(&digest, &path));
    let done = futures::future::try_join_all(asked).await.unwrap();
    println!("{done:?}");
    assert_eq!(done.iter().filter(|prepared| prepared.compiled).count(), 1);
    assert!(other.is_prepared(&digest));
}

#[tokio::test]
async fn a_restarted_node_maps_what_it_compiled_before() {
    let fixture = Fixture::new();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let again = fixture.restarted();
    assert!(!again.prepare(&hello.version.digest, &hello.artifact).await.unwrap().compiled);
    let answer = again.invoke(call(&hello, get("/"))).await.unwrap();
    assert!(answer.cold);
    assert_eq!(collect(answer).await.unwrap().0, 200);
}

#[tokio::test]
async fn damaged_code_is_made_anew() {
    let fixture = Fixture::new();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    damage(&fixture);
    let again = fixture.restarted();
    let first = again.invoke(call(&hello, get("/"))).await.unwrap_err();
    assert_eq!(first.code(), Code::NotReady, "it does not know the artifact yet");
    assert!(!again.is_prepared(&hello.version.digest));
    assert!(again.prepare(&hello.version.digest, &hello.artifact).await.unwrap().compiled);
    assert_eq!(collect(again.invoke(call(&hello, get("/"))).await.unwrap()).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_call_that_finds_damaged_code_has_it_made_anew() {
    let fixture = Fixture::new();
    // It starts without code, so that its check at start has nothing to find.
    let other = fixture.restarted();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    damage(&fixture);
    assert!(!other.prepare(&hello.version.digest, &hello.artifact).await.unwrap().compiled);
    let answer = other.invoke(call(&hello, get("/"))).await.unwrap();
    assert!(answer.cold);
    assert_eq!(collect(answer).await.unwrap().0, 200);
}

#[tokio::test]
async fn code_that_another_process_removed_is_made_anew() {
    let fixture = Fixture::with_resident_max(1);
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let other = fixture.guest("c-wc.wasm", Draft::default()).await;
    for function in [&hello, &other] {
        fixture.get(function, "/").await.unwrap();
    }
    fixture.restarted().forget(&hello.version.digest);
    assert!(!fixture.runtime.is_prepared(&hello.version.digest));
    assert_eq!(fixture.get(&hello, "/").await.unwrap().0, 200, "it was checked here, and is gone");
    assert!(fixture.runtime.is_prepared(&hello.version.digest));
}

#[tokio::test]
async fn a_call_that_waits_for_the_check_of_its_code_shows_it() {
    let ended = Recorder::start().await;
    let fixture = Fixture::new();
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    // It is the same, but the system says that something was done to it.
    let [file] = code_files(&fixture).try_into().unwrap();
    std::fs::set_permissions(&file, file.metadata().unwrap().permissions()).unwrap();
    for (checks, what) in [(1, "it is checked anew"), (0, "and not again")] {
        let mut request = get("/");
        request.headers_mut().insert("traceparent", ended.caller().parse().unwrap());
        let caller = tracing::info_span!("caller");
        coracle_proto::trace::join_from_headers(&caller, request.headers());
        assert_eq!(
            collect(fixture.call(&hello, request).instrument(caller).await.unwrap()).await.unwrap().0,
            200
        );
        let spans = ended.take();
        let found = spans.iter().filter(|span| span.name == "cache.verify").count();
        assert_eq!(found, checks, "{what}: {spans:#?}");
    }
}

#[tokio::test]
async fn at_the_cap_the_least_recently_used_is_given_back() {
    let fixture = Fixture::with_resident_max(1);
    let hello = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let count = fixture.guest("c-wc.wasm", Draft::default()).await;
    for _ in 0..2 {
        for function in [&hello, &count] {
            let answer = fixture.call(function, get("/")).await.unwrap();
            assert!(answer.cold, "the other one had its place");
            assert_eq!(collect(answer).await.unwrap().0, 200);
            eventually("the other one is given back", || fixture.runtime.stats().resident == 1).await;
            let stats = fixture.runtime.stats();
            assert_eq!(stats.resident_max, 1);
            assert!(stats.resident_bytes > 0);
        }
    }
    fixture.runtime.forget(&count.version.digest);
    assert_eq!(fixture.runtime.stats().resident, 0);
}

#[tokio::test]
async fn a_failure_is_remembered_and_forgotten() {
    let fixture = Fixture::new();
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param f64))) (func (export "_start")))"#;
    let (digest, path) = fixture.write(&wat::parse_str(text).unwrap());
    let first = fixture.runtime.prepare(&digest, &path).await.unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(fixture.restarted().prepare(&digest, &path).await.unwrap_err(), first, "without the artifact");
    fixture.runtime.forget(&digest);
    assert_ne!(fixture.runtime.prepare(&digest, &path).await.unwrap_err(), first);
}

fn children_of_this_process_for(artifact: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let list = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().map(str::to_owned));
    }
    let artifact = artifact.to_string_lossy();
    found.retain(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&*artifact))
    });
    found
}

#[tokio::test]
async fn giving_up_ends_the_compilation() {
    let fixture = Fixture::new();
    // Within the scan's bounds, and a minute of work for the compiler.
    let function = format!("(func {}{})", "(loop ".repeat(60), ")".repeat(60));
    let slow = format!(r#"(module {} (func (export "_start")))"#, function.repeat(2000));
    let (digest, path) = fixture.write(&wat::parse_str(slow).unwrap());
    let children = || children_of_this_process_for(&path);
    let runtime = fixture.runtime.clone();
    let compiling = {
        let path = path.clone();
        tokio::spawn(async move { runtime.prepare(&digest, &path).await })
    };
    eventually("the child compiles", || children().len() == 1).await;
    let child = format!("/proc/{}", children()[0]);
    let limit = |name: &str| {
        let limits = std::fs::read_to_string(format!("{child}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        line.split_whitespace().next().unwrap().to_owned()
    };
    eventually("its CPU time is limited", || limit("Max cpu time") == "120").await;
    eventually("its memory is limited", || limit("Max address space") == (4_u64 << 30).to_string()).await;
    // Niceness belongs to threads; this child is a test executable, which compiles in a second one.
    let niceness = |task: PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(16).map(str::to_owned))
    };
    eventually("it is nice", || {
        let mut tasks = std::fs::read_dir(format!("{child}/task")).unwrap();
        tasks.any(|task| niceness(task.unwrap().path()).as_deref() == Some("10"))
    })
    .await;
    compiling.abort();
    eventually("the child is gone", || children().is_empty()).await;
    assert!(!fixture.runtime.is_prepared(&digest));
}
