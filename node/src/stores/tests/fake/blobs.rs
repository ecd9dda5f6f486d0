//! Blobs of the store that keeps them in memory: what they are called.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::blobs_server::Blobs;
use coracle_proto::status::{Code, Refusal};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::served::Served;
use super::{State, Store};
use crate::blobs::hex;

/// Blobs of a page.
const PAGE_MAX: usize = 3;

/// A bucket of blobs.
#[derive(Debug, Default)]
pub(crate) struct BlobBucket {
    /// `signed`, `read`, or whatever else for open.
    pub(crate) access: &'static str,
    pub(crate) blobs: BTreeMap<String, pb::BlobGetReply>,
    pub(crate) uploads: BTreeMap<Bytes, pb::BlobUpload>,
    /// How often an upload was renewed.
    pub(crate) renewed: u32,
    /// What was answered to the last commit.
    pub(crate) committed: Option<pb::BlobCommitReply>,
}

/// What stands here for a bucket's signature.
pub(crate) fn signature(method: &str, bucket: &str, key: &str, expires: u64) -> Bytes {
    let text = format!("{method}\n{bucket}\n{key}\n{expires}");
    Bytes::copy_from_slice(&Sha256::digest(text))
}

impl BlobBucket {
    fn admits(&self, name: &str, key: &str, visitor: Option<&pb::BlobVisitor>) -> Result<(), Refusal> {
        let Some(visitor) = visitor else { return Ok(()) };
        let free = match self.access {
            "signed" => false,
            "read" => visitor.method == "GET",
            _ => true,
        };
        let good = signature(&visitor.method, name, key, visitor.expires) == visitor.signature
            && visitor.expires * 1000 > crate::clock::unix_ms();
        let refused = || Refusal::new(Code::SignatureRefused, "no good signature");
        (free || good).then_some(()).ok_or_else(refused)
    }

    fn upload(&mut self, id: &Bytes, key: &str) -> Result<&mut pb::BlobUpload, Refusal> {
        let gone = || Refusal::new(Code::UploadNotFound, "there is no such upload");
        self.uploads.get_mut(id).filter(|it| it.key == key).ok_or_else(gone)
    }

    fn check(&self, key: &str, if_match: &str, if_none_match: bool) -> Result<(), Refusal> {
        let etag = self.blobs.get(key).map(|it| it.info.as_ref().unwrap().etag.as_str());
        let matches = if_match.is_empty() || etag.is_some_and(|etag| if_match == "*" || if_match == etag);
        let failed = || Refusal::new(Code::PreconditionFailed, "it is another one");
        (matches && !(if_none_match && etag.is_some())).then_some(()).ok_or_else(failed)
    }

    fn commit(&mut self, request: pb::BlobCommitRequest, version: u64) -> Result<bool, Refusal> {
        let content = request.content.unwrap();
        self.check(&request.key, &request.if_match, request.if_none_match)?;
        let mut reply = pb::BlobGetReply { data: content.data, upload: content.upload, ..Default::default() };
        let (mut etag, mut content_type, mut metadata) =
            (content.etag, content.content_type, content.metadata);
        reply.parts = content.parts;
        if !reply.upload.is_empty() {
            let upload = self.upload(&reply.upload, &request.key)?.clone();
            if etag.is_empty() {
                let all = Sha256::new();
                let all = reply.parts.iter().fold(all, |all, part| all.chain_update(&part.digest));
                etag = format!("{}-{}", hex(&all.finalize()), reply.parts.len());
                (content_type, metadata) = (upload.content_type, upload.metadata);
            }
            for part in reply.parts.iter_mut().filter(|it| it.bytes == 0) {
                let there =
                    upload.parts.iter().find(|it| it.number == part.number && it.digest == part.digest);
                let wrong = || Refusal::new(Code::InvalidArgument, "there is no such part");
                *part = there.cloned().ok_or_else(wrong)?;
            }
            self.uploads.remove(&reply.upload);
        }
        let sum: u64 = reply.parts.iter().map(|it| it.bytes).sum();
        if content_type.is_empty() {
            "application/octet-stream".clone_into(&mut content_type);
        }
        reply.info = Some(pb::BlobInfo {
            key: request.key.clone(),
            version,
            bytes: sum + reply.data.len() as u64,
            etag,
            modified_ms: 1_445_412_480_123,
            content_type,
            metadata,
        });
        Ok(self.blobs.insert(request.key, reply).is_some())
    }
}

impl Store {
    /// Another one leads from now on, with all that was done here.
    pub(crate) fn hands_over_to(&self, other: &Self) {
        let (mut from, mut to) = (self.state(), other.state());
        to.blob_buckets = std::mem::take(&mut from.blob_buckets);
        to.done = std::mem::take(&mut from.done);
        to.sequence = from.sequence;
        (from.follows, to.follows) = (true, false);
    }
}

impl State {
    fn blob_bucket(
        &mut self,
        place: Option<pb::KvPlace>,
        key: &str,
        visitor: Option<&pb::BlobVisitor>,
    ) -> Result<&mut BlobBucket, Refusal> {
        if self.follows {
            return Err(Refusal::new(Code::NotLeader, "another one leads"));
        }
        let place = place.unwrap();
        let name = if place.namespace == "default" {
            place.bucket
        } else {
            format!("{}/{}", place.namespace, place.bucket)
        };
        let none = || Refusal::new(Code::BucketNotFound, format!("there is no bucket '{name}'"));
        let bucket = self.blob_buckets.get_mut(&name).ok_or_else(none)?;
        bucket.admits(&name, key, visitor)?;
        Ok(bucket)
    }
}

