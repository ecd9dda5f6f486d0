//! What calls have sent of blobs, where nothing comes of the calls.

use coracle_proto::id::Namespace;

use super::Inner;
use crate::blobs::{At, Blobs as _, UploadId};
use crate::call::Effect;
use crate::values::Bucket;

/// Effects that are not going to be done: what was sent for them is given up. What was committed all the same stays as it is.
pub(super) fn give_up(inner: &Inner, namespace: &Namespace, effects: &[Effect]) {
    for (at, upload) in uploads(namespace, effects) {
        inner.stores.give_up(&at, upload);
    }
}

fn uploads(namespace: &Namespace, effects: &[Effect]) -> impl Iterator<Item = (At, UploadId)> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Blob { bucket, key, commit: Some(commit) } => {
            let bucket = Bucket { namespace: namespace.clone(), name: bucket.clone() };
            Some((At { bucket, key: key.clone() }, commit.content.upload()?))
        }
        Effect::Blob { commit: None, .. }
        | Effect::Check { .. }
        | Effect::Write { .. }
        | Effect::Publish(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Commit, Content};

    #[test]
    fn what_was_sent_is_found_among_what_was_done() {
        let blob = |key: &str, content: Option<Content>| Effect::Blob {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            commit: content.map(|content| Commit {
                content,
                etag: String::new(),
                content_type: String::new(),
                metadata: [].into(),
            }),
        };
        let check = Effect::Check { bucket: "b".to_owned(), key: "k".into(), version: 1 };
        let sent = Content::Parts { upload: [7; 16], parts: Vec::new() };
        let inline = Some(Content::Inline("x".into()));
        let effects = [check, blob("small", inline), blob("gone", None), blob("large", Some(sent))];
        let namespace = Namespace::default();
        let bucket = Bucket { namespace: namespace.clone(), name: "b".to_owned() };
        let found: Vec<_> = uploads(&namespace, &effects).collect();
        assert_eq!(found, [(At { bucket, key: "large".to_owned() }, [7; 16])]);
    }
}
