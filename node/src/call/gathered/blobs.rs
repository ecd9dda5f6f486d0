//! Blobs that a call has written: what they hold was sent, and what they are is said with the call's end.

use coracle_proto::status::Refusal;

use super::{EFFECTS_BYTES_MAX, FRAME_BYTES, Gathered, OWN};
use crate::blobs::{Blob, Commit, Content, Info, Page};

/// A part as it is sent: its number, its run, its size, its digest, and what stands around them.
const PART_BYTES: usize = 72;

/// A blob of so many bytes is an effect with its content; what is larger is sent before.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// Where effects have so many bytes together, content is none of them any more: as many blobs as there are effects have room.
const INLINE_UP_TO: usize = EFFECTS_BYTES_MAX / 4;

/// What the call has made of a blob.
#[derive(Debug, Clone)]
pub(super) struct OwnBlob {
    /// None: it has deleted it.
    pub(super) commit: Option<Commit>,
    /// As the call sees it.
    info: Info,
}

impl Gathered {
    /// What the call has made of a blob itself: the blob, or that there is none. None: nothing.
    #[must_use]
    pub fn own_blob(&self, bucket: &str, key: &str) -> Option<Option<Blob>> {
        let OwnBlob { commit, info } = self.blobs.get(&(bucket.to_owned(), key.to_owned()))?;
        Some(commit.as_ref().map(|it| Blob { info: info.clone(), content: it.content.clone() }))
    }

    /// The call makes something of a blob, or deletes it. Gives what is told of it from now on.
    ///
    /// # Errors
    /// [`Code::LimitReached`](coracle_proto::status::Code::LimitReached).
    pub fn write_blob(
        &mut self,
        bucket: &str,
        key: &str,
        commit: Option<Commit>,
        now_ms: u64,
    ) -> Result<Info, Refusal> {
        let slot = (bucket.to_owned(), key.to_owned());
        let before = self.blobs.remove(&slot);
        let freed = before.as_ref().map_or(0, |own| weight(&slot, own.commit.as_ref()));
        self.bytes = self.bytes.saturating_sub(freed);
        if let Err(refusal) = self.room(weight(&slot, commit.as_ref())) {
            self.bytes = self.bytes.saturating_add(freed);
            self.blobs.extend(before.map(|own| (slot, own)));
            return Err(refusal);
        }
        self.number += 1;
        let info = info(key, commit.as_ref(), OWN | self.number, now_ms);
        self.blobs.insert(slot, OwnBlob { commit, info: info.clone() });
        Ok(info)
    }

    /// Bytes that a blob may have whose content is an effect, with it.
    #[must_use]
    pub const fn inline_room(&self) -> usize {
        if self.bytes < INLINE_UP_TO { INLINE_BYTES_MAX } else { 0 }
    }

    /// A page of blobs behind `after` that begin with `prefix`, as the call sees it.
    #[must_use]
    pub fn seen_blobs(&self, bucket: &str, (prefix, after): (&str, &str), page: Page) -> Page {
        let Page { mut blobs, after: end } = page;
        let on_page =
            |key: &str| key.starts_with(prefix) && key > after && (end.is_empty() || key <= end.as_str());
        for ((_, key), own) in self.blobs.iter().filter(|((of, key), _)| of == bucket && on_page(key)) {
            blobs.retain(|it| it.key != *key);
            blobs.extend(own.commit.is_some().then(|| own.info.clone()));
        }
        blobs.sort_by(|one, other| one.key.cmp(&other.key));
        Page { blobs, after: end }
    }
}

fn info(key: &str, commit: Option<&Commit>, version: u64, now_ms: u64) -> Info {
    let Some(commit) = commit else { return Info { key: key.to_owned(), ..Info::default() } };
    let bytes = match &commit.content {
        Content::Inline(data) => data.len() as u64,
        Content::Parts { parts, .. } => parts.iter().map(|part| part.bytes).sum(),
    };
    Info {
        key: key.to_owned(),
        version,
        bytes,
        etag: commit.etag.clone(),
        modified_ms: now_ms,
        content_type: commit.content_type.clone(),
        metadata: commit.metadata.clone(),
    }
}

