//! The engine: which proposals are on, how memory is given out, and the probe that decides it.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::str::FromStr;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};
use wasmtime::{OptLevel, WasmFeatures};

use super::bounds::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use super::host::Release;
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
/// Mappings of one stack, with the page below it.
const STACK_MAPPINGS: u64 = 2;
/// Mappings of one call's memories: each one's contents, its growth, and what is above.
const MEMORY_MAPPINGS: u64 = 3 * MEMORIES_MAX as u64;

/// Stacks of one call. A guest of 0.3 may wait on one while the engine works for it on another.
const fn stacks(newest: Release) -> u32 {
    match newest {
        Release::Wasip2 => 1,
        Release::Wasip3 => 2,
    }
}

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
    fn engine(self, calls: u32, newest: Release) -> wasmtime::Result<Engine> {
        match self {
            Self::Auto | Self::PoolScan => pooled(calls, Enabled::Yes, KEEP_RESIDENT_BYTES, newest),
            Self::Pool => pooled(calls, Enabled::No, 0, newest),
            Self::OnDemand => Engine::new(&config(newest)),
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

/// Makes the engine for as many of `running_max` calls at once as this process can have, and for guests of WASI's releases up to
/// `newest`.
pub(super) fn build(wanted: MemoryMode, running_max: u32, newest: Release) -> wasmtime::Result<Built> {
    let scan = || PoolingAllocationConfig::is_pagemap_scan_available();
    let calls = running_max.min(CALLS_MAX).min(mapped_calls_max(os::mappings_max(), newest)).max(1);
    let built = match wanted {
        MemoryMode::Auto if scan() => pool_or_none(MemoryMode::PoolScan, calls, newest),
        MemoryMode::Auto => pool_or_none(MemoryMode::Pool, calls, newest),
        MemoryMode::PoolScan | MemoryMode::Pool => halving(wanted, (calls, 1), newest),
        MemoryMode::OnDemand => exactly(wanted, calls, newest),
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
fn mapped_calls_max(mappings: u64, newest: Release) -> u32 {
    let of_call = u64::from(stacks(newest)) * STACK_MAPPINGS + MEMORY_MAPPINGS;
    u32::try_from(mappings / CALL_MAPPINGS_PART / of_call).unwrap_or(u32::MAX)
}

fn pool_or_none(mode: MemoryMode, calls: u32, newest: Release) -> wasmtime::Result<Built> {
    halving(mode, (calls, CALLS_MIN), newest).or_else(|error| {
        tracing::info!(%mode, error = format!("{error:#}"), "memory mode does not work here");
        exactly(MemoryMode::OnDemand, calls, newest)
    })
}

/// A pool that is halved until its address space can be reserved.
fn halving(mode: MemoryMode, (mut calls, calls_min): (u32, u32), newest: Release) -> wasmtime::Result<Built> {
    loop {
        let built = exactly(mode, calls, newest);
        if built.is_ok() || calls / 2 < calls_min {
            return built;
        }
        calls /= 2;
    }
}

fn exactly(memory: MemoryMode, calls: u32, newest: Release) -> wasmtime::Result<Built> {
    let engine = memory.engine(calls.saturating_add(DROPPED_AT_ONCE), newest)?;
    Ok(Built { engine, memory, running_max: calls })
}

/// The engine of the compile child: a pool of nothing, so that it fits under a memory limit, which yet refuses what no
/// call could have. Its code is the same.
pub(super) fn compiling(newest: Release) -> wasmtime::Result<Engine> {
    pooled(0, Enabled::No, 0, newest)
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
/// which no kind of function needs and whose holes are the youngest. What WASI 0.3 is made of is on with it alone.
pub(super) fn features(newest: Release) -> WasmFeatures {
    let off = WasmFeatures::GC
        | WasmFeatures::GC_TYPES
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::CM_ASYNC;
    let on = (WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL) - off;
    match newest {
        Release::Wasip2 => on,
        Release::Wasip3 => on | WasmFeatures::CM_ASYNC,
    }
}

fn config(newest: Release) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all() - features(newest), false)
        .epoch_interruption(true)
        .concurrency_support(newest >= Release::Wasip3)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn pooled(calls: u32, scan: Enabled, keep_resident: usize, newest: Release) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    // Whatever runs has all that it may ask for: an admitted call never fails because others have it, or had it just now.
    pool.total_memories(calls.saturating_mul(MEMORIES_MAX))
        // Of one call at least, for the engine measures each module against all there are.
        .total_tables(calls.max(1).saturating_mul(TABLES_MAX))
        .total_core_instances(calls.saturating_mul(INSTANCES_MAX))
        .total_component_instances(calls)
        .total_stacks(calls.saturating_mul(stacks(newest)))
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
    let mut config = config(newest);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_the_same_whatever_the_memory_mode() {
        for newest in [Release::Wasip2, Release::Wasip3] {
            let child = code_hash(&compiling(newest).unwrap());
            for mode in [MemoryMode::Auto, MemoryMode::Pool, MemoryMode::OnDemand] {
                let Built { engine, memory, running_max } = build(mode, 128, newest).unwrap();
                println!("{mode} came to {memory} for {running_max} calls");
                assert_eq!((code_hash(&engine), running_max), (child.clone(), 128), "{mode}, {newest:?}");
            }
        }
    }

    #[test]
    fn code_of_a_node_with_wasi_0_3_is_another() {
        let [without, with] =
            [Release::Wasip2, Release::Wasip3].map(|newest| code_hash(&compiling(newest).unwrap()));
        assert_ne!(without, with);
    }

    #[test]
    fn more_calls_than_the_address_space_holds_are_fewer() {
        let built = build(MemoryMode::Pool, u32::MAX, Release::Wasip2).unwrap();
        let most = CALLS_MAX.min(mapped_calls_max(os::mappings_max(), Release::Wasip2));
        println!("{} calls of {most}", built.running_max);
        assert!((1..=most).contains(&built.running_max));
        // 2^64 bytes and more.
        assert!(MemoryMode::Pool.engine(1 << 30, Release::Wasip2).is_err());
        let halved = halving(MemoryMode::Pool, (1 << 20, 1), Release::Wasip2).unwrap();
        assert!(halved.running_max < 1 << 20, "2^54 bytes");
    }

    #[test]
    fn calls_leave_mappings_to_programs() {
        assert_eq!(mapped_calls_max(65_530, Release::Wasip2), 2340);
        assert_eq!(mapped_calls_max(65_530, Release::Wasip3), 2047);
        assert_eq!(mapped_calls_max(u64::MAX, Release::Wasip2), u32::MAX);
    }

    #[test]
    fn modes_have_names() {
        for mode in MemoryMode::ALL {
            assert_eq!(mode.name().parse::<MemoryMode>(), Ok(mode));
        }
        assert!("fast".parse::<MemoryMode>().is_err());
    }
}
