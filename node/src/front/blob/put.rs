//! Writers of blobs: what comes goes on to the stores, and is to be seen when all of it is there.

use coracle_proto::status::{Again, Code};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::describe::Said;
use super::{Visit, answer, conditions, digest};
use crate::blobs::{BLOB_BYTES_MAX, Commit, Content, INLINE_BYTES_MAX, Terms, hex};
use crate::call::{Body, CallError};
use crate::dispatch::Payload as _;
use crate::stores::{Begin, Sending};

impl Visit<'_> {
    /// The blob is what comes.
    pub(super) async fn put(&self) -> Result<Response<Body>, CallError> {
        let headers = &self.head.headers;
        let (terms, said, digest) =
            (conditions::terms(headers)?, Said::new(headers)?, digest::said(headers)?);
        let known = self.known()?;
        let mut sending = self.client.send(self.at, Begin { bytes: known, ..Begin::default() });
        if known > INLINE_BYTES_MAX as u64 {
            // Whoever may not, or has no room, is told before it is asked to send.
            Box::pin(sending.open()).await.map_err(answer::told)?;
        }
        self.stream_in(&mut sending).await?;
        let found = sending.digest();
        digest::check(digest, found)?;
        let (content, _) = Box::pin(sending.end()).await.map_err(answer::told)?;
        let Said { content_type, metadata } = said;
        self.commit(Commit { content, etag: hex(&found), content_type, metadata }, terms).await
    }

    /// All at once, or nothing.
    pub(super) async fn commit(&self, commit: Commit, terms: Terms) -> Result<Response<Body>, CallError> {
        let upload = match &commit.content {
            Content::Parts { upload, .. } => Some(*upload),
            Content::Inline(_) => None,
        };
        let own = !commit.etag.is_empty();
        match self.client.commit(self.at, (commit, terms), self.hops(), self.deadline()).await {
            Ok((info, existed)) => Ok(answer::kept(existed, &info.etag)),
            Err(refusal) => {
                // What is surely refused needs its chunks no more. One in parts may be ended another time.
                if let Some(upload) = upload.filter(|_| own && refusal.code.retry() == Again::Never) {
                    self.client.give_up(self.at, upload);
                }
                Err(answer::told(refusal))
            }
        }
    }

    /// It is there no more.
    pub(super) async fn delete(&self) -> Result<Response<Body>, CallError> {
        let terms = conditions::terms(&self.head.headers)?;
        if terms.if_none_match {
            let said = "header 'if-none-match': where there is no blob there is none to delete";
            return Err(CallError::new(Code::BadRequest, said));
        }
        let deleted = self.client.delete(self.at, terms.if_match, self.hops(), self.deadline()).await;
        match deleted.map_err(answer::told)? {
            true => Ok(answer::empty(StatusCode::NO_CONTENT)),
            false => Err(answer::none(self.at)),
        }
    }

    /// How much will come, where that is said; zero where it is not.
    pub(super) fn known(&self) -> Result<u64, CallError> {
        let hint = self.body.shared().map(|shared| shared.hint()).unwrap_or_default();
        if hint.lower() > BLOB_BYTES_MAX {
            let said =
                format!("a blob has at most {BLOB_BYTES_MAX} bytes, and {} are announced", hint.lower());
            return Err(CallError::new(Code::RequestTooLarge, said));
        }
        Ok(hint.exact().unwrap_or(0))
    }

    /// Takes in the request's body as fast as the stores take it.
    pub(super) async fn stream_in(&self, sending: &mut Sending) -> Result<(), CallError> {
        let gone = || CallError::new(Code::Internal, "the request's body was read before");
        let mut body = self.body.next().ok_or_else(gone)?;
        let patience = self.front.options.body_timeout;
        loop {
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    let (caller, bytes, ms) = (self.caller, sending.bytes(), patience.as_millis());
                    let said = format!(
                        "'{caller}' sent nothing of the request's body for {ms} ms, after {bytes} bytes; nothing was kept"
                    );
                    return Err(CallError::new(Code::RequestTimeout, said));
                }
            };
            // Trailers say nothing that is kept.
            if let Ok(data) = frame.into_data() {
                Box::pin(sending.push(&data)).await.map_err(answer::told)?;
            }
        }
    }
}
