//! What the artifact store and the agent need of the runtime.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use coracle_proto::id::Digest;
use coracle_proto::record::{Kind, Version};
use coracle_proto::status::Refusal;
use futures::future::BoxFuture;

/// What the check of an artifact found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// How it is called.
    pub kind: Kind,
    /// Bytes of memory that an instance has from its start, at least: with less granted there never is one.
    pub memory_min: u64,
    /// By what it would wait for connections, if it would: nobody connects to a function.
    pub listens: Option<&'static str>,
    /// What it has use for.
    pub wants: Wants,
}

/// What a component has use for of what is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// It exports a watcher of values.
    pub keyvalue: bool,
    /// It imports `wasi:blobstore`.
    pub blobs: bool,
}

/// Checks and compiles artifacts. The runtime does it; tests have their own.
pub trait Prepare: Debug + Send + Sync + 'static {
    /// Tells what an artifact is, or names what is wrong with it.
    fn check<'a>(&'a self, artifact: &'a Path) -> BoxFuture<'a, Result<Checked, Refusal>>;

    /// Compiles it into the cache unless it is there, so that calls find it ready. Dropping the future ends the
    /// compilation.
    fn prepare<'a>(&'a self, digest: &'a Digest, artifact: &'a Path) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Whether it is compiled.
    fn is_prepared(&self, digest: &Digest) -> bool;

    /// A version of what is compiled takes calls here from now on: what is to be found out of it is begun. Nobody waits for it.
    fn made_ready(&self, version: &Arc<Version>);

    /// Removes what was compiled of it.
    fn forget(&self, digest: &Digest);
}
