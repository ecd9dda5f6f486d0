//! How many schedules a leader has, and whether they fire in time, for whoever scrapes.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tracing::warn;

use super::Of;
use crate::model;
use crate::replicas::Replicas;

type Seconds = Family<Of, Gauge<f64, AtomicU64>>;

/// Only a leader tells: the others do not know.
pub(super) fn register(registry: &mut Registry, replicas: &Replicas) {
    let (schedules, overdue, offset) =
        (Family::<Of, Gauge>::default(), Seconds::default(), Seconds::default());
    for (group, _) in replicas.all() {
        // It has ended meanwhile.
        let Ok(served) = replicas.served(group) else { continue };
        let Some(shown) = served.schedules.shown() else { continue };
        let of = Of { group: group.get() };
        match model::schedules_count(&served.replica.state()) {
            Ok(count) => {
                schedules.get_or_create(&of).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            Err(stop) => warn!(%group, %stop, "the schedules of a group cannot be counted"),
        }
        overdue.get_or_create(&of).set(seconds(i64::try_from(shown.overdue_ms).unwrap_or(i64::MAX)));
        offset.get_or_create(&of).set(seconds(shown.offset_ms));
    }
    registry.register("schedules", "Schedules of the group", schedules);
    let help = "How long the oldest time that has not fired has been due";
    registry.register_with_unit("schedule_overdue", help, Unit::Seconds, overdue);
    let help = "How much the time by which schedules fire is ahead of this node's clock";
    registry.register_with_unit("clock_offset", help, Unit::Seconds, offset);
}

#[expect(clippy::cast_precision_loss, reason = "a million years are shown to the second")]
const fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
