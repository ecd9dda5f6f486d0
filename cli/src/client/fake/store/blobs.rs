//! Blobs of a fake store, whose content a fake gateway has.

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::blobs_server::Blobs;
use coracle_proto::status::{Code, Refusal};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::super::Answer;
use super::{FakeStore, Kept};
use crate::client::now_ms;

/// So many a page.
const PAGE: usize = 2;

impl Kept {
    fn find_upload(&mut self, id: &[u8]) -> Result<&mut pb::BlobUpload, Status> {
        let missing = || Refusal::new(Code::UploadNotFound, "there is no such upload").into();
        self.uploads.iter_mut().find(|it| it.id == id).ok_or_else(missing)
    }

    fn conditions(&self, asked: &pb::BlobCommitRequest) -> Result<(), Status> {
        let there = self.blobs.get(&asked.key).map(|(info, _)| info.etag.as_str());
        let matches = match (asked.if_match.as_str(), there) {
            ("", _) | ("*", Some(_)) => true,
            (etag, there) => there == Some(etag),
        };
        if matches && !(asked.if_none_match && there.is_some()) {
            return Ok(());
        }
        Err(Refusal::new(Code::PreconditionFailed, "it is not as was expected").into())
    }

    /// Once, and remembered.
    fn commit(
        &mut self,
        request: &[u8],
        info: pb::BlobInfo,
        parts: Vec<pb::BlobPart>,
    ) -> Answer<pb::BlobCommitReply> {
        self.log.push(format!("commit {}", info.key));
        self.committed.insert(request.to_vec(), info.clone());
        self.blobs.insert(info.key.clone(), (info.clone(), parts));
        self.acknowledged(pb::BlobCommitReply { info: Some(info), existed: false, sequence: 42 })
    }

