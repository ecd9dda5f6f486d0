//! What a queue is told, by flags and on the wire.

use std::time::Duration;

use coracle_proto::pb;

use super::events::Events;
use super::queue::name::{self, QueueId};
use crate::exit::{Exit, Failure};
use crate::manifest::Settings;
use crate::units;

/// Those of a queue; without them as it is, and as is usual where there is none (docs/manifest.md).
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "The queue")]
pub(super) struct Flags {
    /// How often a message is tried.
    #[arg(long, value_name = "N")]
    attempts: Option<u64>,
    /// The longest wait after the first attempt, twice as long after each other one, such as 1s.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    backoff: Option<Duration>,
    /// The longest wait after any attempt.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    backoff_max: Option<Duration>,
    /// How long a message may wait before it is a dead letter.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    age: Option<Duration>,
    /// How long a dead letter is kept.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    dead_keep: Option<Duration>,
    /// Messages that it may have, dead letters among them.
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// What they may come to, such as 100MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    size: Option<u64>,
}

impl Flags {
    /// What they say, within the bounds.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let millis = |duration: Option<Duration>| {
            duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        let given = [
            self.attempts,
            millis(self.backoff),
            millis(self.backoff_max),
            millis(self.age),
            millis(self.dead_keep),
            self.messages,
            self.size,
        ];
        let mut settings = Settings::default();
        for (name, given) in Settings::KEYS.iter().zip(given) {
            let (Some((setting, slot)), Some(number)) = (settings.slot(name), given) else { continue };
            *slot = setting.check(number).map_err(|error| Failure::usage(format!("--{name}: {error}")))?;
        }
        Ok(settings)
    }
}

/// A queue as it is; none where there is none.
pub(super) async fn present(events: &mut Events, id: &QueueId) -> Result<Option<pb::QueueDetail>, Failure> {
    match name::get(events, &format!("queue {id}"), id).await {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What its queue is to be told of whoever hears something: as it was told, where these say nothing.
pub(super) async fn over_present(
    settings: Settings,
    events: &mut Events,
    id: &QueueId,
) -> Result<Settings, Failure> {
    let found = present(events, id).await?.and_then(|it| it.spec);
    Ok(found.map_or(settings, |spec| settings.over(&told(&spec))))
}

/// On the wire, for a queue whose messages this function takes; empty: nobody does.
pub(super) fn spec(settings: &Settings, function: &str) -> pb::QueueSpec {
    pb::QueueSpec {
        function: function.to_owned(),
        messages_max: settings.messages_max,
        bytes_max: settings.bytes_max,
        attempts: u32::try_from(settings.attempts).unwrap_or(u32::MAX),
        backoff_ms: settings.backoff_ms,
        backoff_max_ms: settings.backoff_max_ms,
        age_ms: settings.age_ms,
        dead_keep_ms: settings.dead_keep_ms,
        delivery: None,
    }
}

/// The same for the queue of a bucket's watcher.
pub(super) fn watch_queue(settings: &Settings) -> pb::KvWatchQueue {
    let pb::QueueSpec {
        messages_max,
        bytes_max,
        attempts,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        delivery,
        ..
    } = spec(settings, "");
    pb::KvWatchQueue {
        messages_max,
        bytes_max,
        attempts,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        delivery,
    }
}

/// What a queue was told.
pub(super) fn told(spec: &pb::QueueSpec) -> Settings {
    Settings {
        attempts: spec.attempts.into(),
        backoff_ms: spec.backoff_ms,
        backoff_max_ms: spec.backoff_max_ms,
        age_ms: spec.age_ms,
        dead_keep_ms: spec.dead_keep_ms,
        messages_max: spec.messages_max,
        bytes_max: spec.bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(line: &str) -> Result<Settings, Failure> {
        let words = ["create"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().flags.settings()
    }

    #[test]
    fn flags_say_what_the_keys_of_a_manifest_say() {
        let line =
            "--attempts 5 --backoff 2s --backoff-max 1m --age 1h --dead-keep 7d --messages 10 --size 1MiB";
        let all = Settings {
            attempts: 5,
            backoff_ms: 2000,
            backoff_max_ms: 60_000,
            age_ms: 3_600_000,
            dead_keep_ms: 604_800_000,
            messages_max: 10,
            bytes_max: 1 << 20,
        };
        assert_eq!(settings(line).unwrap(), all);
        assert_eq!(told(&spec(&all, "f")), all);
        assert_eq!(watch_queue(&all).age_ms, 3_600_000);
        assert_eq!(settings("").unwrap(), Settings::default());
        let failure = settings("--attempts 0").unwrap_err();
        assert_eq!(failure.message, "--attempts: 0 is not between 1 and 100");
    }
}
