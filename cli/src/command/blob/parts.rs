//! What is too large to be sent at once: an upload in parts, which goes on where it broke off.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::pb;
use http::HeaderMap;

use super::door::{Asked, Door, etag_of};
use super::etag::{digest, of_parts};
use super::link::{Verb, hex};
use super::put::{Look, Source, commit};
use super::tries::{Wrong, tried};
use super::{BLOB_BYTES_MAX, uploads};
use crate::client::Blobs;
use crate::command::events::bucket_at;
use crate::exit::{Exit, Failure};
use crate::output::Progress;
use crate::output::view::PutView;
use crate::units::show_bytes;

/// How long an upload of several parts waits for its next part. Of one there is nothing to go on with: its time is the usual one.
const TIME_MS: u64 = 7 * 24 * 60 * 60 * 1000;

pub(super) async fn put(
    door: &mut Door,
    mut source: Source,
    first: Bytes,
    (said, resume): (&Look, bool),
    progress: &Progress,
) -> Result<PutView, Failure> {
    let several = !source.is_all(&first);
    let found = match resume && several {
        true => uploads::newest(&mut door.events, &door.id, &door.key).await?,
        false => None,
    };
    let upload = match found {
        Some(found) => {
            let there = count(found.parts.len());
            progress.line(&format!("going on with upload {}, which has {there}", hex(&found.id)));
            found
        }
        None => begin(door, (source.bytes, several), said).await?,
    };
    if several && door.talk.is_on_terminal() {
        progress.line(&format!("upload {}: where it breaks off, --resume goes on with it", hex(&upload.id)));
    }
    match send(door, &mut source, first, (&upload, said), progress).await {
        Ok(done) => Ok(done),
        Err(failure) => Err(given_up(door, &upload, several, failure).await),
    }
}

/// What becomes of an upload that failed so: what nobody can go on with goes.
pub(super) async fn given_up(
    door: &mut Door,
    upload: &pb::BlobUpload,
    several: bool,
    failure: Failure,
) -> Failure {
    let in_vain = match failure.exit {
        // It has ended, or its bucket has.
        Exit::NotFound => return failure,
        Exit::Usage => true,
        Exit::Refused | Exit::Denied | Exit::Conflict => !several,
        // Nobody answers, and an upload of one part soon ends by itself.
        Exit::Ok
        | Exit::Connect
        | Exit::Server
        | Exit::TimedOut
        | Exit::Function
        | Exit::Throttled
        | Exit::Config
        | Exit::Removed => false,
    };
    if in_vain {
        door.events.renew();
        // It ends by its time where this fails too.
        let _ = uploads::give_up(&mut door.events, &door.id, &door.key, &upload.id).await;
        return failure;
    }
    if !several {
        return failure;
    }
    let hint = format!("--resume goes on with it, 'coracle blob abort {} {}' gives it up", door.id, door.key);
    Failure { message: format!("{}; what was sent is kept for 7 days: {hint}", failure.message), ..failure }
}

fn count(parts: usize) -> String {
    if parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") }
}

async fn begin(
    door: &mut Door,
    (bytes, several): (Option<u64>, bool),
    said: &Look,
) -> Result<pb::BlobUpload, Failure> {
    let Door { events, id, key, .. } = door;
    let begin = async |mut service: Blobs, place, request| {
        let told = pb::BlobBeginRequest {
            place: Some(bucket_at(place, id.name.as_str())),
            request,
            key: key.clone(),
            time_ms: if several { TIME_MS } else { 0 },
            content_type: said.kind(),
            metadata: said.metadata(),
            bytes: bytes.unwrap_or_default(),
            visitor: None,
        };
        service.begin(told).await
    };
    let reply = events.alter("an upload", &id.namespace, begin).await?;
    reply.upload.ok_or_else(|| Failure::local("an upload", "the store has opened none"))
}

async fn send(
    door: &mut Door,
    source: &mut Source,
    first: Bytes,
    (upload, said): (&pb::BlobUpload, &Look),
    progress: &Progress,
) -> Result<PutView, Failure> {
    let there: BTreeMap<u32, &pb::BlobPart> = upload.parts.iter().map(|part| (part.number, part)).collect();
    let (mut part, mut bytes, mut digests) = (first, 0, Vec::new());
    while !part.is_empty() {
        let (size, own) = (part.len() as u64, digest(&part));
        if bytes + size > BLOB_BYTES_MAX {
            return Err(Failure::usage(format!("a blob has at most {}", show_bytes(BLOB_BYTES_MAX))));
        }
        let number = u32::try_from(digests.len() + 1).unwrap_or(u32::MAX);
        let same = there.get(&number).is_some_and(|it| it.bytes == size && it.digest[..] == own);
        if !same {
            send_part(door, &upload.id, number, (part, own), (bytes, progress)).await?;
        }
        bytes += size;
        progress.at(bytes);
        digests.push(own);
        part = source.next().await?;
    }
    // One part alone is the blob, and has its ETag.
    let etag = match digests.as_slice() {
        [one] => hex(one),
        several => of_parts(several),
    };
    let part = |(number, digest): (u32, &[u8; 32])| pb::BlobPart {
        number,
        digest: Bytes::copy_from_slice(digest),
        ..pb::BlobPart::default()
    };
    let content = pb::BlobContent {
        upload: upload.id.clone(),
        parts: (1..).zip(&digests).map(part).collect(),
        etag: etag.clone(),
        // What is not said here is as the upload was told.
        content_type: said.content_type.clone().unwrap_or_default(),
        metadata: said.metadata(),
        ..pb::BlobContent::default()
    };
    commit(door, content, said, (bytes, &etag)).await?;
    Ok(PutView::new(&door.id, &door.key, bytes, etag))
}

async fn send_part(
    door: &mut Door,
    upload: &[u8],
    number: u32,
    (body, own): (Bytes, [u8; 32]),
    (before, progress): (u64, &Progress),
) -> Result<(), Failure> {
    let query = format!("uploadId={}&partNumber={number}", hex(upload));
    let asked = Asked { verb: Verb::Put, query, headers: HeaderMap::new(), body };
    let (what, own) = (format!("part {number} of '{}'", door.key), hex(&own));
    tried(progress, &what, async || {
        progress.at(before);
        let response = door.send(&asked, progress.adder()).await?;
        match etag_of(response.headers()) {
            Some(other) if other != own => {
                let sentence = format!("what arrived has the ETag {other}, and not {own}");
                Err(Wrong::Again(Failure::new(Exit::Server, sentence)))
            }
            Some(_) | None => Ok(()),
        }
    })
    .await
}
