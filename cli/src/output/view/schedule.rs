//! Schedules.

use coracle_proto::id::InvocationId;
use coracle_proto::pb::{self, ScheduleMissed, ScheduleOverlap};
use serde::Serialize;

use crate::output::{Detail, Row, rfc3339};

/// A schedule, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ScheduleView {
    namespace: String,
    schedule: String,
    cron: String,
    zone: String,
    function: String,
    /// Of one schedule, and where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    missed: &'static str,
    overlap: &'static str,
    paused: bool,
    /// Three at most.
    next: Vec<String>,
    /// Its last time that fired.
    last: Option<String>,
    /// How much later that was.
    late_ms: Option<u64>,
    /// The last call.
    invocation: Option<String>,
    ticks: u64,
    skipped: u64,
    missed_ticks: u64,
}

impl From<pb::ScheduleDetail> for ScheduleView {
    fn from(wire: pb::ScheduleDetail) -> Self {
        let spec = wire.spec.unwrap_or_default();
        let missed = match spec.missed() {
            ScheduleMissed::Skip => "skip",
            ScheduleMissed::Unspecified | ScheduleMissed::Once => "once",
            ScheduleMissed::All => "all",
        };
        let overlap = match spec.overlap() {
            ScheduleOverlap::Unspecified | ScheduleOverlap::Allow => "allow",
            ScheduleOverlap::Forbid => "forbid",
        };
        let fired = wire.last_at_ms > 0;
        Self {
            namespace: wire.namespace,
            schedule: wire.schedule,
            cron: spec.cron,
            zone: if spec.zone.is_empty() { "UTC".to_owned() } else { spec.zone },
            function: spec.function,
            data: String::from_utf8(spec.data.to_vec()).ok().filter(|data| !data.is_empty()),
            missed,
            overlap,
            paused: wire.paused,
            next: wire.next_ms.into_iter().map(rfc3339).collect(),
            last: fired.then(|| rfc3339(wire.last_at_ms)),
            late_ms: fired.then_some(wire.late_ms),
            invocation: InvocationId::try_from(&wire.invocation[..]).ok().map(|id| id.to_string()),
            ticks: wire.ticks,
            skipped: wire.skipped,
            missed_ticks: wire.missed,
        }
    }
}

impl Row for ScheduleView {
    const COLUMNS: &'static [&'static str] = &[
        "SCHEDULE", "CRON", "ZONE", "FUNCTION", "NEXT", "LAST", "PAUSED", "LATE-MS", "TICKS", "SKIPPED",
        "MISSED",
    ];
    const WIDE_FROM: usize = 7;

    fn cells(&self) -> Vec<String> {
        let next = if self.paused { None } else { self.next.first().cloned() };
        vec![
            self.schedule.clone(),
            self.cron.clone(),
            self.zone.clone(),
            self.function.clone(),
            next.unwrap_or_default(),
            self.last.clone().unwrap_or_default(),
            if self.paused { "yes" } else { "no" }.to_owned(),
            self.late_ms.map(|late| late.to_string()).unwrap_or_default(),
            self.ticks.to_string(),
            self.skipped.to_string(),
            self.missed_ticks.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.schedule.clone()
    }
}

impl Detail for ScheduleView {
    fn name(&self) -> String {
        self.schedule.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let last = match (&self.last, self.late_ms) {
            (Some(last), Some(late_ms)) => format!("{last}, {late_ms} ms late"),
            (_, _) => "not yet".to_owned(),
        };
        let rows = [
            ("schedule", format!("{}/{}", self.namespace, self.schedule)),
            ("cron", format!("{} ({})", self.cron, self.zone)),
            ("function", self.function.clone()),
            ("missed", self.missed.to_owned()),
            ("overlap", self.overlap.to_owned()),
            ("paused", if self.paused { "yes" } else { "no" }.to_owned()),
            ("next", self.next.join("\n              ")),
            ("last", last),
            ("invocation", self.invocation.clone().unwrap_or_else(|| "none yet".to_owned())),
            ("ticks", format!("{}, {} skipped, {} missed", self.ticks, self.skipped, self.missed_ticks)),
        ];
        rows.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> pb::ScheduleDetail {
        let spec = pb::ScheduleSpec {
            cron: "0 3 * * *".to_owned(),
            function: "report".to_owned(),
            missed: ScheduleMissed::All.into(),
            ..pb::ScheduleSpec::default()
        };
        pb::ScheduleDetail {
            namespace: "shop".to_owned(),
            schedule: "nightly".to_owned(),
            spec: Some(spec),
            next_ms: vec![1_795_248_000_000, 1_795_334_400_000],
            ..pb::ScheduleDetail::default()
        }
    }

    #[test]
    fn a_schedule_is_listed_with_its_next_time() {
        let view = ScheduleView::from(wire());
        let cells = "nightly|0 3 * * *|UTC|report|2026-11-21T08:00:00.000Z||no||0|0|0";
        assert_eq!(view.cells().join("|"), cells);
        let paused = ScheduleView::from(pb::ScheduleDetail { paused: true, ..wire() });
        assert_eq!(paused.cells()[4], "", "nothing fires");
    }

    #[test]
    fn a_schedule_is_shown_with_what_it_did() {
        let fired = pb::ScheduleDetail { last_at_ms: 1_795_248_000_000, late_ms: 7, ticks: 2, ..wire() };
        let text = ScheduleView::from(fired).describe(false);
        for part in [
            "shop/nightly",
            "0 3 * * * (UTC)",
            "2026-11-21T08:00:00.000Z, 7 ms late",
            "2, 0 skipped",
            "missed        all",
        ] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
        assert!(ScheduleView::from(wire()).describe(false).contains("last          not yet"));
    }
}
