//! Uploads in parts, in S3's words.

use bytes::Bytes;
use coracle_proto::status::Code;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::describe::Said;
use super::{Visit, answer, conditions, digest};
use crate::blobs::{Commit, Content, PARTS_MAX, Part, UploadId, from_hex, hex};
use crate::call::{Body, CallError};
use crate::front::intake::Bounds;
use crate::front::later::answer as json;
use crate::front::moment::rfc3339;
use crate::front::publish::READ_MAX;
use crate::stores::Begin;

/// An upload in parts is over after so long without one.
const TIME: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// Ten thousand parts with their etags, and room for spaces.
const LIST_BYTES_MAX: usize = 2 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begun<'a> {
    upload_id: String,
    key: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Open<'a> {
    upload_id: String,
    key: &'a str,
    /// It is over then.
    until: String,
    parts: Vec<There>,
}

#[derive(Serialize)]
struct There {
    part: u32,
    bytes: u64,
    etag: String,
}

/// A part as its sender knows it.
#[derive(Deserialize)]
struct Meant {
    part: u32,
    etag: String,
}

impl Visit<'_> {
    /// Opens an upload.
    pub(super) async fn begin_parts(&self) -> Result<Response<Body>, CallError> {
        conditions::none(&self.head.headers)?;
        let Said { content_type, metadata } = Said::new(&self.head.headers)?;
        let begin = Begin { time: TIME, content_type, metadata, bytes: 0 };
        let upload = self.client.begin(self.at, begin, self.deadline()).await.map_err(answer::told)?;
        Ok(say(&Begun { upload_id: hex(&upload), key: &self.at.key }))
    }

    /// Which parts are there.
    pub(super) async fn parts(&self, upload: UploadId) -> Result<Response<Body>, CallError> {
        let opened = self.client.opened(self.at, upload, self.deadline()).await.map_err(answer::told)?;
        let there = |it: Part| There { part: it.number, bytes: it.bytes, etag: hex(&it.digest) };
        let parts = opened.parts.into_iter().map(there).collect();
        let until = rfc3339(opened.until_ms);
        Ok(say(&Open { upload_id: hex(&upload), key: &self.at.key, until, parts }))
    }

    /// A part is what comes.
    pub(super) async fn put_part(&self, upload: UploadId, number: u32) -> Result<Response<Body>, CallError> {
        conditions::none(&self.head.headers)?;
        let (said, known) = (digest::said(&self.head.headers)?, self.known()?);
        let _place = self.upload_place()?;
        // The members of the group take chunks of whatever upload; who may send them its leader says, and that it goes on.
        self.client.renew(self.at, upload, self.deadline()).await.map_err(answer::told)?;
        let client = self.client.admitted();
        let mut sending = client.send_part(self.at, upload, number).map_err(answer::told)?;
        self.stream_in(&mut sending, known).await?;
        digest::check(said, sending.digest())?;
        let (_, part) = Box::pin(sending.end()).await.map_err(answer::told)?;
        let etag = hex(&part.digest);
        client.put_part(self.at, upload, part, self.deadline()).await.map_err(answer::told)?;
        Ok(answer::kept(true, &etag))
    }

    /// The blob is these parts.
    pub(super) async fn complete(&self, upload: UploadId) -> Result<Response<Body>, CallError> {
        let terms = conditions::terms(&self.head.headers)?;
        let bounds = Bounds { what: "a list of parts", bytes_max: LIST_BYTES_MAX, limit: READ_MAX };
        let taken = self.front.take_in(self.body, self.caller, bounds).await?;
        let parts = meant(&taken.data)?;
        drop(taken);
        let (etag, content) = (together(&parts), Content::Parts { upload, parts });
        let commit =
            Commit { content, etag: String::new(), content_type: String::new(), metadata: [].into() };
        let refusal = match self.client.commit(self.at, (commit, terms), self.hops(), self.deadline()).await {
            Ok((info, existed)) => return Ok(answer::kept(existed, &info.etag)),
            Err(refusal) => refusal,
        };
        // Its end may have come before, and the answer been lost: then the blob is what would come of it. Who may not was
        // refused as that.
        if refusal.code == Code::UploadNotFound {
            let info = self.client.admitted().info(self.at, self.deadline()).await.map_err(answer::told)?;
            if info.is_some_and(|info| info.etag == etag) {
                return Ok(answer::kept(true, &etag));
            }
        }
        Err(answer::told(refusal))
    }

    /// Gives the upload up.
    pub(super) async fn abort(&self, upload: UploadId) -> Result<Response<Body>, CallError> {
        conditions::none(&self.head.headers)?;
        self.client.abort(self.at, upload, self.deadline()).await.map_err(answer::told)?;
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

/// The etag of a blob in these parts.
fn together(parts: &[Part]) -> String {
    let digest = parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(&part.digest));
    format!("{}-{}", hex(&digest.finalize()), parts.len())
}

fn say(what: &impl Serialize) -> Response<Body> {
    // Strings and numbers always have a JSON form.
    json(StatusCode::OK, serde_json::to_string(what).unwrap_or_default())
}

/// The parts that a list names, in order.
fn meant(text: &[u8]) -> Result<Vec<Part>, CallError> {
    let bad = |why: String| CallError::new(Code::BadRequest, format!("the list of parts: {why}"));
    let list: Vec<Meant> = serde_json::from_slice(text).map_err(|error| {
        bad(format!("{error}; it is a JSON array of {{\"part\": NUMBER, \"etag\": ETAG}}"))
    })?;
    if list.is_empty() || list.len() > PARTS_MAX as usize {
        return Err(bad(format!("has {} parts, and 1 to {PARTS_MAX} are possible", list.len())));
    }
    let mut before = 0;
    let part = |it: Meant| {
        if it.part <= before {
            return Err(bad(format!("part {} stands behind part {before}", it.part)));
        }
        before = it.part;
        let digest: [u8; 32] = from_hex(it.etag.trim_matches('"'))
            .ok_or_else(|| bad(format!("part {}: '{}' is no etag of a part", it.part, it.etag)))?;
        Ok(Part { number: it.part, run: 0, bytes: 0, digest: Bytes::copy_from_slice(&digest) })
    };
    list.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_parts_is_in_order() {
        let etag = "ab".repeat(32);
        let parts = meant(
            format!("[{{\"part\":1,\"etag\":\"{etag}\"}},{{\"part\":7,\"etag\":\"\\\"{etag}\\\"\"}}]")
                .as_bytes(),
        );
        let parts: Vec<_> = parts.unwrap().into_iter().map(|it| (it.number, it.digest[0])).collect();
        assert_eq!(parts, [(1, 0xab), (7, 0xab)]);
        for bad in [
            String::new(),
            "[]".to_owned(),
            "{}".to_owned(),
            format!("[{{\"part\":0,\"etag\":\"{etag}\"}}]"),
            format!("[{{\"part\":-1,\"etag\":\"{etag}\"}}]"),
            format!("[{{\"part\":2,\"etag\":\"{etag}\"}},{{\"part\":2,\"etag\":\"{etag}\"}}]"),
            format!("[{{\"part\":1,\"etag\":\"{etag}-1\"}}]"),
            "[{\"part\":1}]".to_owned(),
        ] {
            assert_eq!(meant(bad.as_bytes()).map_err(|error| error.code()), Err(Code::BadRequest), "{bad}");
        }
    }
}
