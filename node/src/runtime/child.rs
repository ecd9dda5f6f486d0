//! The compile child: reads Wasm, writes code, and cannot take more than its limits from the node.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use wasmtime::Module;
use wasmtime::component::Component;

use super::engine;
use super::host::Release;
use crate::os::{self, ChildLimits};

/// A 5 KiB module can cost 25 s of CPU and a 19 MB component honestly costs 20 s: what is over this is no function.
pub(super) const CPU_SECONDS_MAX: u64 = 120;
/// A 181 KiB module can cost three GiB.
pub(super) const ADDRESS_SPACE_MAX: u64 = 4 << 30;
/// Calls come first.
const NICE: i32 = 10;
/// The compiler understood the module and refused it; the reason is on standard error.
pub(super) const EXIT_REFUSED: u8 = 65;
/// What stands behind its arguments where the code is for WASI 0.3, too.
pub(super) const WASIP3: &str = "wasip3";
/// Something else failed.
pub(super) const EXIT_FAILED: u8 = 70;

enum Failed {
    Refused(String),
    Other(String),
}

/// Runs the compile child: `WASM CODE PARENT [wasip3]`, two paths and the id of the process that started it.
///
/// This is the whole life of a process that a node starts for itself; it is of no use to people.
#[must_use]
pub fn compile_child(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(args))
}

pub(super) fn exit_code(args: impl IntoIterator<Item = OsString>) -> u8 {
    let (code, reason) = match run(args) {
        Ok(()) => return 0,
        Err(Failed::Refused(reason)) => (EXIT_REFUSED, reason),
        Err(Failed::Other(reason)) => (EXIT_FAILED, reason),
    };
    // Nobody is left to be told where it fails.
    let _ = writeln!(std::io::stderr(), "{reason}");
    code
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Failed> {
    let mut args = args.into_iter();
    let (Some(wasm), Some(code), Some(parent)) = (args.next(), args.next(), args.next()) else {
        return Err(Failed::Other("expected: WASM CODE PARENT [wasip3]".into()));
    };
    let newest = if args.next().is_some_and(|it| it == WASIP3) { Release::Wasip3 } else { Release::Wasip2 };
    let other = |what: &str, error: &dyn std::fmt::Display| Failed::Other(format!("{what}: {error}"));
    let parent = parent.to_string_lossy().parse().map_err(|error| other("parent", &error))?;
    let limits =
        ChildLimits { cpu_seconds: CPU_SECONDS_MAX, address_space_bytes: ADDRESS_SPACE_MAX, nice: NICE };
    os::become_child(parent, limits).map_err(|error| other("limits", &error))?;

    let bytes = std::fs::read(PathBuf::from(wasm)).map_err(|error| other("reading", &error))?;
    let engine = engine::compiling(newest).map_err(|error| other("engine", &error))?;
    // Made and not only compiled: that is when the engine looks whether it fits its bounds.
    let compiled = if wasmparser::Parser::is_component(&bytes) {
        Component::new(&engine, &bytes).and_then(|component| component.serialize())
    } else {
        Module::new(&engine, &bytes).and_then(|module| module.serialize())
    };
    let compiled = compiled.map_err(|error| Failed::Refused(format!("{error:#}")))?;
    std::fs::write(PathBuf::from(code), compiled).map_err(|error| other("writing", &error))
}
