//! Which handlers of events a component exports.

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::runtime::instance::Guest;

/// `wasmcloud:messaging`: a message with its subject.
pub(in crate::runtime) const MESSAGES: &str = "wasmcloud:messaging/handler@0.2.0";
/// Spin's: a message, which came to it by Redis.
pub(in crate::runtime) const PAYLOADS: &str = "fermyon:spin/inbound-redis";
/// `wasi:keyvalue`: what became of a value, in the drafts that there are components of.
pub(in crate::runtime) const CHANGES: [&str; 2] =
    ["wasi:keyvalue/watcher@0.2.0-draft2", "wasi:keyvalue/watcher@0.2.0-draft"];
/// All there are.
pub(in crate::runtime) const INTERFACES: [&str; 4] = [MESSAGES, PAYLOADS, CHANGES[0], CHANGES[1]];

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
        let change = |it| function(component, it, "on-set").zip(function(component, it, "on-delete"));
        let change = CHANGES.into_iter().find_map(change);
        let is_one = message.is_some() || payload.is_some() || change.is_some();
        is_one.then(|| Self { pre: pre.clone(), message, payload, change })
    }
}

fn function(component: &Component, interface: &str, name: &str) -> Option<ComponentExportIndex> {
    let instance = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&instance), name)
}
