//! `wasi:config`: variables of the function's environment, for those that ask for them by this interface.

use wasmtime::component::{ComponentType, Linker, Lower};

use super::interface::{Interface, Release};
use crate::runtime::state::keeper::{Keeps, View};

const NAMES: &[&str] = &["wasi:config/runtime", "wasi:config/store"];
const DRAFT: &str = "0.2.0-draft";
const CANDIDATE: &str = "0.2.0-rc.1";

/// Why a variable cannot be told: there is no such reason here.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the interface has it")]
enum NotTold {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(super) const fn draft<T: Keeps>() -> Interface<T> {
    Interface { release: Release::Wasip2, exactly: Some(DRAFT), names: NAMES, link: |it| link(it, DRAFT) }
}

pub(super) const fn candidate<T: Keeps>() -> Interface<T> {
    let link: fn(&mut Linker<T>) -> wasmtime::Result<()> = |it| link(it, CANDIDATE);
    Interface { release: Release::Wasip2, exactly: Some(CANDIDATE), names: NAMES, link }
}

fn link<T: Keeps>(linker: &mut Linker<T>, version: &str) -> wasmtime::Result<()> {
    for name in NAMES {
        let mut instance = linker.instance(&format!("{name}@{version}"))?;
        instance.func_wrap("get", |mut store, (name,): (String,)| {
            let found = variable(&T::keeper(store.data_mut()), &name);
            Ok((Ok::<_, NotTold>(found),))
        })?;
        instance.func_wrap("get-all", |mut store, (): ()| {
            let keeper = T::keeper(store.data_mut());
            let all: Vec<(String, String)> =
                keeper.variables().map(|(name, value)| (name.clone(), value.clone())).collect();
            Ok((Ok::<_, NotTold>(all),))
        })?;
    }
    Ok(())
}

/// A variable of the function's environment.
pub(super) fn variable(keeper: &View<'_>, name: &str) -> Option<String> {
    keeper.variables().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
}
