//! A program: code that was mapped and linked, of which instances are made.

use wasmtime::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::bounds::{COMPONENT_CALL_BYTES_MAX, MODULE_CALL_BYTES_MAX};
use super::handler::taker::Taker;
use super::instance::Guest;

/// In which memories are counted.
const PAGE_BYTES: u64 = 64 << 10;

/// By the way in which it is called.
pub(super) enum Program {
    Http(ProxyPre<Guest>),
    /// `wasi:http` of 0.3.
    Service(ServicePre<Guest>),
    Command(Command),
    /// Which events call by an interface of theirs; and how all else calls it, if it does.
    Events(Taker, Option<Box<Self>>),
}

impl Program {
    /// What a call is a call of, by what fired it; none: only events call it.
    pub(super) fn called(&self, is_event: bool) -> Option<&Self> {
        match self {
            Self::Events(_, otherwise) if !is_event => otherwise.as_deref(),
            Self::Http(_) | Self::Service(_) | Self::Command(_) | Self::Events(..) => Some(self),
        }
    }

    /// Bytes of its mapping; those that were not touched cost no memory.
    pub(super) fn bytes(&self) -> usize {
        let image = match self {
            Self::Http(pre) => pre.instance_pre().component().image_range(),
            Self::Service(pre) => pre.instance_pre().component().image_range(),
            Self::Command(Command::Component(pre)) => pre.instance_pre().component().image_range(),
            Self::Command(Command::Module(pre)) => pre.module().image_range(),
            Self::Events(taker, _) => taker.pre.component().image_range(),
        };
        image.end.addr() - image.start.addr()
    }

    /// Bytes that its largest memory has from the start.
    pub(super) fn memory_min(&self) -> u64 {
        let required = match self {
            Self::Http(pre) => pre.instance_pre().component().resources_required(),
            Self::Service(pre) => pre.instance_pre().component().resources_required(),
            Self::Command(Command::Component(pre)) => pre.instance_pre().component().resources_required(),
            Self::Command(Command::Module(pre)) => Some(pre.module().resources_required()),
            Self::Events(taker, _) => taker.pre.component().resources_required(),
        };
        let pages = required.and_then(|required| required.max_initial_memory_size);
        pages.unwrap_or(0).saturating_mul(PAGE_BYTES)
    }
}

/// A command of either kind.
#[derive(Clone)]
pub(super) enum Command {
    Module(InstancePre<Guest>),
    Component(CommandPre<Guest>),
}

impl Command {
    /// Bytes that one call of a host function may copy out of it.
    pub(super) const fn call_bytes_max(&self) -> usize {
        match self {
            Self::Module(_) => MODULE_CALL_BYTES_MAX,
            Self::Component(_) => COMPONENT_CALL_BYTES_MAX,
        }
    }
}
