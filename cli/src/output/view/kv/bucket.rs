//! Buckets.

use coracle_proto::pb;
use serde::Serialize;

use crate::output::{Detail, Row, table};
use crate::units::show_bytes;

/// A bucket with what it holds, and who watches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BucketView {
    namespace: String,
    bucket: String,
    keys: u64,
    /// Of keys and values.
    bytes: u64,
    keys_max: u64,
    bytes_max: u64,
    /// `values`, `blobs`.
    holds: &'static str,
    /// Of blobs: `signed`, `read`, `open`.
    access: Option<&'static str>,
    /// It is being deleted.
    dropping: bool,
    watchers: Vec<WatcherView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WatcherView {
    function: String,
    /// In which its events wait.
    queue: String,
    /// `set`, `delete`; of blobs `created`, `deleted`.
    on: Vec<&'static str>,
    /// Of keys.
    prefix: Option<String>,
    suffix: Option<String>,
}

impl WatcherView {
    fn new(wire: pb::KvWatcher, blobs: bool) -> Self {
        let [sets, deletes] = if blobs { ["created", "deleted"] } else { ["set", "delete"] };
        let on = [(sets, wire.sets), (deletes, wire.deletes)];
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            function: wire.function,
            queue: wire.queue,
            on: on.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect(),
            prefix: text(wire.prefix),
            suffix: text(wire.suffix),
        }
    }

    fn sentence(&self) -> String {
        let told = |what: &str, text: &Option<String>| {
            text.as_ref().map(|text| format!(", {what} '{text}'")).unwrap_or_default()
        };
        let (prefix, suffix) = (told("prefix", &self.prefix), told("suffix", &self.suffix));
        format!("{} on {}{prefix}{suffix} (queue {})", self.function, self.on.join(","), self.queue)
    }
}

impl BucketView {
    pub(crate) fn new(namespace: &str, wire: pb::KvBucket) -> Self {
        let blobs = wire.holds() == pb::KvHolds::Blobs;
        let access = match wire.access() {
            pb::BlobAccess::Unspecified | pb::BlobAccess::Signed => "signed",
            pb::BlobAccess::Read => "read",
            pb::BlobAccess::Open => "open",
        };
        Self {
            holds: if blobs { "blobs" } else { "values" },
            access: blobs.then_some(access),
            dropping: wire.dropping,
            namespace: namespace.to_owned(),
            bucket: wire.bucket,
            keys: wire.keys,
            bytes: wire.bytes,
            keys_max: wire.keys_max,
            bytes_max: wire.bytes_max,
            watchers: wire.watchers.into_iter().map(|it| WatcherView::new(it, blobs)).collect(),
        }
    }
}

impl BucketView {
    fn state(&self) -> &'static str {
        if self.dropping { "being deleted" } else { "" }
    }
}

impl Row for BucketView {
    const COLUMNS: &'static [&'static str] =
        &["BUCKET", "KEYS", "SIZE", "WATCHERS", "ACCESS", "KEYS-MAX", "SIZE-MAX", "STATE"];
    const WIDE_FROM: usize = 4;

    fn cells(&self) -> Vec<String> {
        let watchers: Vec<_> = self.watchers.iter().map(|watcher| watcher.function.clone()).collect();
        vec![
            self.bucket.clone(),
            self.keys.to_string(),
            show_bytes(self.bytes),
            watchers.join(", "),
            self.access.unwrap_or_default().to_owned(),
            self.keys_max.to_string(),
            show_bytes(self.bytes_max),
            self.state().to_owned(),
        ]
    }

    fn name(&self) -> String {
        self.bucket.clone()
    }
}

impl Detail for BucketView {
    fn name(&self) -> String {
        self.bucket.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        let head = [
            ("bucket", format!("{}/{}", self.namespace, self.bucket)),
            ("holds", self.holds.to_owned()),
            ("access", self.access.unwrap_or_default().to_owned()),
            ("state", self.state().to_owned()),
            ("keys", format!("{} of {}", self.keys, self.keys_max)),
            ("size", format!("{} of {}", show_bytes(self.bytes), show_bytes(self.bytes_max))),
        ];
        let watchers = self.watchers.iter().map(|watcher| ("watcher", watcher.sentence()));
        table::pairs(head.into_iter().chain(watchers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_shown_with_who_watches_it() {
        let watcher = pb::KvWatcher {
            function: "thumb".to_owned(),
            queue: "bucket/images/thumb".to_owned(),
            sets: true,
            suffix: ".jpg".to_owned(),
            ..pb::KvWatcher::default()
        };
        let wire = pb::KvBucket {
            bucket: "images".to_owned(),
            keys_max: 100,
            bytes_max: 1 << 20,
            keys: 3,
            bytes: 2048,
            watchers: vec![watcher],
            ..pb::KvBucket::default()
        };
        let view = BucketView::new("shop", wire);
        assert_eq!(view.cells().join("|"), "images|3|2 KiB|thumb||100|1 MiB|");
        let text = view.describe(false);
        assert!(text.contains("thumb on set, suffix '.jpg' (queue bucket/images/thumb)"), "{text}");
        assert!(text.contains("3 of 100"), "{text}");
        let blobs = pb::KvBucket {
            holds: pb::KvHolds::Blobs.into(),
            access: pb::BlobAccess::Read.into(),
            dropping: true,
            watchers: vec![pb::KvWatcher { sets: true, ..pb::KvWatcher::default() }],
            ..pb::KvBucket::default()
        };
        let text = BucketView::new("shop", blobs).describe(false);
        for part in ["blobs", "read", "being deleted", "on created"] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
    }
}
