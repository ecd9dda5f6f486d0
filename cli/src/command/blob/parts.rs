//! What is too large to be sent at once: an upload in parts, which goes on where it broke off.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::pb;
use http::HeaderMap;

use super::door::{Asked, Door, etag_of};
use super::etag::{digest, of_parts};
use super::link::{Verb, hex};
use super::put::{Look, Source};
use super::tries::{Wrong, tried};
use super::uploads;
use crate::client::Blobs;
use crate::command::events::bucket_at;
use crate::exit::{Exit, Failure};
use crate::output::Progress;
use crate::output::view::PutView;
use crate::units::show_bytes;

/// How long an upload waits for its next part.
const TIME_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Bytes of a blob: of stdin it is not known before.
const BLOB_BYTES_MAX: u64 = 5 << 30;

pub(super) async fn put(
    door: &mut Door,
    mut source: Source,
    first: Bytes,
    (said, resume): (&Look, bool),
    progress: &Progress,
) -> Result<PutView, Failure> {
    let upload = match resume {
        true => uploads::newest(&mut door.events, &door.id, &door.key).await?,
        false => None,
    };
    let upload = match upload {
        Some(found) => {
            door.talk.say(&format!(
                "going on with upload {}, which has {}",
                hex(&found.id),
                count(found.parts.len())
            ));
            found
        }
        None => begin(door, source.bytes, said).await?,
    };
    let done = send(door, &mut source, first, (&upload, said), progress).await;
    done.map_err(|failure| {
        let hint =
            format!("--resume goes on with it, 'coracle blob abort {} {}' gives it up", door.id, door.key);
        Failure {
            message: format!("{}; what was sent is kept for 7 days: {hint}", failure.message),
            ..failure
        }
    })
}

fn count(parts: usize) -> String {
    if parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") }
}

async fn begin(door: &mut Door, bytes: Option<u64>, said: &Look) -> Result<pb::BlobUpload, Failure> {
    let Door { events, id, key, .. } = door;
    let begin = async |mut service: Blobs, place, request| {
        let told = pb::BlobBeginRequest {
            place: Some(bucket_at(place, id.name.as_str())),
            request,
            key: key.clone(),
            time_ms: TIME_MS,
            content_type: said.content_type.clone().unwrap_or_default(),
            metadata: said.meta.iter().cloned().collect(),
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
        let number = u32::try_from(digests.len() + 1).unwrap_or(u32::MAX);
        let same = there.get(&number).is_some_and(|it| it.bytes == size && it.digest[..] == own);
        if !same {
            send_part(door, &upload.id, number, (part, own), (bytes, progress)).await?;
        }
        bytes += size;
        progress.at(bytes);
        digests.push(own);
        if bytes > BLOB_BYTES_MAX {
            return Err(Failure::usage(format!("a blob has at most {}", show_bytes(BLOB_BYTES_MAX))));
        }
        part = source.next().await?;
    }
    door.events.renew();
    let info = commit(door, &upload.id, &digests, said).await?;
    let etag = of_parts(&digests);
    if info.etag != etag || info.bytes != bytes {
        let sentence = format!(
            "the blob has {} bytes and the ETag {}, and not {bytes} and {etag}",
            info.bytes, info.etag
        );
        return Err(Failure::new(Exit::Server, sentence));
    }
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
    let (what, talk, own) = (format!("part {number} of '{}'", door.key), door.talk, hex(&own));
    tried(talk, &what, async || {
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

/// Done once, however often it is sent.
async fn commit(
    door: &mut Door,
    upload: &Bytes,
    digests: &[[u8; 32]],
    said: &Look,
) -> Result<pb::BlobInfo, Failure> {
    let Door { events, id, key, .. } = door;
    let part = |(number, digest): (u32, &[u8; 32])| pb::BlobPart {
        number,
        digest: Bytes::copy_from_slice(digest),
        ..pb::BlobPart::default()
    };
    let content = pb::BlobContent {
        upload: upload.clone(),
        parts: (1..).zip(digests).map(part).collect(),
        content_type: said.content_type.clone().unwrap_or_default(),
        metadata: said.meta.iter().cloned().collect(),
        ..pb::BlobContent::default()
    };
    let commit = async |mut service: Blobs, place, request| {
        let told = pb::BlobCommitRequest {
            place: Some(bucket_at(place, id.name.as_str())),
            request,
            key: key.clone(),
            content: Some(content.clone()),
            if_match: said.if_match.clone().unwrap_or_default(),
            if_none_match: said.if_none_match,
            hops: 0,
            visitor: None,
        };
        service.commit(told).await
    };
    let reply = events.alter(&format!("put '{key}'"), &id.namespace, commit).await?;
    reply.info.ok_or_else(|| Failure::local("put", "the store says nothing of what it keeps"))
}
