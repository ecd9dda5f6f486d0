//! The schedules of a manifest: looked at before anything is deployed, made and changed when their functions are there.

use std::collections::BTreeSet;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use crate::command::events::Events;
use crate::command::schedule::{all, put, shown, spec};
use crate::exit::{Exit, Failure};
use crate::manifest::{FunctionEntry, ScheduleEntry};
use crate::output::{Talk, rfc3339};

/// Refuses what could never fire, and what would call nothing: neither a function of the manifest nor one that is
/// there.
pub(super) async fn check(
    schedules: &[ScheduleEntry],
    functions: &[FunctionEntry],
    events: &mut Events,
) -> Result<(), Failure> {
    for entry in schedules {
        let function = entry.of();
        if !functions.iter().any(|deployed| deployed.id == function) {
            events
                .find_function(&function)
                .await
                .map_err(|failure| failure.during(format!("schedule {}", entry.id)))?;
        }
        put(events, &entry.id, &spec(entry).await?, true).await?;
    }
    Ok(())
}

/// Makes and changes them, and tells what it did. Those of their namespaces that the manifest does not name stay, and
/// are told.
pub(super) async fn make(
    schedules: &[ScheduleEntry],
    events: &mut Events,
    talk: Talk,
) -> Result<(), Failure> {
    for entry in schedules {
        let id = &entry.id;
        let wanted = spec(entry).await?;
        let before = match shown(events, id).await {
            Ok(found) => found.spec,
            Err(failure) if failure.exit == Exit::NotFound => None,
            Err(failure) => return Err(failure),
        };
        let done = match &before {
            Some(before) if *before == wanted => {
                talk.say(talk.done(&format!("schedule {id} is unchanged")));
                continue;
            }
            Some(before) => format!("schedule {id} is changed: {}", changed(before, &wanted).join(", ")),
            None => format!("schedule {id} is made"),
        };
        let made = put(events, id, &wanted, false).await?.unwrap_or_default();
        let next = made.next_ms.first().map(|at| format!("; it fires next at {}", rfc3339(*at)));
        talk.say(talk.done(&format!("{done}{}", next.unwrap_or_default())));
    }
    let namespaces: BTreeSet<_> = schedules.iter().map(|entry| &entry.id.namespace).collect();
    for namespace in namespaces {
        for other in all(events, namespace).await? {
            let Ok(id) = FunctionId::parse(namespace.as_str(), &other.schedule) else { continue };
            if !schedules.iter().any(|entry| entry.id == id) {
                let way = format!("'coracle schedule delete {id}' takes it away");
                talk.say(&format!("note: schedule {id} is not named here, and stays: {way}"));
            }
        }
    }
    Ok(())
}

/// What is told otherwise.
fn changed(before: &pb::ScheduleSpec, wanted: &pb::ScheduleSpec) -> Vec<&'static str> {
    let all = [
        ("cron", before.cron != wanted.cron),
        ("zone", before.zone != wanted.zone),
        ("function", before.function != wanted.function),
        ("data", before.data != wanted.data),
        ("missed", before.missed != wanted.missed),
        ("overlap", before.overlap != wanted.overlap),
    ];
    all.into_iter().filter(|(_, other)| *other).map(|(what, _)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_changed() {
        let spec = pb::ScheduleSpec { cron: "@daily".into(), ..pb::ScheduleSpec::default() };
        assert!(changed(&spec, &spec).is_empty());
        let other = pb::ScheduleSpec {
            zone: "UTC".into(),
            overlap: 2,
            cron: "@daily".into(),
            ..pb::ScheduleSpec::default()
        };
        assert_eq!(changed(&spec, &other), ["zone", "overlap"]);
    }
}
