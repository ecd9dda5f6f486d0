//! What the platform gives to guests. An interface has a module that names it and says how it is linked and what of it is
//! granted; here is the list of them, which the check of an upload asks too.

pub(super) mod http;
mod interface;
mod preview1;
pub(super) mod system;

use std::collections::HashSet;

use wasmtime::{Engine, component};

use self::interface::Interface;
pub(super) use self::interface::is_release;
pub(super) use self::preview1::PREVIEW1;
use super::instance::Guest;

/// All that a component may import.
const PROVIDED: [Interface<Guest>; 2] = [system::interface(), http::interface()];

/// What programs are linked with.
pub(super) struct Linkers {
    pub(super) component: component::Linker<Guest>,
    pub(super) module: wasmtime::Linker<Guest>,
    functions: HashSet<String>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut component = component::Linker::new(engine);
        for interface in PROVIDED {
            (interface.link)(&mut component)?;
        }
        let mut module = wasmtime::Linker::new(engine);
        preview1::link(&mut module, Guest::preview1)?;
        Ok(Self { component, module, functions: preview1::functions(engine)? })
    }

    /// Whether preview 1 has the function.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }
}

/// Whether a component may import it.
pub(super) fn has_interface(import: &str) -> bool {
    PROVIDED.iter().any(|interface| interface.provides(import))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_patch_of_a_release_is_provided_and_no_other() {
        for import in ["wasi:cli/exit@0.2.0", "wasi:http/types@0.2.12", "wasi:sockets/tcp@0.2.3"] {
            assert!(has_interface(import), "{import}");
        }
        for import in
            ["wasi:cli/exit", "wasi:cli/exit@0.3.0", "wasi:cli/exit@0.2.x", "wasi:keyvalue/store@0.2.0"]
        {
            assert!(!has_interface(import), "{import}");
        }
        let mut names: Vec<_> = PROVIDED.iter().flat_map(|interface| interface.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each stands in one list");
    }
}
