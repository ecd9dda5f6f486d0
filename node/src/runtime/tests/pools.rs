//! Goal: a call that was admitted never lacks a pool's slot, whatever it uses; what uses more is refused when it is deployed.

use std::fmt::Write as _;
use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, Making, call, eventually, get};
use super::guests::http;
use crate::runtime::MemoryMode;
use crate::runtime::bounds::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use crate::worker::tests::{Fixed, metrics};
use crate::worker::{Executor, Options};

const RUNNING_MAX: u32 = 6;

/// A command that runs for ever, with so many core instances, memories and tables.
fn large(instances: u32, memories: u32, tables: u32) -> Vec<u8> {
    let mut text = String::from(
        r#"(component
        (core module $main (func (export "run") (result i32) (loop (br 0)) (i32.const 0)))
        (core module $memory (memory 1))
        (core module $table (table 1 funcref))
        (core module $nothing)
        (core instance $main (instantiate $main))"#,
    );
    let others = [("memory", memories), ("table", tables), ("nothing", instances - memories - tables - 1)];
    for (module, count) in others {
        for _ in 0..count {
            write!(text, "(core instance (instantiate ${module}))").unwrap();
        }
    }
    text.push_str(
        r#"(func $run (result (result)) (canon lift (core func $main "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run)))"#,
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn all_that_are_admitted_have_the_most_that_a_call_may_have() {
    for mode in [MemoryMode::Auto, MemoryMode::Pool, MemoryMode::OnDemand] {
        let fixture = Fixture::with_running_max(mode, RUNNING_MAX);
        let wasm = large(INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX);
        // Two of them, for one function may not have every slot.
        let functions = [
            fixture.deploy("one", &wasm, Draft::default()).await.unwrap(),
            fixture.deploy("two", &wasm, Draft::default()).await.unwrap(),
        ];
        let assigned = Arc::new(Fixed::default());
        for function in &functions {
            assigned.set(&function.version, 1, true);
        }
        let running_max = fixture.runtime.stats().running_max;
        assert_eq!(running_max, RUNNING_MAX);
        let options = Options { queue_max: 0, ..Options::new(NodeId::new(1), 1).within(running_max) };
        let executor = Executor::new(options, Arc::new(fixture.runtime.clone()), assigned, metrics());
        // More than once: what a call had is free for the next one.
        for _ in 0..3 {
            let calls: Vec<_> = (0..RUNNING_MAX)
                .map(|index| {
                    let (executor, function) = (executor.clone(), functions[index as usize % 2].clone());
                    tokio::spawn(async move { executor.execute(call(&function, get("/"))).await.map(drop) })
                })
                .collect();
            eventually("all run", || fixture.runtime.stats().running == RUNNING_MAX as usize).await;
            let error = executor.execute(call(&functions[0], get("/"))).await.unwrap_err();
            assert_eq!(error.code(), Code::Overloaded, "one more is for another node: {error}");
            for call in calls {
                assert!(!call.is_finished(), "{mode}: {:?}", call.await);
                call.abort();
            }
            eventually("all have left", || executor.load().in_flight == 0).await;
        }
    }
}

#[tokio::test]
async fn what_no_call_could_have_is_refused_when_it_is_deployed() {
    for mode in [MemoryMode::Auto, MemoryMode::OnDemand] {
        let fixture = Fixture::with(mode);
        for (instances, memories, tables, named) in [
            (INSTANCES_MAX + 1, 1, 1, "201 core module instances"),
            (INSTANCES_MAX, MEMORIES_MAX + 1, 1, "5 Wasm linear memories"),
            (INSTANCES_MAX, 1, TABLES_MAX + 1, "17 tables"),
        ] {
            let wasm = large(instances, memories, tables);
            let refusal = fixture.deploy("large", &wasm, Draft::default()).await.unwrap_err();
            assert_eq!(refusal.code, Code::CompileFailed);
            assert!(refusal.message.contains(named), "{}", refusal.message);
        }
        // Sixteen bytes each, in two instances: neither alone is too large.
        let globals = "(global i32 (i32.const 0))".repeat(600_000);
        let text = format!(
            r#"(component (core module $many {globals} (func (export "run") (result i32) (i32.const 0)))
            (core instance $one (instantiate $many)) (core instance $two (instantiate $many))
            (func $run (result (result)) (canon lift (core func $one "run")))
            (instance $run (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $run)))"#
        );
        let wasm = wat::parse_str(text).unwrap();
        let refusal = fixture.deploy("heavy", &wasm, Draft::default()).await.unwrap_err();
        assert_eq!(refusal.code, Code::CompileFailed, "{}", refusal.message);
        assert!(refusal.message.contains("16777216 bytes"), "{}", refusal.message);
    }
}

/// To give memory back takes as long as a small guest. Whoever needs it, or its place, has it all the same.
#[tokio::test]
async fn an_answer_goes_before_the_memory_of_its_guest_and_that_keeps_nobody_waiting() {
    let answers = http(
        "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (call $print (local.get $s) (i32.const 1024) (i32.const 4)) (call $finish (local.get $b) (local.get $s))",
    );
    let pages = 17_u64 << 16;
    for making in [
        Making { guests_bytes: pages + pages / 2, ..Making::default() },
        Making { running_max: 1, memory: MemoryMode::Pool, ..Making::default() },
    ] {
        let fixture = Fixture::made(making);
        let function = fixture.deploy("f", &answers, Draft::default()).await.unwrap();
        fixture.get(&function, "/").await.unwrap();
        eventually("it is given back", || fixture.runtime.stats().guests_bytes == 0).await;
        for _ in 0..3 {
            assert_eq!(fixture.get(&function, "/").await.unwrap(), (200, "0123".to_owned()), "{making:?}");
            let stats = fixture.runtime.stats();
            assert!((pages..pages * 3 / 2).contains(&stats.guests_bytes), "{}", stats.guests_bytes);
            assert_eq!((stats.running, stats.resting), (0, 0), "{making:?}");
        }
        eventually("it is given back", || fixture.runtime.stats().guests_bytes == 0).await;
        assert_eq!(fixture.usages.count(), 4);
    }
}
