//! The engine: which proposals are on, how memory is given out, and the probe that decides it.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::str::FromStr;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};
use wasmtime::{OptLevel, WasmFeatures};

use super::bounds::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use crate::os;

/// Entries of one table: programs in Go have some ten thousands.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Bytes of the engine's own data about all core instances of one instance together.
const INSTANCE_BYTES_MAX: usize = 16 << 20;

/// Calls that have an instance at once, however many cores there are.
const CALLS_MAX: u32 = 4096;
/// Slots of the pools beside those of calls, for instances at rest that are just being dropped: their place is asked for
/// before it is free. A thread drops one at a time, and there are some threads to a core.
const DROPPED_AT_ONCE: u32 = 16;
/// All of them, at most.
const SLOTS_MAX: u32 = CALLS_MAX + DROPPED_AT_ONCE;
/// Fewer are not worth a pool: where not even these fit, memory is mapped for each call.
const CALLS_MIN: u32 = 16;
/// Address space of one memory: all that 32 bits reach, and a little that nobody may touch.
const MEMORY_ADDRESS_BYTES: u64 = (4 << 30) + (32 << 20);
/// What the processor gives one process, where it is least among those in use (x86-64 with four levels).
const ADDRESS_BYTES_MAX: u64 = 1 << 47;
/// The pool of memories may have up to three quarters of it.
const _: () = assert!(
    SLOTS_MAX as u64 * MEMORIES_MAX as u64 * MEMORY_ADDRESS_BYTES <= ADDRESS_BYTES_MAX / 4 * 3,
    "a pool for every call fits into the address space"
);
const _: () = assert!(CALLS_MIN <= CALLS_MAX && SLOTS_MAX.checked_mul(INSTANCES_MAX).is_some());

/// Of the mappings that the kernel gives a process, calls may have one part in so many.
const CALL_MAPPINGS_PART: u64 = 2;
/// Mappings of one call: its stack with the page below it; and each memory's contents, its growth, and what is above.
const CALL_MAPPINGS: u64 = 2 + 3 * MEMORIES_MAX as u64;

/// What a slot keeps between two calls where the kernel tells which pages were touched: measured, it halves the
/// time of a small call; without that knowledge it is slower than nothing.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// How linear memories are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryMode {
    /// The best that works here.
    #[default]
    Auto,
    /// From a pool whose used pages are found by the kernel's `PAGEMAP_SCAN`.
    PoolScan,
    /// From a pool that gives every page back after a call.
    Pool,
    /// Mapped for each call: where the address space for a pool cannot be reserved.
    OnDemand,
}

impl MemoryMode {
    const ALL: [Self; 4] = [Self::Auto, Self::PoolScan, Self::Pool, Self::OnDemand];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::PoolScan => "pool-scan",
            Self::Pool => "pool",
            Self::OnDemand => "on-demand",
        }
    }

    /// The engine for so many instances at once.
    fn engine(self, calls: u32) -> wasmtime::Result<Engine> {
        match self {
            Self::Auto | Self::PoolScan => pooled(calls, Enabled::Yes, KEEP_RESIDENT_BYTES),
            Self::Pool => pooled(calls, Enabled::No, 0),
            Self::OnDemand => Engine::new(&config()),
        }
    }
}

impl fmt::Display for MemoryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MemoryMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| format!("'{text}' is not one of auto, pool-scan, pool, on-demand"))
    }
}

/// An engine, and what it came to here.
pub(super) struct Built {
    pub(super) engine: Engine,
    pub(super) memory: MemoryMode,
    /// Calls that may have an instance at once, those at rest among them: none of them finds a pool empty.
    pub(super) running_max: u32,
}

/// Makes the engine for as many of `running_max` calls at once as this process can have.
pub(super) fn build(wanted: MemoryMode, running_max: u32) -> wasmtime::Result<Built> {
    let scan = || PoolingAllocationConfig::is_pagemap_scan_available();
    let calls = running_max.min(CALLS_MAX).min(mapped_calls_max(os::mappings_max())).max(1);
    let built = match wanted {
        MemoryMode::Auto if scan() => pool_or_none(MemoryMode::PoolScan, calls),
        MemoryMode::Auto => pool_or_none(MemoryMode::Pool, calls),
        MemoryMode::PoolScan | MemoryMode::Pool => halving(wanted, calls, 1),
        MemoryMode::OnDemand => exactly(wanted, calls),
    }?;
    if built.running_max < running_max {
        let (wanted, mappings) = (running_max, os::mappings_max());
        tracing::warn!(
            wanted,
            running_max = built.running_max,
            mappings,
            "fewer calls run at once: the address space or vm.max_map_count is too small for more"
        );
    }
    Ok(built)
}

