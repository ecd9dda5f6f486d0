//! Compiles every `.proto` file without `protoc`, and keeps the descriptors for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 12] = [
    "coracle/v1/records.proto",
    "coracle/v1/cluster.proto",
    "coracle/v1/admin.proto",
    "coracle/v1/data.proto",
    "coracle/v1/groups.proto",
    "coracle/v1/kv.proto",
    "coracle/v1/blobs.proto",
    "coracle/v1/events.proto",
    "coracle/v1/schedules.proto",
    "coracle/v1/webhooks.proto",
    "coracle/raft/v1/raft.proto",
    "coracle/store/v1/store.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its output folder in no other way")]
fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Maps are sorted: equal records have equal bytes on every node, and the state hash is made of bytes.
    let build = tonic_prost_build::configure().bytes(".").btree_map(".");
    // These are encoded once for all who are sent them.
    let build = build.extern_path(".coracle.v1.Snapshot", "crate::frame::Snapshot");
    let build = build.extern_path(".coracle.v1.Changes", "crate::frame::Changes");
    let build = build.extern_path(".coracle.v1.SoftBatch", "crate::frame::SoftBatch");
    build.compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
