//! What a program finds anywhere: arguments, environment, output, clocks, random numbers; and files and sockets, of which
//! there are none.

use coracle_proto::record::Version;
use wasmtime_wasi::p2::add_to_linker_async;
use wasmtime_wasi::{WasiCtxBuilder, WasiView};

use super::interface::{Interface, Release};
use crate::runtime::bounds::RANDOM_BYTES_MAX;
use crate::runtime::log::LineLog;

/// The whole of `wasi:cli`.
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
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
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

pub(super) const fn interface<T: WasiView>() -> Interface<T> {
    Interface {
        release: Release::Wasip2,
        exactly: None,
        names: NAMES,
        link: |linker| add_to_linker_async(linker),
    }
}

/// What a version was granted, with output going to the log, and nothing else.
pub(in crate::runtime) fn granted(version: &Version, (stdout, stderr): (LineLog, LineLog)) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg(version.id.function.name.as_str())
        .args(version.spec.args())
        .stdout(stdout)
        .stderr(stderr)
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    for (name, value) in version.spec.env() {
        wasi.env(name, value);
    }
    wasi
}
