//! What a queue is told, by flags and on the wire.

use std::time::Duration;

use coracle_proto::pb;

use super::events::Events;
use super::queue::name::{self, QueueId};
use crate::exit::{Exit, Failure};
use crate::manifest::{BATCH, BATCH_WAIT, Delivery, Mode, Setting, Settings, delivery_path, delivery_reply};
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
    /// The path of the request that the function gets; usual is /.
    #[arg(long, value_name = "PATH", value_parser = delivery_path)]
    path: Option<String>,
    /// Where the request has the event's attributes; usual is binary.
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,
    /// A queue or topic to which events that it answers with are published; '' for none.
    #[arg(long, value_name = "NAME", value_parser = delivery_reply)]
    reply: Option<String>,
    /// Messages of one call at most; usual is 1.
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
    /// How long the oldest of them waits for others at most, such as 5s.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    batch_wait: Option<Duration>,
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
        let checked = |setting: &Setting, number: Option<u64>| {
            let name = setting.bound.name;
            let checked = number.map(|number| setting.check(number)).transpose();
            checked.map_err(|error| Failure::usage(format!("--{name}: {error}")))
        };
        settings.delivery = Delivery {
            path: self.path.clone(),
            mode: self.mode,
            reply: self.reply.clone(),
            batch_max: checked(&BATCH, self.batch)?,
            batch_wait_ms: checked(&BATCH_WAIT, millis(self.batch_wait))?,
        };
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
    Ok(settings.over(&found.as_ref().map(told).unwrap_or_default()))
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
        delivery: delivery(&settings.delivery),
    }
}

/// None where all of it is as is usual.
fn delivery(told: &Delivery) -> Option<pb::DeliverySpec> {
    let batch_max = told.batch_max.filter(|max| *max > 1).unwrap_or_default();
    let spec = pb::DeliverySpec {
        path: told.path.clone().filter(|path| path != "/").unwrap_or_default(),
        mode: match told.mode {
            None | Some(Mode::Binary) => pb::DeliveryMode::Unspecified.into(),
            Some(Mode::Structured) => pb::DeliveryMode::Structured.into(),
        },
        reply: told.reply.clone().unwrap_or_default(),
        batch_max: u32::try_from(batch_max).unwrap_or(u32::MAX),
        // Without a batch the store says that nothing is waited for.
        batch_wait_ms: told.batch_wait_ms.unwrap_or_default(),
    };
    (spec != pb::DeliverySpec::default()).then_some(spec)
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
        delivery: spec.delivery.as_ref().map(told_delivery).unwrap_or_default(),
    }
}

/// How its function was said to want them; what is usual is not said.
fn told_delivery(spec: &pb::DeliverySpec) -> Delivery {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Delivery {
        path: text(&spec.path),
        mode: match spec.mode() {
            pb::DeliveryMode::Structured => Some(Mode::Structured),
            pb::DeliveryMode::Unspecified | pb::DeliveryMode::Binary => None,
        },
        reply: text(&spec.reply),
        batch_max: Some(spec.batch_max.into()).filter(|max| *max > 1),
        batch_wait_ms: Some(spec.batch_wait_ms).filter(|wait| *wait > 0),
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
        let line = "--attempts 5 --backoff 2s --backoff-max 1m --age 1h --dead-keep 7d --messages 10 --size 1MiB \
             --path /in --mode structured --reply done --batch 10 --batch-wait 5s";
        let delivery = Delivery {
            path: Some("/in".into()),
            mode: Some(Mode::Structured),
            reply: Some("done".into()),
            batch_max: Some(10),
            batch_wait_ms: Some(5000),
        };
        let all = Settings {
            attempts: 5,
            backoff_ms: 2000,
            backoff_max_ms: 60_000,
            age_ms: 3_600_000,
            dead_keep_ms: 604_800_000,
            messages_max: 10,
            bytes_max: 1 << 20,
            delivery,
        };
        assert_eq!(settings(line).unwrap(), all);
        assert_eq!(told(&spec(&all, "f")), all);
        assert_eq!(watch_queue(&all).age_ms, 3_600_000);
        assert_eq!(settings("").unwrap(), Settings::default());
        assert_eq!(spec(&settings("--path / --batch 1 --mode binary").unwrap(), "f").delivery, None);
        let alone = settings("--batch-wait 5s").unwrap();
        assert_eq!(spec(&alone, "f").delivery.unwrap().batch_wait_ms, 5000, "the store refuses it");
        assert_eq!(alone.changes(&Settings::default()).len(), 1, "and it is told");
        let failure = settings("--attempts 0").unwrap_err();
        assert_eq!(failure.message, "--attempts: 0 is not between 1 and 100");
        assert_eq!(settings("--batch 257").unwrap_err().message, "--batch: 257 is not between 1 and 256");
    }
}
