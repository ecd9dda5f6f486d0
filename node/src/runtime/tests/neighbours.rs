//! A bad guest is alone with it: its slot is free when its caller leaves, and others do not notice.

use std::future::Future as _;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::spec::Draft;
use http_body_util::BodyExt as _;

use super::fixture::{Fixture, Function, call, eventually, get};
use super::guests::{command, http};
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

/// Fills its memory with line ends and prints it by one write.
const LOG_FLOOD: &str = "(drop (memory.grow (i32.const 300)))
    (memory.fill (i32.const 65536) (i32.const 10) (i32.const 15728640))
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 15728640))
    (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))";

#[tokio::test]
async fn a_log_that_is_flooded_by_one_write_lets_others_have_their_turn() {
    let fixture = Fixture::new();
    let good = fixture.guest("hello-min.component.wasm", Draft::default()).await;
    let flood = fixture.deploy("flood", &command("", LOG_FLOOD), Draft::default()).await.unwrap();
    let mut turns = 0;
    let mut flooding = Box::pin(fixture.get(&flood, "/"));
    let flooding = std::future::poll_fn(|cx| {
        turns += 1;
        flooding.as_mut().poll(cx)
    });
    tokio::pin!(flooding);
    let mut served = 0;
    let answer = loop {
        // One thread: each round is one turn of the flood's, and one call of the other function.
        tokio::select! {
            biased;
            answer = &mut flooding => break answer,
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(fixture.get(&good, "/").await.unwrap().0, 200);
        served += 1;
    };
    assert_eq!(answer.unwrap().0, 200);
    println!("{turns} turns for 15 MiB of line ends; {served} calls served meanwhile");
    assert!(turns >= 240, "64 KiB a turn at most: {turns}");
    assert!(served > 0);
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
