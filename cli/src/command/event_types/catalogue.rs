//! Every type of event that the platform makes, with what fires it.

use crate::exit::Failure;

/// How alike two types must be (Jaro-Winkler, 0 to 1) for the one to be taken for a slip of the other; all of them
/// begin alike.
const LIKENESS_MIN: f64 = 0.9;

/// A type of event.
#[derive(Debug)]
pub(in crate::command) struct EventType {
    pub(in crate::command) name: &'static str,
    /// What makes one.
    pub(in crate::command) fires: &'static str,
    /// Beside `specversion`, `type` and `time`, which all have: each with what it says.
    pub(in crate::command) attributes: &'static [(&'static str, &'static str)],
    /// As records of invocations tell it.
    pub(in crate::command) kind: &'static str,
    /// An example of its source, for the namespace that is put in the place of `NAMESPACE`.
    pub(in crate::command) source: &'static str,
    /// An example of its subject; empty: it has none.
    pub(in crate::command) subject: &'static str,
    /// An example of its id, for the moment that is put in the place of `TIME`; empty: the message's own.
    pub(in crate::command) id: &'static str,
    /// An example of its sequence; empty: the message's own number.
    pub(in crate::command) sequence: &'static str,
    /// An example of its data, JSON.
    pub(in crate::command) data: &'static str,
    /// Its data are always JSON; otherwise they are what somebody gave.
    pub(in crate::command) is_json: bool,
}

/// In the order of their names.
pub(in crate::command) static TYPES: [EventType; 7] = [
    EventType {
        name: "dev.coracle.blob.created",
        fires: "a blob of a bucket that is watched was put, also in place of another one",
        attributes: &[
            ("source", "//NAMESPACE/bucket/NAME"),
            ("subject", "the key"),
            ("sequence", "the blob's version"),
        ],
        kind: "bucket",
        source: "//NAMESPACE/bucket/uploads",
        subject: "cat.jpg",
        id: "",
        sequence: "42",
        data: r#"{"bucket":"uploads","key":"cat.jpg","version":42,"bytes":204800,"etag":"9f86d0","contentType":"image/jpeg"}"#,
        is_json: true,
    },
    EventType {
        name: "dev.coracle.blob.deleted",
        fires: "a blob of a bucket that is watched was deleted; its data tell what it was",
        attributes: &[
            ("source", "//NAMESPACE/bucket/NAME"),
            ("subject", "the key"),
            ("sequence", "the version that the deletion has"),
        ],
        kind: "bucket",
        source: "//NAMESPACE/bucket/uploads",
        subject: "cat.jpg",
        id: "",
        sequence: "43",
        data: r#"{"bucket":"uploads","key":"cat.jpg","version":43,"bytes":204800,"etag":"9f86d0","contentType":"image/jpeg"}"#,
        is_json: true,
    },
    EventType {
        name: "dev.coracle.cron.tick",
        fires: "a time of a schedule has come, or somebody triggered it",
        attributes: &[
            ("id", "NAME@TIME, in milliseconds since 1970; by hand NAME+INVOCATION"),
            ("source", "//NAMESPACE/schedule/NAME"),
            ("subject", "the schedule's name"),
            ("time", "for which it is, also where it comes later"),
            ("missed", "times before it that were left out; not there where none was"),
        ],
        kind: "schedule",
        source: "//NAMESPACE/schedule/nightly",
        subject: "nightly",
        id: "nightly@TIME",
        sequence: "",
        data: r#"{"of":"yesterday"}"#,
        is_json: false,
    },
    EventType {
        name: "dev.coracle.kv.deleted",
        fires: "a value of a bucket that is watched was deleted, or its time was over",
        attributes: &[
            ("source", "//NAMESPACE/bucket/NAME"),
            ("subject", "the key"),
            ("sequence", "the version that the deletion has"),
        ],
        kind: "bucket",
        source: "//NAMESPACE/bucket/images",
        subject: "cat.jpg",
        id: "",
        sequence: "43",
        data: r#"{"bucket":"images","key":"cat.jpg","version":43,"bytes":0}"#,
        is_json: true,
    },
    EventType {
        name: "dev.coracle.kv.set",
        fires: "a value of a bucket that is watched was set, or a number changed",
        attributes: &[
            ("source", "//NAMESPACE/bucket/NAME"),
            ("subject", "the key"),
            ("sequence", "the value's version"),
        ],
        kind: "bucket",
        source: "//NAMESPACE/bucket/images",
        subject: "cat.jpg",
        id: "",
        sequence: "42",
        data: r#"{"bucket":"images","key":"cat.jpg","version":42,"bytes":20480}"#,
        is_json: true,
    },
    EventType {
        name: "dev.coracle.queue.message",
        fires: "a message was published to a queue or a topic, and says no other type",
        attributes: &[
            ("id", "the publisher's, or the message's own"),
            ("source", "the publisher's, or //NAMESPACE/queue/NAME"),
            ("subject", "the publisher's, where it gave one"),
        ],
        kind: "queue",
        source: "//NAMESPACE/queue/jobs",
        subject: "",
        id: "",
        sequence: "",
        data: r#"{"item":7}"#,
        is_json: false,
    },
    EventType {
        name: "dev.coracle.webhook.received",
        fires: "somebody sent something to a webhook, and it was signed right",
        attributes: &[
            ("id", "the sender's, or the message's own"),
            ("source", "//NAMESPACE/webhook/NAME"),
            ("subject", "what the sender calls it, such as push"),
            ("datacontenttype", "as it came"),
        ],
        kind: "webhook",
        source: "//NAMESPACE/webhook/push",
        subject: "push",
        id: "",
        sequence: "",
        data: r#"{"ref":"refs/heads/main"}"#,
        is_json: false,
    },
];

