//! Goal: guests that compute for long hold up nobody but one another, and guests never have more memory than there is.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, Function, call, collect, eventually, get};
use super::guests::command;
use crate::clock;

/// Instructions that look at no clock while they fill or copy all of a memory; a memory that is grown again and again; and
/// the plain loop, which gives way at every tick.
const HOGS: [&str; 4] = [
    "(drop (memory.grow (i32.const 1900))) (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 124518400)) (br 0))",
    "(drop (memory.grow (i32.const 1900)))
     (loop (memory.copy (i32.const 65536) (i32.const 62324736) (i32.const 62193664)) (br 0))",
    "(loop (drop (memory.grow (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0)) (br 0))",
    "(loop (br 0))",
];
const CALLERS: usize = 32;
/// What others wait at most: without the slow lane they wait for seconds.
const WAIT_MAX: Duration = Duration::from_millis(100 * 5);

async fn quiet(fixture: &Fixture) {
    eventually("all slots are free", || fixture.runtime.stats().running == 0).await;
    eventually("what guests had has come back", || fixture.runtime.stats().guests_bytes == 0).await;
}

fn keep(fixture: &Arc<Fixture>, function: &Function) -> tokio::task::JoinHandle<()> {
    let (fixture, function) = (Arc::clone(fixture), function.clone());
    tokio::spawn(async move {
        let answer = fixture.runtime.invoke(call(&function, get("/"))).await;
        panic!("it never ends: {answer:?}");
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_served_beside_guests_that_compute_for_long() {
    let fixture = Arc::new(Fixture::new());
    let good = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    for (at, hog) in HOGS.into_iter().enumerate() {
        let draft = Draft { cpu_time_ms: 600_000, timeout_ms: 600_000, ..Draft::default() };
        let bad = fixture.deploy(&format!("hog{at}"), &command("", hog), draft).await.unwrap();
        let bad: Vec<_> = (0..CALLERS).map(|_| keep(&fixture, &bad)).collect();
        eventually("all run", || fixture.runtime.stats().running == CALLERS).await;
        let mut every = tokio::time::interval(Duration::from_millis(10));
        let mut times = Vec::new();
        for _ in 0..100 {
            every.tick().await;
            let began = clock::now();
            assert_eq!(fixture.get(&good, "/").await.unwrap().0, 200);
            times.push(began.elapsed());
        }
        times.sort();
        println!("beside {CALLERS} of hog {at}: p50 {:?}, max {:?}", times[50], times[99]);
        for task in bad {
            assert!(!task.is_finished(), "it ran all the time: {:?}", task.await);
            task.abort();
        }
        assert!(times[98] < WAIT_MAX, "{:?}", times[98]);
        quiet(&fixture).await;
    }
}

/// An answer that is made in the slow lane comes whole, and in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_guest_answers_as_it_would_have() {
    let fixture = Fixture::new();
    let work = "(local $i i32) (loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 200000000))))";
    let text = "content-type: text/plain\\n\\nhello";
    let print = "(call $print (i32.const 1024) (i32.const 31))";
    for (name, body) in [
        ("before", format!("{work} {print}")),
        ("after", format!("{print} {}", work.replace("(local $i i32)", ""))),
        ("trap", format!("{work} (unreachable)")),
    ] {
        let body = if name == "after" { format!("(local $i i32) {body}") } else { body };
        let function = fixture.deploy(name, &command(text, &body), Draft::default()).await.unwrap();
        // The second call begins where the first one ended.
        for _ in 0..2 {
            let answer = match fixture.call(&function, get("/")).await {
                Ok(answer) => collect(answer).await,
                Err(error) => Err(error),
            };
            match name {
                "trap" => assert_eq!(answer.unwrap_err().code(), Code::FunctionTrapped),
                _ => assert_eq!(answer.unwrap(), (200, "hello".to_owned()), "{name}"),
            }
        }
    }
    quiet(&fixture).await;
}

/// Takes a mebibyte at a time and waits between.
const GROWS: &str = "(loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
    (call $sleep (i64.const 1000000)) (br 0))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_have_no_more_memory_than_the_node_has_for_them() {
    let fixture = Arc::new(Fixture::with_guests_bytes(64 << 20));
    let good = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let draft = || Draft { memory_bytes: 4 << 30, ..Draft::default() };
    let hungry = fixture.deploy("hungry", &command("", GROWS), draft()).await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (fixture, hungry) = (Arc::clone(&fixture), hungry.clone());
            tokio::spawn(async move { fixture.get(&hungry, "/").await })
        })
        .collect();
    let mut most = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        most = most.max(fixture.runtime.stats().guests_bytes);
        tokio::task::yield_now().await;
    }
    println!("guests had {} MiB of 64 at most", most >> 20);
    assert!(most <= 64 << 20 && most > 32 << 20, "{most}");
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!([Code::NodeOutOfMemory, Code::Overloaded].contains(&error.code()), "{error:?}");
        assert!(error.to_string().contains("64 MiB"), "it names the bound: {error}");
    }
    quiet(&fixture).await;
    // Its program is known by now for what it needs: with half of that given, it does not begin.
    let half = command("", "(drop (memory.grow (i32.const 800))) (loop (br 0))");
    let held = keep(&fixture, &fixture.deploy("held", &half, draft()).await.unwrap());
    eventually("half is given", || fixture.runtime.stats().guests_bytes > 50 << 20).await;
    let error = fixture.get(&hungry, "/").await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded, "another node may have room: {error}");
    assert_eq!(fixture.get(&good, "/").await.unwrap().0, 200, "small ones fit");
    held.abort();
    quiet(&fixture).await;
}

/// A memory of two pages that is asked for a hundred MiB, thrice.
const BOUNDED: &str = r#"(module (memory (export "memory") 1 2) (func (export "_start")
    (drop (memory.grow (i32.const 1600))) (drop (memory.grow (i32.const 1600))) (drop (memory.grow (i32.const 1600)))
    (unreachable)))"#;

#[tokio::test]
async fn what_was_not_given_counts_for_nothing() {
    let fixture = Fixture::with_guests_bytes(256 << 20);
    let bounded = wat::parse_str(BOUNDED).unwrap();
    let bounded = fixture.deploy("bounded", &bounded, Draft::default()).await.unwrap();
    let error = fixture.get(&bounded, "/").await.unwrap_err();
    assert_eq!(error.code(), Code::FunctionTrapped, "its own bound refused it, not its grant: {error}");
    // What it exits for after a refusal it alone knows.
    let fixture = Fixture::with_guests_bytes(16 << 20);
    let copes = command("", "(drop (memory.grow (i32.const 800))) (call $exit (i32.const 1))");
    let copes = fixture.deploy("copes", &copes, Draft::default()).await.unwrap();
    let error = fixture.get(&copes, "/").await.unwrap_err();
    assert_eq!(error.code(), Code::FunctionFailed, "{error}");
    // It would have more from its start than there is: nothing begins.
    let large = r#"(module (memory (export "memory") 400) (func (export "_start")))"#;
    let large = fixture.deploy("large", &wat::parse_str(large).unwrap(), Draft::default()).await.unwrap();
    let error = fixture.get(&large, "/").await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded, "{error}");
    quiet(&fixture).await;
}
