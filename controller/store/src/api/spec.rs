//! What people ask of queues and topics, between its wire form and the model: names, and what a queue is told.

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::FunctionId;
use coracle_proto::pb::{EventsPlace, KvWatchQueue, QueueSpec};
use coracle_proto::status::{Code, Refusal};

use super::leading::Leading;
use super::{manner, wire};
use crate::app::Context;
use crate::model::{Name, PAGE_MAX, Place, Queue, Settings};

/// The replica that leads a namespace's group, and the queue or topic of this name: any one, also of those that the platform makes.
pub(super) fn any(
    context: &Context,
    place: Option<EventsPlace>,
    name: &str,
    field: &'static str,
) -> Result<(Leading, Place), Refusal> {
    let (leading, namespace) = leading(context, place)?;
    Ok((leading, wire::place(&namespace, name, field)?))
}

/// The same of a name that people may give.
pub(super) fn named(
    context: &Context,
    place: Option<EventsPlace>,
    name: &str,
    field: &'static str,
) -> Result<(Leading, Place), Refusal> {
    let (leading, namespace) = leading(context, place)?;
    Ok((leading, name_of(&namespace, name, field)?))
}

fn leading(context: &Context, place: Option<EventsPlace>) -> Result<(Leading, String), Refusal> {
    let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
    Ok((Leading::of(context, &cluster_id, group)?, namespace))
}

/// Names of people's queues and topics are as those of functions. What has a '/' in its name the platform has made.
pub(super) fn name_of(namespace: &str, name: &str, field: &'static str) -> Result<Place, Refusal> {
    if name.contains('/') {
        let sentence = format!(
            "field '{field}': '{name}' is a queue that the platform makes and fills: name one of people's, or a topic"
        );
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    FunctionId::parse(namespace, name).in_field(field)?;
    Ok(wire::place(namespace, name, field)?)
}

/// A function of the namespace.
pub(super) fn function(namespace: &str, name: &str, field: &'static str) -> Result<Name, DecodeError> {
    FunctionId::parse(namespace, name).in_field(field)?;
    Name::parse(name).in_field(field)
}

/// Entries of a page; zero: as many as one has.
pub(super) fn page(limit: u32, usual: usize) -> usize {
    if limit == 0 { usual } else { usize::try_from(limit).unwrap_or(usize::MAX).min(PAGE_MAX) }
}

/// The name behind which a page begins.
pub(super) fn after(after: &str) -> Result<Option<Name>, DecodeError> {
    if after.is_empty() { Ok(None) } else { Name::parse(after).map(Some).in_field("after") }
}

/// What a queue is told; zero: as is usual. The model refuses what is over a bound.
pub(super) fn settings(spec: &QueueSpec) -> Result<Settings, Refusal> {
    let usual = Settings::DEFAULT;
    let or = |value: u64, usual: u64| if value == 0 { usual } else { value };
    Ok(Settings {
        messages_max: or(spec.messages_max, usual.messages_max),
        bytes_max: or(spec.bytes_max, usual.bytes_max),
        attempts_max: if spec.attempts == 0 { usual.attempts_max } else { spec.attempts },
        backoff_ms: or(spec.backoff_ms, usual.backoff_ms),
        backoff_max_ms: or(spec.backoff_max_ms, usual.backoff_max_ms),
        age_ms: or(spec.age_ms, usual.age_ms),
        dead_keep_ms: or(spec.dead_keep_ms, usual.dead_keep_ms),
        manner: manner::from_wire(spec.delivery.clone())?,
    })
}

/// The same of a watcher's queue.
pub(super) fn watch_settings(wire: Option<KvWatchQueue>) -> Result<Settings, Refusal> {
    let wire = wire.unwrap_or_default();
    let KvWatchQueue {
        messages_max,
        bytes_max,
        attempts,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        delivery,
    } = wire;
    let function = String::new();
    settings(&QueueSpec {
        function,
        messages_max,
        bytes_max,
        attempts,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        delivery,
    })
}

/// What a queue was told.
pub(super) fn to_wire(queue: &Queue) -> QueueSpec {
    let Settings {
        messages_max,
        bytes_max,
        attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        ref manner,
    } = queue.settings;
    QueueSpec {
        function: queue.target.as_ref().map_or_else(String::new, Name::to_string),
        messages_max,
        bytes_max,
        attempts: attempts_max,
        backoff_ms,
        backoff_max_ms,
        age_ms,
        dead_keep_ms,
        delivery: manner::to_wire(manner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_what_is_usual() {
        assert_eq!(settings(&QueueSpec::default()), Ok(Settings::DEFAULT));
        assert_eq!(watch_settings(None), Ok(Settings::DEFAULT));
        let told = QueueSpec { attempts: 7, age_ms: 9, ..QueueSpec::default() };
        let expected = Settings { attempts_max: 7, age_ms: 9, ..Settings::DEFAULT };
        assert_eq!(settings(&told), Ok(expected.clone()));
        let back = to_wire(&Queue::told(expected.clone(), None));
        assert_eq!((back.attempts, back.age_ms, settings(&back)), (7, 9, Ok(expected)));
    }

    #[test]
    fn names_are_those_of_functions() {
        assert!(name_of("shop", "orders", "queue").is_ok());
        for wrong in ["", "Orders", "a/b", "function/f", "topic/t/f"] {
            let refusal = name_of("shop", wrong, "queue").unwrap_err();
            assert_eq!(refusal.code, Code::InvalidArgument);
            assert!(refusal.message.contains("'queue'"), "{refusal}");
        }
    }
}
