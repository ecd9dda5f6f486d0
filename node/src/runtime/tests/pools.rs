//! Goal: a call that was admitted never lacks a pool's slot, whatever it uses; what uses more is refused when it is deployed.

use std::fmt::Write as _;
use std::sync::Arc;

use coracle_proto::id::NodeId;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, call, eventually, get};
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
