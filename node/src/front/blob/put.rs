//! Writers of blobs: what comes goes on to the stores, and is to be seen when all of it is there.

use coracle_proto::status::{Again, Code};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::describe::Said;
use super::{Visit, answer, conditions, digest};
use crate::blobs::{BLOB_BYTES_MAX, Commit, Content, INLINE_BYTES_MAX, Terms, hex};
use crate::call::{Body, CallError};
use crate::clock;
use crate::dispatch::Payload as _;
use crate::front::intake::Bounds;
use crate::front::publish::READ_MAX;
use crate::front::shares::Share;
use crate::stores::{Begin, BlobClient, Sending};

impl Visit<'_> {
    /// The blob is what comes.
    pub(super) async fn put(&self) -> Result<Response<Body>, CallError> {
        let headers = &self.head.headers;
        let (terms, said, digest) =
            (conditions::terms(headers)?, Said::new(headers)?, digest::said(headers)?);
        let known = self.known()?;
        let Came { content, digest, client } = match known {
            Some(bytes) if bytes <= INLINE_BYTES_MAX as u64 => self.small(bytes, digest).await?,
            _ => self.large(known, &terms, digest).await?,
        };
        let Said { content_type, metadata } = said;
        let upload = match &content {
            Content::Parts { upload, .. } => Some(*upload),
            Content::Inline(_) => None,
        };
        let commit = Commit { content, etag: hex(&digest), content_type, metadata };
        match client.commit(self.at, (commit, terms), self.hops(), self.deadline()).await {
            Ok((info, existed)) => Ok(answer::kept(existed, &info.etag)),
            Err(refusal) => {
                // What is surely refused needs its chunks no more.
                if let Some(upload) = upload.filter(|_| refusal.code.retry() == Again::Never) {
                    client.give_up(self.at, upload);
                }
                Err(answer::told(refusal))
            }
        }
    }

    /// What fits into the record is read as whatever else is kept, and who may is asked with its commit.
    async fn small(&self, bytes: u64, digest: Option<[u8; 32]>) -> Result<Came, CallError> {
        let bounds =
            Bounds { what: "what is kept in a record", bytes_max: INLINE_BYTES_MAX, limit: READ_MAX };
        let taken = self.front.take_in(self.body, self.caller, bounds).await?;
        all_of(Some(bytes), taken.data.len() as u64)?;
        let found = Sha256::digest(&taken.data).into();
        digest::check(digest, found)?;
        let content = Content::Inline(taken.data);
        Ok(Came { content, digest: found, client: self.client.clone() })
    }

    /// The rest goes on to the stores as it comes.
    async fn large(
        &self,
        known: Option<u64>,
        terms: &Terms,
        digest: Option<[u8; 32]>,
    ) -> Result<Came, CallError> {
        let _place = self.upload_place()?;
        let begin = Begin { bytes: known.unwrap_or(0), ..Begin::default() };
        let mut sending = self.client.send(self.at, begin);
        if known.is_some() {
            // Whoever may not, or has no room, or wants to change another one, is told before it is asked to send.
            Box::pin(sending.open()).await.map_err(answer::told)?;
            if *terms != Terms::default() {
                let info = self.client.admitted().info(self.at, self.deadline()).await;
                conditions::still(terms, info.map_err(answer::told)?.as_ref())?;
            }
        }
        self.stream_in(&mut sending, known).await?;
        let found = sending.digest();
        digest::check(digest, found)?;
        let client = if sending.is_open() { self.client.admitted() } else { self.client.clone() };
        let (content, _) = Box::pin(sending.end()).await.map_err(answer::told)?;
        Ok(Came { content, digest: found, client })
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

    /// How much will come, where that is said.
    pub(super) fn known(&self) -> Result<Option<u64>, CallError> {
        let Some(hint) = self.body.shared().map(|shared| shared.hint()) else { return Ok(Some(0)) };
        if hint.lower() > BLOB_BYTES_MAX {
            let said =
                format!("a blob has at most {BLOB_BYTES_MAX} bytes, and {} are announced", hint.lower());
            return Err(CallError::new(Code::RequestTooLarge, said));
        }
        Ok(hint.exact())
    }

    /// For as long as an upload goes on here.
    pub(super) fn upload_place(&self) -> Result<Share, CallError> {
        self.front.blob_place(&self.front.uploads, self.caller, "written")
    }

    /// Takes in the request's body as fast as the stores take it.
    pub(super) async fn stream_in(&self, sending: &mut Sending, known: Option<u64>) -> Result<(), CallError> {
        let gone = || CallError::new(Code::Internal, "the request's body was read before");
        let mut body = self.body.next().ok_or_else(gone)?;
        let (patience, asked_by) = (self.front.options.body_timeout, clock::now() + READ_MAX);
        loop {
            // Who takes so long for little is asked whether they may, before their place is theirs for longer.
            if !sending.is_open() && clock::now() >= asked_by {
                Box::pin(sending.open()).await.map_err(answer::told)?;
            }
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return all_of(known, sending.bytes()),
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

/// What came, and who goes on with it.
struct Came {
    content: Content,
    digest: [u8; 32],
    client: BlobClient,
}

/// Refuses what is not as long as it was said to be.
fn all_of(known: Option<u64>, bytes: u64) -> Result<(), CallError> {
    match known {
        Some(known) if known != bytes => {
            let said = format!("{known} bytes were announced, and {bytes} came; nothing was kept");
            Err(CallError::new(Code::BadRequest, said))
        }
        Some(_) | None => Ok(()),
    }
}
