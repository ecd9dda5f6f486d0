//! Forgets what the view no longer has: a gateway that runs for years meets ever new nodes and versions.

use std::time::Duration;

use coracle_proto::id::{FunctionId, Revision, VersionId};
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Inner};
use crate::view::View;

/// Each time everything known is looked at: not more often, however much changes.
const PAUSE: Duration = Duration::from_secs(10);

/// Connections to a node that was not called for so long are closed,
const IDLE_MAX: Duration = Duration::from_secs(600);
/// and so often that is looked at.
const IDLE_LOOK: Duration = Duration::from_secs(60);

impl Dispatcher {
    /// Forgets what is gone, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.inner.forget_for_ever()).await;
    }
}

impl Inner {
    /// Looks after changes of the view.
    async fn forget_for_ever(&self) {
        let mut changes = self.view.subscribe();
        let mut seen = Revision::ZERO;
        let mut looks = tokio::time::interval(IDLE_LOOK);
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = looks.tick() => self.remote.close_idle(IDLE_MAX),
            }
            let view = self.view.load();
            // What nodes say about themselves changes all the time, and neither adds nor removes any.
            if view.routing.stamp.revision != seen {
                seen = view.routing.stamp.revision;
                self.forget(&view);
                drop(view);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn forget(&self, view: &View) {
        let node = |id| view.node(id).is_some();
        self.driver.retain(node, |version| view.routing.content.versions().contains_key(version));
        self.remote.retain(node);
        let is_known = |function: &FunctionId| view.routing.content.functions().contains_key(function);
        self.metrics.retain(|version| takes_calls(view, version), is_known);
        // Those for which there is room now were looked up when there was none.
        self.resolutions.clear();
    }
}

fn takes_calls(view: &View, version: &VersionId) -> bool {
    let function = view.routing.content.functions().get(&version.function);
    function.is_some_and(|function| function.traffic.iter().any(|part| part.version == version.number))
}
