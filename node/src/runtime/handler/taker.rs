//! Which handlers of events a component exports.

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::runtime::instance::Guest;

/// `wasmcloud:messaging`: a message with its subject.
const MESSAGES: &str = "wasmcloud:messaging/handler@0.2.0";
/// Spin's: a message, which came to it by Redis.
const PAYLOADS: &str = "fermyon:spin/inbound-redis";
/// `wasi:keyvalue`: what became of a value.
pub(super) const CHANGES: &str = "wasi:keyvalue/watcher@0.2.0-draft2";
/// All there are.
pub(in crate::runtime) const INTERFACES: [&str; 3] = [MESSAGES, PAYLOADS, CHANGES];

/// A component that exports at least one of them.
#[derive(Clone)]
pub(in crate::runtime) struct Taker {
    pub(in crate::runtime) pre: InstancePre<Guest>,
    pub(super) message: Option<ComponentExportIndex>,
    pub(super) payload: Option<ComponentExportIndex>,
    /// A value was set, or deleted.
    pub(super) change: Option<(ComponentExportIndex, ComponentExportIndex)>,
}

impl Taker {
    /// Nothing where the component takes no events so.
    pub(in crate::runtime) fn new(pre: &InstancePre<Guest>) -> Option<Self> {
        let component = pre.component();
        let message = function(component, MESSAGES, "handle-message");
        let payload = function(component, PAYLOADS, "handle-message");
        let change = function(component, CHANGES, "on-set").zip(function(component, CHANGES, "on-delete"));
        let is_one = message.is_some() || payload.is_some() || change.is_some();
        is_one.then(|| Self { pre: pre.clone(), message, payload, change })
    }
}

fn function(component: &Component, interface: &str, name: &str) -> Option<ComponentExportIndex> {
    let instance = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&instance), name)
}
