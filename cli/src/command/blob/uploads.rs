//! `coracle blob uploads|abort`: uploads in parts that are not done.

use bytes::Bytes;
use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::Key;
use super::link::hex;
use crate::client::{Blobs, now_ms};
use crate::command::Session;
use crate::command::events::{Events, bucket_at};
use crate::command::kv::Bucket;
use crate::exit::Failure;
use crate::output::view::{Changed, UploadView};

/// Whoever has longer to go on is in parts: of what comes at once (10 minutes) its sender is at work, and nobody else goes on with it
/// or ends it.
const AT_ONCE_MS: u64 = 60 * 60 * 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Uploads {
    #[command(flatten)]
    bucket: Bucket,
}

#[derive(Debug, clap::Args)]
pub(super) struct Abort {
    #[command(flatten)]
    key: Key,
    /// Which one, as 'coracle blob uploads' shows it; without it all of that key.
    #[arg(value_name = "UPLOAD")]
    upload: Option<String>,
}

pub(super) async fn list(args: &Uploads, session: &Session<'_>) -> Result<(), Failure> {
    let mut found = all(&mut Events::reach(session).await?, &args.bucket.bucket).await?;
    found.retain(is_in_parts);
    session.output.list(&found.into_iter().map(UploadView::from).collect::<Vec<_>>())
}

fn is_in_parts(upload: &pb::BlobUpload) -> bool {
    upload.until_ms.saturating_sub(now_ms()) > AT_ONCE_MS
}

/// Those of a bucket, without their parts.
async fn all(events: &mut Events, id: &FunctionId) -> Result<Vec<pb::BlobUpload>, Failure> {
    let (mut found, mut after) = (Vec::new(), Bytes::new());
    loop {
        let page = async |mut service: Blobs, place| {
            let (place, after) = (Some(bucket_at(place, id.name.as_str())), after.clone());
            service.list_uploads(pb::BlobListUploadsRequest { place, after, limit: 0 }).await
        };
        let page = events.ask("blob uploads", &id.namespace, page).await?;
        found.extend(page.uploads.into_iter().filter(|it| it.bucket == id.name.as_str()));
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

/// The last one of a key that was opened, with its parts.
pub(super) async fn newest(
    events: &mut Events,
    id: &FunctionId,
    key: &str,
) -> Result<Option<pb::BlobUpload>, Failure> {
    let of_key = all(events, id).await?.into_iter().filter(|it| it.key == key && is_in_parts(it));
    let Some(found) = of_key.max_by(|one, two| (one.begun_ms, &one.id).cmp(&(two.begun_ms, &two.id))) else {
        return Ok(None);
    };
    let get = async |mut service: Blobs, place| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (key, upload) = (key.to_owned(), found.id.clone());
        let request = pb::BlobUploadRequest { place, request: None, key, upload, visitor: None };
        service.get_upload(request).await
    };
    Ok(events.ask("an upload", &id.namespace, get).await?.upload)
}

pub(super) async fn abort(args: &Abort, session: &Session<'_>) -> Result<(), Failure> {
    let Key { bucket, key } = &args.key;
    let id = &bucket.bucket;
    let mut events = Events::reach(session).await?;
    let mut found = all(&mut events, id).await?;
    found.retain(|it| {
        let meant = args.upload.as_ref().map_or_else(|| is_in_parts(it), |upload| *upload == hex(&it.id));
        it.key == *key && meant
    });
    if found.is_empty() {
        let sentence = format!("bucket {id} has no such upload of '{key}'");
        return Err(Refusal::new(Code::UploadNotFound, sentence).into());
    }
    for upload in &found {
        give_up(&mut events, id, key, &upload.id).await?;
        session.talk.say(session.talk.done(&format!("upload {} of '{key}' is given up", hex(&upload.id))));
    }
    session.output.one(&Changed::new(key, "aborted"))
}

pub(super) async fn give_up(
    events: &mut Events,
    id: &FunctionId,
    key: &str,
    upload: &Bytes,
) -> Result<(), Failure> {
    let abort = async |mut service: Blobs, place, request| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (key, upload) = (key.to_owned(), upload.clone());
        service.abort(pb::BlobUploadRequest { place, request, key, upload, visitor: None }).await
    };
    events.alter("blob abort", &id.namespace, abort).await.map(|_| ())
}