/// How many calls the kernel's mappings are enough for.
fn mapped_calls_max(mappings: u64) -> u32 {
    u32::try_from(mappings / CALL_MAPPINGS_PART / CALL_MAPPINGS).unwrap_or(u32::MAX)
}

fn pool_or_none(mode: MemoryMode, calls: u32) -> wasmtime::Result<Built> {
    halving(mode, calls, CALLS_MIN).or_else(|error| {
        tracing::info!(%mode, error = format!("{error:#}"), "memory mode does not work here");
        exactly(MemoryMode::OnDemand, calls)
    })
}

/// A pool that is halved until its address space can be reserved.
fn halving(mode: MemoryMode, mut calls: u32, calls_min: u32) -> wasmtime::Result<Built> {
    loop {
        let built = exactly(mode, calls);
        if built.is_ok() || calls / 2 < calls_min {
            return built;
        }
        calls /= 2;
    }
}

fn exactly(memory: MemoryMode, calls: u32) -> wasmtime::Result<Built> {
    let engine = memory.engine(calls.saturating_add(DROPPED_AT_ONCE))?;
    Ok(Built { engine, memory, running_max: calls })
}

/// The engine of the compile child: a pool of nothing, so that it fits under a memory limit, which yet refuses what no
/// call could have. Its code is the same.
pub(super) fn compiling() -> wasmtime::Result<Engine> {
    pooled(0, Enabled::No, 0)
}

/// What compiled code is tied to: the engine's version, settings and processor.
pub(super) fn code_hash(engine: &Engine) -> String {
    struct Blake(blake3::Hasher);
    impl Hasher for Blake {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Blake(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // 64 bits: it tells a handful of engines on one machine apart, it guards nothing.
    hasher.0.finalize().to_hex().as_str().chars().take(16).collect()
}

/// The proposals that are on: what compilers emit today, without threads, 64-bit memories and garbage collection,
/// which no kind of function needs and whose holes are the youngest.
pub(super) fn features() -> WasmFeatures {
    let off = WasmFeatures::GC
        | WasmFeatures::GC_TYPES
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::CM_ASYNC;
    (WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL) - off
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all() - features(), false)
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pooled(calls: u32, scan: Enabled, keep_resident: usize) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    // Whatever runs has all that it may ask for: an admitted call never fails because others have it, or had it just now.
    pool.total_memories(calls.saturating_mul(MEMORIES_MAX))
        // Of one call at least, for the engine measures each module against all there are.
        .total_tables(calls.max(1).saturating_mul(TABLES_MAX))
        .total_core_instances(calls.saturating_mul(INSTANCES_MAX))
        .total_component_instances(calls)
        .total_stacks(calls)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_core_instances_per_component(INSTANCES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(keep_resident)
        .pagemap_scan(scan);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_the_same_whatever_the_memory_mode() {
        let child = code_hash(&compiling().unwrap());
        for mode in [MemoryMode::Auto, MemoryMode::Pool, MemoryMode::OnDemand] {
            let Built { engine, memory, running_max } = build(mode, 128).unwrap();
            println!("{mode} came to {memory} for {running_max} calls");
            assert_eq!((code_hash(&engine), running_max), (child.clone(), 128), "{mode}");
        }
    }

    #[test]
    fn more_calls_than_the_address_space_holds_are_fewer() {
        let built = build(MemoryMode::Pool, u32::MAX).unwrap();
        let most = CALLS_MAX.min(mapped_calls_max(os::mappings_max()));
        println!("{} calls of {most}", built.running_max);
        assert!((1..=most).contains(&built.running_max));
        // 2^64 bytes and more.
        assert!(MemoryMode::Pool.engine(1 << 30).is_err());
        let halved = halving(MemoryMode::Pool, 1 << 20, 1).unwrap();
        assert!(halved.running_max < 1 << 20, "2^54 bytes");
    }

    #[test]
    fn calls_leave_mappings_to_programs() {
        assert_eq!(mapped_calls_max(65_530), 2340);
        assert_eq!(mapped_calls_max(u64::MAX), u32::MAX);
    }

    #[test]
    fn modes_have_names() {
        for mode in MemoryMode::ALL {
            assert_eq!(mode.name().parse::<MemoryMode>(), Ok(mode));
        }
        assert!("fast".parse::<MemoryMode>().is_err());
    }
}
