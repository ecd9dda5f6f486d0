//! A bad guest is alone with it: its slot is free when its caller leaves, and others do not notice.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::spec::Draft;
use http_body_util::BodyExt as _;

use super::fixture::{Fixture, Function, call, eventually, get};
use super::guests::http;
use crate::clock;

const LOOP: &str = "(loop (br 0))";
const HEAD_THEN_LOOP: &str = "(local.set $b (call $head (local.get $out))) (loop (br 0))";
const HUNGRY: &str = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
/// The goal is 50 ms; tests run on busy machines.
const FREED_WITHIN: Duration = Duration::from_millis(5 * 50);

/// Calls until the task is aborted.
fn keep_calling(fixture: &Arc<Fixture>, function: &Function) -> tokio::task::JoinHandle<()> {
    let (fixture, function) = (Arc::clone(fixture), function.clone());
    tokio::spawn(async move {
        loop {
            if let Ok(answer) = fixture.runtime.invoke(call(&function, get("/"))).await {
                // Its failure is what it is called for.
                let _ = answer.response.into_body().collect().await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_ends_when_its_caller_leaves() {
    let fixture = Arc::new(Fixture::new());
    for handler in [LOOP, HEAD_THEN_LOOP] {
        let function = fixture.deploy("loop", &http(handler), Draft::default()).await.unwrap();
        let callers: Vec<_> = (0..8).map(|_| keep_calling(&fixture, &function)).collect();
        eventually("all loop", || fixture.runtime.stats().running == 8).await;
        let left = clock::now();
        for caller in &callers {
            caller.abort();
        }
        eventually("all slots are free", || fixture.runtime.stats().running == 0).await;
        println!("8 loops on 2 threads ended {:?} after their callers left", left.elapsed());
        assert!(left.elapsed() < FREED_WITHIN, "{:?}", left.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_served_while_guests_loop_allocate_and_trap() {
    let fixture = Arc::new(Fixture::new());
    let good = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let mut bad = Vec::new();
    for (name, handler) in [("loop", LOOP), ("hungry", HUNGRY), ("trap", "(unreachable)")] {
        let draft = Draft { cpu_time_ms: 200, ..Draft::default() };
        let function = fixture.deploy(name, &http(handler), draft).await.unwrap();
        bad.extend([keep_calling(&fixture, &function), keep_calling(&fixture, &function)]);
    }
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut times = Vec::new();
    for _ in 0..75 {
        every.tick().await;
        let began = clock::now();
        let served = tokio::time::timeout(Duration::from_secs(2), fixture.get(&good, "/")).await;
        assert_eq!(served.expect("within two seconds").unwrap().0, 200);
        times.push(began.elapsed());
    }
    for task in bad {
        assert!(!task.is_finished(), "the bad ones ran all the time");
        task.abort();
    }
    times.sort();
    println!("75 calls at 50/s beside loops, allocations, traps: p50 {:?}, max {:?}", times[37], times[74]);
    eventually("all slots are free", || fixture.runtime.stats().running == 0).await;
}
