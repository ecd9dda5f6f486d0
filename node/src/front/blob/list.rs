//! The blobs of a bucket, as JSON.

use std::time::Instant;

use http::{Response, StatusCode};
use serde::Serialize;

use super::answer;
use super::query::Query;
use crate::blobs::{Info, Listing};
use crate::call::{Body, CallError};
use crate::front::later::answer as json;
use crate::front::moment::rfc3339;
use crate::stores::BlobClient;
use crate::values::Bucket;

#[derive(Serialize)]
struct List<'a> {
    blobs: Vec<One<'a>>,
    /// What the next page is asked for with; none: the list ends here.
    #[serde(skip_serializing_if = "str::is_empty")]
    after: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    key: &'a str,
    bytes: u64,
    etag: &'a str,
    modified: String,
    content_type: &'a str,
}

impl<'a> One<'a> {
    fn new(it: &'a Info) -> Self {
        Self {
            key: &it.key,
            bytes: it.bytes,
            etag: &it.etag,
            modified: rfc3339(it.modified_ms),
            content_type: &it.content_type,
        }
    }
}

/// A page of the list that is asked for.
pub(super) async fn list(
    client: &BlobClient,
    bucket: &Bucket,
    query: Query,
    deadline: Instant,
) -> Result<Response<Body>, CallError> {
    let listing = Listing { prefix: query.prefix, after: query.after, most: query.limit };
    let page = client.list(bucket, listing, deadline).await.map_err(answer::told)?;
    let list = List { blobs: page.blobs.iter().map(One::new).collect(), after: &page.after };
    // Strings and numbers always have a JSON form.
    Ok(json(StatusCode::OK, serde_json::to_string(&list).unwrap_or_default()))
}
