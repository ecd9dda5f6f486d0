//! What a thing is told, by the keys that a manifest has for it: two that are alike are the same. Numbers have all their digits.

use coracle_proto::pb::{self, ScheduleMissed, ScheduleOverlap};

use crate::manifest::{Access, Changes, Settings, TOLERANCE, ZONE};

/// Each key with what it says, in a fixed order.
pub(super) type Facts = Vec<(&'static str, String)>;

/// What is told otherwise.
pub(super) fn changed(before: &Facts, wanted: &Facts) -> Vec<&'static str> {
    let other = |(name, value): &&(&'static str, String)| {
        !before.iter().any(|(known, was)| known == name && was == value)
    };
    wanted.iter().filter(other).map(|(name, _)| *name).collect()
}

/// Of a queue.
pub(super) fn of_settings(settings: &Settings) -> Facts {
    let numbers = settings.numbers().map(|(setting, number)| (setting.bound.name, number.to_string()));
    numbers.chain(settings.delivery.facts()).collect()
}

/// Of a schedule.
pub(super) fn of_schedule(spec: &pb::ScheduleSpec) -> Facts {
    let missed = match spec.missed() {
        ScheduleMissed::Unspecified | ScheduleMissed::Once => ScheduleMissed::Once,
        told @ (ScheduleMissed::Skip | ScheduleMissed::All) => told,
    };
    let overlap = match spec.overlap() {
        ScheduleOverlap::Unspecified | ScheduleOverlap::Allow => ScheduleOverlap::Allow,
        ScheduleOverlap::Forbid => ScheduleOverlap::Forbid,
    };
    let zone = if spec.zone.is_empty() { ZONE } else { &spec.zone };
    vec![
        ("cron", spec.cron.clone()),
        ("zone", zone.to_owned()),
        ("function", spec.function.clone()),
        ("data", spec.data.escape_ascii().to_string()),
        ("missed", missed.as_str_name().to_owned()),
        ("overlap", overlap.as_str_name().to_owned()),
    ]
}

/// Of a webhook, beside its queue.
pub(super) fn of_webhook(spec: &pb::WebhookSpec) -> Facts {
    let tolerance = if spec.tolerance_ms == 0 { TOLERANCE.bound.default } else { spec.tolerance_ms };
    vec![
        ("function", spec.function.clone()),
        ("verify", spec.verify.clone()),
        ("secret", spec.secret.clone()),
        ("tolerance", tolerance.to_string()),
    ]
}

/// Of a bucket.
pub(super) fn of_bucket(keys_max: u64, bytes_max: u64, access: Access) -> Facts {
    vec![
        ("keys", keys_max.to_string()),
        ("size", bytes_max.to_string()),
        ("access", access.name().to_owned()),
    ]
}

/// Of who watches a bucket.
pub(super) fn of_changes(changes: &Changes) -> Facts {
    let Changes { sets, deletes, prefix, suffix, holds: _ } = changes;
    vec![("on", format!("{sets} {deletes}")), ("prefix", prefix.clone()), ("suffix", suffix.clone())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_changed() {
        let spec = pb::ScheduleSpec { cron: "@daily".into(), ..pb::ScheduleSpec::default() };
        let before = of_schedule(&spec);
        let usual = pb::ScheduleSpec { zone: "UTC".into(), missed: 2, overlap: 1, ..spec.clone() };
        assert_eq!(before, of_schedule(&usual), "what is usual need not be told");
        let other =
            pb::ScheduleSpec { zone: "Europe/Berlin".into(), overlap: 2, data: vec![0xff].into(), ..spec };
        assert_eq!(changed(&before, &of_schedule(&other)), ["zone", "data", "overlap"]);
    }
}
