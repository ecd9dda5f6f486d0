//! WASI preview 1, which core modules import function by function.

use std::collections::HashSet;

use wasmtime::{Engine, Linker, Store};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_async};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

/// The name of the module that they import.
pub(in crate::runtime) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Puts its functions into a linker, for guests whose stores hold a `T`.
pub(super) fn link<T: Send + 'static>(
    linker: &mut Linker<T>,
    state: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    add_to_linker_async(linker, state)?;
    // Its own takes a status from 126 on for a fault, and loses the number.
    linker.allow_shadowing(true).func_wrap(PREVIEW1, "proc_exit", exit)?.allow_shadowing(false);
    Ok(())
}

fn exit(status: u32) -> wasmtime::Result<()> {
    Err(I32Exit(status.cast_signed()).into())
}

/// The names of its functions: the implementation alone knows them.
pub(super) fn functions(engine: &Engine) -> wasmtime::Result<HashSet<String>> {
    let mut linker = Linker::<WasiP1Ctx>::new(engine);
    add_to_linker_async(&mut linker, |context| context)?;
    let mut store = Store::new(engine, WasiCtxBuilder::new().build_p1());
    Ok(linker.iter(&mut store).map(|(_, name, _)| name.to_owned()).collect())
}