/// At least the bytes of it as it is sent.
fn weight((bucket, key): &(String, String), commit: Option<&Commit>) -> usize {
    let commit = commit.map_or(0, |Commit { content, etag, content_type, metadata }| {
        let content = match content {
            Content::Inline(data) => data.len(),
            Content::Parts { upload, parts } => upload.len().saturating_add(parts.len() * PART_BYTES),
        };
        let metadata = metadata.iter().map(|(name, value)| name.len() + value.len() + FRAME_BYTES);
        content.saturating_add(etag.len() + content_type.len() + metadata.sum::<usize>())
    });
    bucket.len().saturating_add(key.len()).saturating_add(commit).saturating_add(FRAME_BYTES)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::blobs::Part;
    use crate::call::{EFFECTS_BYTES_MAX, Effect};
    use crate::stores::effect_to_wire;

    fn inline(data: &'static str) -> Commit {
        let content = Content::Inline(data.into());
        Commit { content, etag: String::new(), content_type: String::new(), metadata: [].into() }
    }

    fn in_parts(parts: u32) -> Commit {
        let part = |number| Part { number, run: u64::MAX, bytes: 5 << 30, digest: vec![255; 32].into() };
        let parts = (1..=parts).map(part).collect();
        let metadata = [("name".to_owned(), "v".repeat(100))].into();
        let content = Content::Parts { upload: [7; 16], parts };
        Commit { content, etag: "e".repeat(70), content_type: "text/plain".to_owned(), metadata }
    }

    #[test]
    fn the_last_of_each_blob_counts_and_the_call_sees_it() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.own_blob("b", "k"), None);
        gathered.check("b", b"k", 7).unwrap();
        gathered.write_blob("b", "k", Some(inline("one")), 5).unwrap();
        let info = gathered.write_blob("b", "k", Some(inline("other")), 6).unwrap();
        assert!(info.version > u64::MAX / 2 && (info.bytes, info.modified_ms) == (5, 6), "{info:?}");
        let seen = gathered.own_blob("b", "k").unwrap().unwrap();
        assert_eq!((seen.info, seen.content), (info, Content::Inline("other".into())));
        gathered.write_blob("b", "gone", None, 6).unwrap();
        assert_eq!(gathered.own_blob("b", "gone"), Some(None));
        let blob = |key: &str, commit| Effect::Blob { bucket: "b".to_owned(), key: key.to_owned(), commit };
        let check = Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 7 };
        assert_eq!(gathered.into_effects(), [check, blob("gone", None), blob("k", Some(inline("other")))]);
    }

    #[test]
    fn a_page_shows_what_the_call_has_done() {
        let mut gathered = Gathered::default();
        for (key, commit) in
            [("a/b", Some(inline(""))), ("a/d", None), ("a/e", Some(inline(""))), ("b", None)]
        {
            gathered.write_blob("x", key, commit, 0).unwrap();
        }
        gathered.write_blob("other", "a/c", Some(inline("")), 0).unwrap();
        let info = |key: &str| Info { key: key.to_owned(), ..Info::default() };
        let keys = |end: &str| {
            let page = Page { blobs: vec![info("a/c"), info("a/d")], after: end.to_owned() };
            let seen = gathered.seen_blobs("x", ("a/", "a/a"), page).blobs;
            seen.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(keys("a/d"), ["a/b", "a/c"], "what is behind the page is on the next one");
        assert_eq!(keys(""), ["a/b", "a/c", "a/e"]);
    }

    /// The store counts them as they are sent, and would refuse at the end what was taken here.
    #[test]
    fn what_is_taken_is_as_sent_within_the_bound() {
        for parts in [1, 100, 1280] {
            let mut gathered = Gathered::default();
            while gathered
                .write_blob("bucket", &gathered.number.to_string(), Some(in_parts(parts)), 0)
                .is_ok()
            {}
            assert!(gathered.write_blob("bucket", "0", Some(in_parts(parts)), 0).is_ok(), "in its place");
            let counted = gathered.bytes;
            let effects = gathered.into_effects();
            assert!(!effects.is_empty() && effects.iter().all(|it| matches!(it, Effect::Blob { .. })));
            let sent: usize = effects.into_iter().map(|it| effect_to_wire(it).encoded_len()).sum();
            assert!(sent <= counted && counted <= EFFECTS_BYTES_MAX, "{parts}: {sent} of {counted}");
        }
    }
}
