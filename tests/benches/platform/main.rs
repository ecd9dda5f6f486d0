//! What the platform costs: calls against `wasmtime serve` on the same components in one run, memory of an
//! idle function, deploy to ready, durable writes of the control plane.
//!
//!     CORACLE_WASMTIME=path/to/wasmtime CORACLE_ETCD=folder cargo bench -p coracle-tests
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
mod memory;
mod peer;
mod writes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

fn main() {
    // Cargo passes `--bench`; a word given after `--` chooses one part.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        if chosen("calls") {
            calls::run().await;
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
    });
}
