//! `wasi:logging`: lines of the function's log, each with its level.

use wasmtime::component::{ComponentType, Lift, Linker};

use super::interface::{Interface, Release};
use crate::runtime::state::keeper::Keeps;

/// `level`, from the least to the most urgent.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

const NAME: &str = "wasi:logging/logging";

pub(super) const fn draft<T: Keeps>() -> Interface<T> {
    let link: fn(&mut Linker<T>) -> wasmtime::Result<()> = |it| link(it, "wasi:logging/logging@0.1.0-draft");
    Interface { release: Release::Wasip2, exactly: Some("0.1.0-draft"), names: &[NAME], link }
}

/// As wasmCloud's and Golem's tools write it.
pub(super) const fn unversioned<T: Keeps>() -> Interface<T> {
    let link: fn(&mut Linker<T>) -> wasmtime::Result<()> = |it| link(it, NAME);
    Interface { release: Release::Wasip2, exactly: Some(""), names: &[NAME], link }
}

fn link<T: Keeps>(linker: &mut Linker<T>, name: &str) -> wasmtime::Result<()> {
    let log = |level: Level, context: &str, message: &str| match context {
        "" => format!("{} {message}", level.name()),
        context => format!("{} {context}: {message}", level.name()),
    };
    linker.instance(name)?.func_wrap(
        "log",
        move |mut store, (level, context, message): (Level, String, String)| {
            T::keeper(store.data_mut()).log(&log(level, &context, &message));
            Ok(())
        },
    )
}