fn upload_reply(upload: &pb::BlobUpload) -> Response<pb::BlobUploadReply> {
    Response::new(pb::BlobUploadReply { upload: Some(upload.clone()), sequence: 0 })
}

#[tonic::async_trait]
impl Blobs for Served {
    async fn get(&self, request: Request<pb::BlobGetRequest>) -> Result<Response<pb::BlobGetReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        let mut reply = bucket.blobs.get(&request.key).cloned().unwrap_or_default();
        if request.info_only {
            reply = pb::BlobGetReply { info: reply.info, ..Default::default() };
        }
        Ok(Response::new(reply))
    }

    async fn list(
        &self,
        request: Request<pb::BlobListRequest>,
    ) -> Result<Response<pb::BlobListReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, "", request.visitor.as_ref())?;
        let most = if request.limit == 0 { PAGE_MAX } else { request.limit as usize };
        let asked = |(key, _): &(&String, _)| key.starts_with(&request.prefix) && **key > request.after;
        let all: Vec<_> = bucket.blobs.iter().filter(asked).map(|(_, it)| it.info.clone().unwrap()).collect();
        let after = if all.len() > most { all[most - 1].key.clone() } else { String::new() };
        let blobs = all.into_iter().take(most).collect();
        Ok(Response::new(pb::BlobListReply { blobs, after, sequence: 0 }))
    }

    async fn begin(
        &self,
        request: Request<pb::BlobBeginRequest>,
    ) -> Result<Response<pb::BlobUploadReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        if state.comes(request.request.as_ref())? {
            let sequence = state.next();
            let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
            let id = Bytes::copy_from_slice(&(u128::from(sequence) << 64).to_be_bytes());
            let upload = pb::BlobUpload {
                id: id.clone(),
                key: request.key,
                until_ms: 1000 + request.time_ms,
                content_type: request.content_type,
                metadata: request.metadata,
                ..Default::default()
            };
            bucket.uploads.insert(id, upload.clone());
            return Ok(upload_reply(&upload));
        }
        Err(Status::unavailable("it is done"))
    }

    async fn renew(
        &self,
        request: Request<pb::BlobUploadRequest>,
    ) -> Result<Response<pb::BlobUploadReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        bucket.renewed += 1;
        Ok(upload_reply(bucket.upload(&request.upload, &request.key)?))
    }

    async fn put_part(
        &self,
        request: Request<pb::BlobPutPartRequest>,
    ) -> Result<Response<pb::BlobUploadReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        let (upload, part) = (bucket.upload(&request.upload, &request.key)?, request.part.unwrap());
        upload.parts.retain(|it| it.number != part.number);
        upload.parts.push(part);
        upload.parts.sort_by_key(|it| it.number);
        Ok(upload_reply(upload))
    }

    async fn get_upload(
        &self,
        request: Request<pb::BlobUploadRequest>,
    ) -> Result<Response<pb::BlobUploadReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        Ok(upload_reply(bucket.upload(&request.upload, &request.key)?))
    }

    async fn list_uploads(
        &self,
        _: Request<pb::BlobListUploadsRequest>,
    ) -> Result<Response<pb::BlobListUploadsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn abort(
        &self,
        request: Request<pb::BlobUploadRequest>,
    ) -> Result<Response<pb::BlobChangeReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        bucket.upload(&request.upload, &request.key)?;
        bucket.uploads.remove(&request.upload);
        Ok(Response::new(pb::BlobChangeReply { sequence: 0 }))
    }

    async fn commit(
        &self,
        request: Request<pb::BlobCommitRequest>,
    ) -> Result<Response<pb::BlobCommitReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        if !state.comes(request.request.as_ref())? {
            let bucket = state.blob_bucket(request.place.clone(), &request.key, request.visitor.as_ref())?;
            let again = bucket.committed.clone().unwrap();
            return state.answers(again);
        }
        let (key, version) = (request.key.clone(), state.next());
        state.blob_hops.push(request.hops);
        let bucket = state.blob_bucket(request.place.clone(), &key, request.visitor.as_ref())?;
        let existed = bucket.commit(request, version)?;
        let info = bucket.blobs[&key].info.clone();
        let reply = pb::BlobCommitReply { info, existed, sequence: version };
        bucket.committed = Some(reply.clone());
        state.answers(reply)
    }

    async fn delete(
        &self,
        request: Request<pb::BlobDeleteRequest>,
    ) -> Result<Response<pb::BlobDeleteReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        let bucket = state.blob_bucket(request.place, &request.key, request.visitor.as_ref())?;
        bucket.check(&request.key, &request.if_match, false)?;
        let existed = bucket.blobs.remove(&request.key).is_some();
        Ok(Response::new(pb::BlobDeleteReply { existed, sequence: 0 }))
    }

    async fn sign(&self, _: Request<pb::BlobSignRequest>) -> Result<Response<pb::BlobSignReply>, Status> {
        Err(Status::unimplemented(""))
    }
}