    fn upload_reply(&mut self, id: &[u8]) -> Answer<pb::BlobUploadReply> {
        let upload = Some(self.find_upload(id)?.clone());
        self.acknowledged(pb::BlobUploadReply { upload, sequence: 42 })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a gateway does with it; answered is the ETag.
impl FakeStore {
    pub(crate) fn put_part(&self, upload: &str, number: u32, body: &Bytes) -> String {
        let digest = Sha256::digest(body);
        self.with(|kept| {
            let upload = kept.uploads.iter_mut().find(|it| hex(&it.id) == upload).unwrap();
            upload.parts.retain(|it| it.number != number);
            let (bytes, digest) = (body.len() as u64, digest.to_vec().into());
            upload.parts.push(pb::BlobPart { number, run: 1, bytes, digest });
        });
        hex(&digest)
    }
}

#[tonic::async_trait]
impl Blobs for FakeStore {
    async fn get(&self, request: Request<pb::BlobGetRequest>) -> Answer<pb::BlobGetReply> {
        let key = request.into_inner().key;
        self.with(|kept| {
            kept.refused()?;
            let (info, parts) = kept.blobs.get(&key).cloned().unzip();
            let parts = parts.unwrap_or_default();
            Ok(Response::new(pb::BlobGetReply { info, parts, ..pb::BlobGetReply::default() }))
        })
    }

    async fn list(&self, request: Request<pb::BlobListRequest>) -> Answer<pb::BlobListReply> {
        let pb::BlobListRequest { prefix, after, .. } = request.into_inner();
        self.with(|kept| {
            let meant = kept.blobs.values().map(|(info, _)| info);
            let meant = meant.filter(|it| it.key.starts_with(&prefix) && it.key > after);
            let mut blobs: Vec<_> = meant.take(PAGE + 1).cloned().collect();
            let more = blobs.len() > PAGE;
            blobs.truncate(PAGE);
            let after = blobs.last().filter(|_| more).map(|it| it.key.clone()).unwrap_or_default();
            Ok(Response::new(pb::BlobListReply { blobs, after, sequence: 42 }))
        })
    }

    async fn begin(&self, request: Request<pb::BlobBeginRequest>) -> Answer<pb::BlobUploadReply> {
        let pb::BlobBeginRequest { place, key, content_type, request, time_ms, .. } = request.into_inner();
        let time_ms = if time_ms == 0 { 600_000 } else { time_ms };
        let id = request.unwrap().id;
        self.with(|kept| {
            kept.refused()?;
            if kept.find_upload(&id).is_err() {
                kept.log.push(format!("begin {key}"));
                let (bucket, begun_ms) = (place.unwrap().bucket, kept.uploads.len() as u64);
                let id = id.clone();
                kept.uploads.push(pb::BlobUpload {
                    id,
                    bucket,
                    key,
                    begun_ms,
                    until_ms: now_ms() + time_ms,
                    content_type,
                    ..Default::default()
                });
            }
            kept.upload_reply(&id)
        })
    }

    async fn renew(&self, _: Request<pb::BlobUploadRequest>) -> Answer<pb::BlobUploadReply> {
        Err(Status::unimplemented("renew"))
    }

    async fn put_part(&self, _: Request<pb::BlobPutPartRequest>) -> Answer<pb::BlobUploadReply> {
        Err(Status::unimplemented("put_part"))
    }

    async fn get_upload(&self, request: Request<pb::BlobUploadRequest>) -> Answer<pb::BlobUploadReply> {
        let id = request.into_inner().upload;
        self.with(|kept| kept.upload_reply(&id))
    }

    async fn list_uploads(&self, _: Request<pb::BlobListUploadsRequest>) -> Answer<pb::BlobListUploadsReply> {
        self.with(|kept| {
            let bare = |it: &pb::BlobUpload| pb::BlobUpload { parts: Vec::new(), ..it.clone() };
            let (uploads, after) = (kept.uploads.iter().map(bare).collect(), Bytes::new());
            Ok(Response::new(pb::BlobListUploadsReply { uploads, after }))
        })
    }

    async fn abort(&self, request: Request<pb::BlobUploadRequest>) -> Answer<pb::BlobChangeReply> {
        let id = request.into_inner().upload;
        self.with(|kept| {
            kept.find_upload(&id)?;
            kept.uploads.retain(|it| it.id != id);
            kept.log.push("abort".to_owned());
            kept.acknowledged(pb::BlobChangeReply { sequence: 42 })
        })
    }

    async fn commit(&self, request: Request<pb::BlobCommitRequest>) -> Answer<pb::BlobCommitReply> {
        let asked = request.into_inner();
        let (key, request) = (asked.key.clone(), asked.request.clone().unwrap().id);
        self.with(|kept| {
            kept.refused()?;
            if let Some(info) = kept.committed.get(&request[..]).cloned() {
                return kept.acknowledged(pb::BlobCommitReply {
                    info: Some(info),
                    existed: false,
                    sequence: 42,
                });
            }
            kept.conditions(&asked)?;
            let content = asked.content.clone().unwrap();
            if content.upload.is_empty() {
                let etag = hex(&Sha256::digest(&content.data));
                let bytes = content.data.len() as u64;
                let info = pb::BlobInfo {
                    key,
                    bytes,
                    etag,
                    content_type: content.content_type,
                    ..Default::default()
                };
                return kept.commit(&request, info, Vec::new());
            }
            let upload = kept.find_upload(&content.upload)?.clone();
            let (mut all, mut parts) = (Sha256::new(), Vec::new());
            for part in &content.parts {
                let there =
                    upload.parts.iter().find(|it| it.number == part.number && it.digest == part.digest);
                let missing =
                    || Refusal::new(Code::InvalidArgument, format!("part {} is not there", part.number));
                parts.push(there.cloned().ok_or_else(missing)?);
                all.update(&part.digest);
            }
            let info = pb::BlobInfo {
                key: key.clone(),
                bytes: parts.iter().map(|it| it.bytes).sum(),
                etag: match content.etag.as_str() {
                    "" => format!("{}-{}", hex(&all.finalize()), parts.len()),
                    told => told.to_owned(),
                },
                content_type: match content.content_type.as_str() {
                    "" => upload.content_type,
                    told => told.to_owned(),
                },
                ..pb::BlobInfo::default()
            };
            assert_eq!(content.parts.len(), upload.parts.len(), "all of them are named");
            kept.uploads.retain(|it| it.id != content.upload);
            kept.commit(&request, info, parts)
        })
    }

    async fn delete(&self, request: Request<pb::BlobDeleteRequest>) -> Answer<pb::BlobDeleteReply> {
        let pb::BlobDeleteRequest { key, if_match, .. } = request.into_inner();
        self.with(|kept| {
            kept.refused()?;
            let other = kept.blobs.get(&key).is_some_and(|(info, _)| info.etag != if_match);
            if !if_match.is_empty() && other {
                return Err(Refusal::new(Code::PreconditionFailed, "another one was expected").into());
            }
            let existed = kept.blobs.remove(&key).is_some();
            kept.log.push(format!("delete blob {key}"));
            kept.acknowledged(pb::BlobDeleteReply { existed, sequence: 42 })
        })
    }

    async fn sign(&self, request: Request<pb::BlobSignRequest>) -> Answer<pb::BlobSignReply> {
        let valid_ms = request.into_inner().valid_ms;
        Ok(Response::new(pb::BlobSignReply { expires: valid_ms / 1000, signature: vec![7; 32].into() }))
    }
}
