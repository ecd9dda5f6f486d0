//! What the platform costs: calls beside `wasmtime serve` and the least host on the same components in one run, memory of an
//! idle function, deploy to ready, durable writes of the control plane, messages and values beside NATS, `RabbitMQ` and Redis.
//!
//!     CORACLE_WASMTIME=path/to/wasmtime CORACLE_ETCD=folder cargo bench --workspace --bench platform
//!
//! Prints ratios: absolute numbers are the machine's, ratios are ours. See docs/performance.md.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark: a broken expectation must stop it with its words"
)]

mod calls;
mod deploys;
mod etcd;
mod events;
mod floor;
mod hop;
mod memory;
mod open_loop;
mod process;
mod writes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Roles that this program takes in processes of its own, so that what is measured does not share its threads with what measures.
const FLOOR: &str = "role-floor";
const OPEN_LOOP: &str = "role-open-loop";
const ECHO: &str = "role-echo";
const EVENTS: &str = "role-events";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((role, of)) if role == FLOOR => return floor::serve(of[0].as_ref(), &of[1]),
        Some((role, of)) if role == ECHO => return hop::serve(&of[0]),
        Some((role, of)) if role == OPEN_LOOP => return open_loop::run(open_loop::Plan::parse(of)),
        Some((role, of)) if role == EVENTS => return events::load::run(of),
        _ => {}
    }
    let quick = arguments.iter().any(|word| word == "--quick");
    // Cargo passes `--bench`; a word given after `--` chooses one part.
    let wanted: Vec<String> = arguments.into_iter().filter(|word| !word.starts_with("--")).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if chosen("calls") {
            calls::run(&wanted).await;
        }
        if chosen("hop") {
            hop::run().await;
        }
        if chosen("memory") {
            memory::run().await;
        }
        if chosen("deploys") {
            deploys::run().await;
        }
        if chosen("writes") {
            writes::run().await;
        }
        if chosen("events") {
            events::run(quick, &wanted).await;
        }
    });
}
