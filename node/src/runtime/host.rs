//! What the platform gives to guests. An interface has a module that names it and says how it is linked and what of it is
//! granted; here is the list of them, which the check of an upload asks too.

mod blobstore;
pub(super) mod cut;
pub(super) mod http;
mod interface;
mod keyvalue;
mod logging;
mod messaging;
mod preview1;
mod spin;
pub(super) mod system;
mod variables;
mod wasip3;

use std::collections::HashSet;

use wasmtime::{Engine, component};

use self::interface::Interface;
pub(super) use self::interface::Release;
pub(super) use self::preview1::PREVIEW1;
pub(super) use self::wasip3::HANDLER;
use super::instance::Guest;

/// All that a component may import, where its release is provided.
const PROVIDED: [Interface<Guest>; 13] = [
    system::interface(),
    http::interface(),
    wasip3::interface(),
    keyvalue::draft(),
    keyvalue::draft2(),
    messaging::interface(),
    blobstore::interface(),
    spin::types(),
    spin::interface(),
    variables::draft(),
    variables::candidate(),
    logging::draft(),
    logging::unversioned(),
];

/// What programs are linked with.
pub(super) struct Linkers {
    pub(super) component: component::Linker<Guest>,
    pub(super) module: wasmtime::Linker<Guest>,
    /// The newest release of WASI whose interfaces are there.
    pub(super) newest: Release,
    functions: HashSet<String>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine, newest: Release) -> wasmtime::Result<Self> {
        let mut component = component::Linker::new(engine);
        for interface in PROVIDED.iter().filter(|interface| interface.release <= newest) {
            (interface.link)(&mut component)?;
        }
        let mut module = wasmtime::Linker::new(engine);
        preview1::link(&mut module, Guest::preview1)?;
        Ok(Self { component, module, newest, functions: preview1::functions(engine)? })
    }

    /// Whether preview 1 has the function.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }
}

/// Whether a component may import it, where releases up to `newest` are provided.
pub(super) fn has_interface(import: &str, newest: Release) -> bool {
    PROVIDED.iter().any(|interface| interface.release <= newest && interface.provides(import))
}

/// What a component may import of packages that have versions of their own, in words.
pub(super) fn provided() -> String {
    PROVIDED.iter().filter_map(Interface::words).collect::<Vec<_>>().join(", ")
}

/// Whether an interface is of a package that has versions of its own: they say nothing of a release of WASI.
pub(super) fn has_own_versions(name: &str) -> bool {
    let package = |name: &str| name.split(['/', '@']).next().unwrap_or_default().to_owned();
    PROVIDED
        .iter()
        .filter(|interface| interface.exactly.is_some())
        .any(|interface| interface.names.iter().any(|known| package(known) == package(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_patch_of_a_release_is_provided_and_no_other() {
        for import in ["wasi:cli/exit@0.2.0", "wasi:http/types@0.2.12", "wasi:sockets/tcp@0.2.3"] {
            assert!(has_interface(import, Release::Wasip2), "{import}");
            assert!(has_interface(import, Release::Wasip3), "{import}");
        }
        for import in ["wasi:cli/exit@0.3.0", "wasi:http/client@0.3.7"] {
            assert!(!has_interface(import, Release::Wasip2), "{import}");
            assert!(has_interface(import, Release::Wasip3), "{import}");
        }
        for import in [
            "wasi:cli/exit",
            "wasi:cli/exit@0.4.0",
            "wasi:cli/exit@0.2.x",
            "wasi:cli/exit@0.3.0-rc-2025-09-16",
            "wasi:http/client@0.2.0",
            "wasi:http/outgoing-handler@0.3.0",
            "wasi:keyvalue/store",
            "wasi:keyvalue/store@0.2.0",
            "fermyon:spin/key-value",
            "wasi:keyvalue/store@0.2.0-draft3",
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasmcloud:messaging/consumer@0.2.1",
        ] {
            assert!(!has_interface(import, Release::Wasip3), "{import}");
        }
        for import in [
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:keyvalue/batch@0.2.0-draft2",
            "wasmcloud:messaging/consumer@0.2.0",
            "wasmcloud:messaging/types@0.2.0",
            "wasi:blobstore/container@0.2.0-draft",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:logging/logging",
            "fermyon:spin/key-value@2.0.0",
            "fermyon:spin/redis-types",
        ] {
            for release in [Release::Wasip2, Release::Wasip3] {
                assert!(has_interface(import, release) && has_own_versions(import), "{import}");
            }
        }
        assert!(
            has_own_versions("wasi:keyvalue/watcher@0.3.0") && !has_own_versions("wasi:http/types@0.2.0")
        );
        let words = provided();
        for interface in PROVIDED.iter().filter(|interface| interface.exactly.is_some()) {
            let package = interface.names[0].split('/').next().unwrap();
            let version =
                interface.exactly.filter(|version| !version.is_empty()).unwrap_or("without a version");
            assert!(words.contains(&format!("{package} {version} (")), "{package} {version}: {words}");
            for name in interface.names {
                let (of, name) = name.split_once('/').unwrap();
                assert!(of == package && words.contains(name), "{name}: {words}");
            }
        }
        let names = |interface: Interface<Guest>| {
            let (release, exactly) = (interface.release, interface.exactly);
            interface.names.iter().map(move |name| (*name, release, exactly))
        };
        let mut names: Vec<_> = PROVIDED.into_iter().flat_map(names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each stands in one list");
    }
}
