//! What was sent of a blob and is not committed: it is given up, unless it comes to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_proto::status::Refusal;

use crate::blobs::{At, Blobs, Commit, Finished, Upload};
use crate::runtime::state::keeper::deadline;
use crate::runtime::state::trouble::Trouble;

/// All of it was sent. Dropping it gives it up.
pub(super) struct Sent {
    blobs: Arc<dyn Blobs>,
    at: At,
    /// None: it is committed.
    finished: Option<Finished>,
}

impl Sent {
    /// When all of an upload was kept.
    pub(super) async fn of(blobs: Arc<dyn Blobs>, at: At, upload: Box<dyn Upload>) -> Result<Self, Refusal> {
        let finished = Some(upload.finish().await?);
        Ok(Self { blobs, at, finished })
    }

    /// The blob is this, with its content type and its metadata.
    pub(super) async fn commit(
        mut self,
        (content_type, metadata): (String, BTreeMap<String, String>),
        hops: u32,
    ) -> Result<(), Trouble> {
        if let Some(Finished { content, etag, .. }) = self.finished.clone() {
            let commit = Commit { content, etag, content_type, metadata };
            self.blobs.commit(&self.at, commit, hops, deadline()).await?;
        }
        self.finished = None;
        Ok(())
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(upload) = self.finished.as_ref().and_then(|it| it.content.upload()) {
            self.blobs.give_up(&self.at, upload);
        }
    }
}
