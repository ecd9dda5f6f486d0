//! An interface that the host provides: what it is called, and how guests are given it.

use wasmtime::component::Linker;

/// The release of WASI whose interfaces are provided: any patch of it.
const RELEASE: &str = "0.2.";

/// Interfaces that are put into a linker together, for guests whose stores hold a `T`.
pub(super) struct Interface<T: 'static> {
    /// Their names, without the release.
    pub(super) names: &'static [&'static str],
    /// Puts all of them into a linker.
    pub(super) link: fn(&mut Linker<T>) -> wasmtime::Result<()>,
}

impl<T> Interface<T> {
    /// Whether an import of a component is one of these.
    pub(super) fn provides(&self, import: &str) -> bool {
        let Some((name, version)) = import.split_once('@') else { return false };
        self.names.contains(&name) && is_release(version)
    }
}

/// Whether a version of WASI is provided.
pub(in crate::runtime) fn is_release(version: &str) -> bool {
    let patch = version.strip_prefix(RELEASE);
    patch.is_some_and(|patch| patch.bytes().all(|byte| byte.is_ascii_digit()))
}
