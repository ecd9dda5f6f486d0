//! Readers of blobs.

use coracle_proto::status::Code;
use futures::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::conditions::{Seen, in_range, seen, validators};
use super::range::{Asked, asked};
use super::sent::Sent;
use super::{Refused, Visit, answer, describe};
use crate::blobs::{Blob, Blobs as _, Content, Info};
use crate::call::{Body, CallError};
use crate::front::shares::Share;

impl Visit<'_> {
    /// The blob, or what is asked for of it.
    pub(super) async fn get(&self, place: Share) -> Result<Response<Body>, Refused> {
        let deadline = self.deadline();
        if self.head.method == Method::HEAD {
            let info = self.client.info(self.at, deadline).await.map_err(answer::told)?;
            let info = info.ok_or_else(|| answer::none(self.at))?;
            let mut response = self.described(&info)?;
            if response.status() == StatusCode::OK {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(info.bytes));
            }
            return Ok(response);
        }
        let blob = self.client.get(self.at, deadline).await.map_err(answer::told)?;
        let Blob { info, content } = blob.ok_or_else(|| answer::none(self.at))?;
        let mut response = self.described(&info)?;
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let headers = &self.head.headers;
        let range =
            headers.get(RANGE).and_then(|range| range.to_str().ok()).filter(|_| in_range(headers, &info));
        let wanted = match asked(range, info.bytes) {
            Asked::Whole => 0..info.bytes,
            Asked::Some(wanted) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let (first, last) = (wanted.start, wanted.end.saturating_sub(1));
                if let Ok(range) = HeaderValue::try_from(format!("bytes {first}-{last}/{}", info.bytes)) {
                    response.headers_mut().insert(CONTENT_RANGE, range);
                }
                wanted
            }
            Asked::Nothing => return Err(answer::out_of_range(info.bytes).into()),
        };
        let bytes = wanted.end - wanted.start;
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        let body = self.body(&content, wanted, place).await?;
        Ok(response.map(|_| body))
    }

    /// The first bytes are here before the head is sent: where nobody has them it says so.
    async fn body(
        &self,
        content: &Content,
        wanted: std::ops::Range<u64>,
        place: Share,
    ) -> Result<Body, CallError> {
        let bytes = wanted.end - wanted.start;
        if bytes == 0 {
            return Ok(Body::default());
        }
        let reader = match content {
            Content::Inline(_) => None,
            Content::Parts { .. } => Some(self.front.blob_place(&self.front.readers, self.caller, "read")?),
        };
        let mut pieces = self.front.stores.read(&self.at.bucket, content, wanted);
        let first = pieces.next().await.transpose().map_err(answer::told)?;
        Ok(Sent::body(first, pieces, bytes, (place, reader)))
    }

    /// The head of an answer, as the conditions will have it.
    fn described(&self, info: &Info) -> Result<Response<Body>, CallError> {
        let status = match seen(&self.head.headers, info) {
            Seen::Blob => StatusCode::OK,
            Seen::NotModified => StatusCode::NOT_MODIFIED,
            Seen::Failed => {
                let said = "the blob is not the one that 'if-match' or 'if-unmodified-since' means";
                return Err(CallError::new(Code::PreconditionFailed, said));
            }
        };
        let mut response = Response::new(Body::default());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        validators(headers, info);
        headers.insert(CACHE_CONTROL, describe::caching(info));
        if status == StatusCode::OK {
            describe::tell(headers, info);
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            as_no_page(headers);
        }
        Ok(response)
    }
}

/// What people upload is no page of the gateway's origin.
fn as_no_page(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}