/// The type of that name.
pub(in crate::command) fn find(name: &str) -> Result<&'static EventType, Failure> {
    if let Some(found) = TYPES.iter().find(|it| it.name == name) {
        return Ok(found);
    }
    let likeness = |it: &&EventType| strsim::jaro_winkler(name, it.name);
    let nearest = TYPES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest.filter(|it| likeness(it) >= LIKENESS_MIN) {
        Some(it) => format!("did you mean '{}'?", it.name),
        None => format!("known are {}", TYPES.iter().map(|it| it.name).collect::<Vec<_>>().join(", ")),
    };
    Err(Failure::usage(format!("'{name}' is no type of the platform's; {hint}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// All that stands in quotes and begins so, in the sources below.
    fn named(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs")
                && !path.to_string_lossy().contains("tests")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let types = text.split('"').skip(1).step_by(2).filter(|it| it.starts_with("dev.coracle."));
                // What all of them begin with is none.
                found.extend(types.filter(|it| !it.ends_with('.')).map(ToOwned::to_owned));
            }
        }
    }

    #[test]
    fn each_type_that_stores_and_nodes_make_is_in_the_catalogue() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        for folder in ["controller/store/src", "node/src"] {
            named(&root.join(folder), &mut found);
        }
        assert!(found.contains("dev.coracle.cron.tick"), "it looks in the wrong place: {found:?}");
        let missing: Vec<_> = found.iter().filter(|name| find(name).is_err()).collect();
        assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
    }

    #[test]
    fn the_catalogue_is_in_order_and_its_examples_are_json() {
        assert!(TYPES.is_sorted_by_key(|it| it.name));
        for it in &TYPES {
            assert!(serde_json::from_str::<serde_json::Value>(it.data).is_ok(), "{}", it.name);
            assert!(it.source.contains("NAMESPACE"), "{}", it.name);
        }
    }

    #[test]
    fn a_slip_is_told() {
        let failure = find("dev.coracle.cron.tock").unwrap_err();
        assert!(failure.message.contains("did you mean 'dev.coracle.cron.tick'?"), "{failure}");
        assert!(find("order").unwrap_err().message.contains("known are dev.coracle.blob.created, "));
    }
}
