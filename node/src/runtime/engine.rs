//! The engine: which proposals are on, how memory is given out, and the probe that decides it.

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::str::FromStr;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};
use wasmtime::{OptLevel, WasmFeatures};

/// Linear memories at once; a component has one or two. The address space is four GiB each.
const MEMORIES_MAX: u32 = 2000;
/// Tables and core instances at once: a component of a scripting language has up to a few dozen instances.
const TABLES_MAX: u32 = 4000;
/// Core instances at once.
const CORE_INSTANCES_MAX: u32 = 20_000;
/// Calls at once.
const STACKS_MAX: u32 = 2000;
/// Entries of one table: programs in Go have some ten thousands.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Tables of one module.
const MODULE_TABLES_MAX: u32 = 8;
/// Bytes of the engine's own data about one instance.
const INSTANCE_BYTES_MAX: usize = 16 << 20;
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

    fn engine(self) -> wasmtime::Result<Engine> {
        match self {
            Self::Auto => Self::PoolScan.engine(),
            Self::PoolScan => pooled(Enabled::Yes, KEEP_RESIDENT_BYTES),
            Self::Pool => pooled(Enabled::No, 0),
            Self::OnDemand => on_demand(),
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

/// Makes the engine, and tells which mode it came to.
pub(super) fn build(wanted: MemoryMode) -> wasmtime::Result<(Engine, MemoryMode)> {
    if wanted != MemoryMode::Auto {
        return Ok((wanted.engine()?, wanted));
    }
    for mode in [MemoryMode::PoolScan, MemoryMode::Pool] {
        match mode.engine() {
            Ok(engine) => return Ok((engine, mode)),
            Err(error) => {
                tracing::info!(%mode, error = format!("{error:#}"), "memory mode does not work here")
            }
        }
    }
    Ok((on_demand()?, MemoryMode::OnDemand))
}

/// The engine of the compile child: no pool, so that it fits under a memory limit; its code is the same.
pub(super) fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(&config())
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

fn pooled(scan: Enabled, keep_resident: usize) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(MEMORIES_MAX)
        .total_tables(TABLES_MAX)
        .total_core_instances(CORE_INSTANCES_MAX)
        .total_component_instances(STACKS_MAX)
        .total_stacks(STACKS_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_tables_per_module(MODULE_TABLES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
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
        let child = code_hash(&on_demand().unwrap());
        for mode in [MemoryMode::Auto, MemoryMode::Pool, MemoryMode::OnDemand] {
            let (engine, came_to) = build(mode).unwrap();
            println!("{mode} came to {came_to}");
            assert_eq!(code_hash(&engine), child, "{mode}");
        }
    }

    #[test]
    fn modes_have_names() {
        for mode in MemoryMode::ALL {
            assert_eq!(mode.name().parse::<MemoryMode>(), Ok(mode));
        }
        assert!("fast".parse::<MemoryMode>().is_err());
    }
}
