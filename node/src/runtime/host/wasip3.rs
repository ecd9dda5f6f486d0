//! WASI 0.3, an experiment (docs/adr/0012): all of it in one piece, over the same grants and the same way out as 0.2.

use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use super::interface::{Interface, Release};

/// The whole of `wasi:cli`, and what `wasi:http` has beside its handler.
const NAMES: &[&str] = &[
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
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/types",
];

/// What takes requests.
pub(in crate::runtime) const HANDLER: &str = "wasi:http/handler@0.3.0";

pub(super) const fn interface<T: WasiView + WasiHttpView + 'static>() -> Interface<T> {
    Interface {
        release: Release::Wasip3,
        exactly: None,
        names: NAMES,
        link: |linker| {
            wasmtime_wasi::p3::add_to_linker(linker)?;
            wasmtime_wasi_http::p3::add_to_linker(linker)
        },
    }
}
