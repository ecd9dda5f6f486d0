//! What the platform gives to guests: the whole of `wasi:cli` and `wasi:http` 0.2, and preview 1.

use std::collections::HashSet;

use wasmtime::{Engine, Store, component};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::guest::Guest;

/// The interfaces of WASI 0.2 that are linked, whatever the patch release.
pub(super) const INTERFACES: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The module name of preview 1.
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Both linkers.
pub(super) struct Linkers {
    pub(super) component: component::Linker<Guest>,
    pub(super) module: wasmtime::Linker<Guest>,
    functions: HashSet<String>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut component = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        let mut module = wasmtime::Linker::new(engine);
        p1::add_to_linker_async(&mut module, Guest::preview1)?;
        // Its own takes a status from 126 on for a fault, and loses the number.
        module.allow_shadowing(true).func_wrap(PREVIEW1, "proc_exit", exit)?.allow_shadowing(false);
        Ok(Self { component, module, functions: preview1_functions(engine)? })
    }

    /// Whether preview 1 has the function.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }
}

fn exit(status: u32) -> wasmtime::Result<()> {
    Err(I32Exit(status.cast_signed()).into())
}

fn preview1_functions(engine: &Engine) -> wasmtime::Result<HashSet<String>> {
    let mut linker = wasmtime::Linker::<WasiP1Ctx>::new(engine);
    p1::add_to_linker_async(&mut linker, |context| context)?;
    let mut store = Store::new(engine, WasiCtxBuilder::new().build_p1());
    Ok(linker.iter(&mut store).map(|(_, name, _)| name.to_owned()).collect())
}

/// Whether an import of a component is one of [`INTERFACES`] in a release of 0.2.
pub(super) fn has_interface(import: &str) -> bool {
    let Some((name, version)) = import.split_once('@') else { return false };
    INTERFACES.contains(&name) && is_release(version)
}

/// Whether a version is one of the releases that are linked: any patch of 0.2.
pub(super) fn is_release(version: &str) -> bool {
    let patch = version.strip_prefix("0.2.");
    patch.is_some_and(|patch| patch.bytes().all(|byte| byte.is_ascii_digit()))
}
