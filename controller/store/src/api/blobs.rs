//! Blobs of buckets, for whoever asks over the network (docs/adr/0018).

mod asking;
mod visitor;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::pb::blobs_server::Blobs;
use coracle_proto::pb::{
    BlobBeginRequest, BlobChangeReply, BlobCommitReply, BlobCommitRequest, BlobDeleteReply,
    BlobDeleteRequest, BlobGetReply, BlobGetRequest, BlobInfo, BlobListReply, BlobListRequest,
    BlobListUploadsReply, BlobListUploadsRequest, BlobPutPartRequest, BlobSignReply, BlobSignRequest,
    BlobUploadReply, BlobUploadRequest,
};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use self::asking::Asking;
use self::visitor::Method;
use super::leading::{sequence, unreadable};
use super::spec;
use crate::app::Context;
use crate::model::{
    self, Begin, BlobBecomes, BlobChange, BlobEntry, Effect, Effected, Look, Op, Outcome, PAGE_MAX,
    UPLOAD_MS_MAX, UploadId, UploadName,
};

pub(super) use wire::becomes;

/// An upload is over after so long without a word, unless somebody asks for another time.
const UPLOAD_MS: u64 = 10 * 60 * 1000;
/// A signature is good for so long, unless somebody asks for another time; and so long at most.
const SIGNATURE_MS: u64 = 15 * 60 * 1000;
const SIGNATURE_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// Serves clients and other processes of the cluster.
pub(crate) struct BlobsService {
    pub(crate) context: Arc<Context>,
}

/// What is asked of an upload that is open.
struct Named {
    asking: Asking,
    name: UploadName,
}

impl BlobsService {
    fn meant(context: &Context, asked: &BlobUploadRequest) -> Result<(Asking, UploadId), Refusal> {
        let asking = Asking::of(context, asked.place.clone())?;
        Ok((asking, UploadId::try_from(&asked.upload[..]).in_field("upload")?))
    }

    async fn named(&self, asked: &BlobUploadRequest) -> Result<Named, Refusal> {
        let (asking, id) = Self::meant(&self.context, asked)?;
        asking.admit(asked.visitor.as_ref(), Method::Put, &asked.key).await?;
        let name = UploadName { bucket: asking.bucket.clone(), key: asked.key.clone(), id };
        Ok(Named { asking, name })
    }
}

#[tonic::async_trait]
impl Blobs for BlobsService {
    async fn get(&self, request: Request<BlobGetRequest>) -> Result<Response<BlobGetReply>, Status> {
        let BlobGetRequest { place, key, visitor, info_only } = request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        let view = asking.view(visitor.as_ref(), Method::Get, &key).await?;
        let bucket = &asking.bucket;
        let sequence = sequence(&view)?;
        let Some(blob) = model::blob(&view, bucket, &key).map_err(|stop| unreadable(&stop))? else {
            return Ok(Response::new(BlobGetReply { sequence, ..BlobGetReply::default() }));
        };
        let mut reply = BlobGetReply { sequence, ..BlobGetReply::default() };
        match blob.upload {
            _ if info_only => {}
            None => reply.data = model::blob_data(&view, bucket, &key).map_err(|stop| unreadable(&stop))?,
            Some(id) => {
                let parts = model::committed(&view, id).map_err(|stop| unreadable(&stop))?;
                reply.upload = Bytes::copy_from_slice(&id.to_bytes());
                reply.parts = parts.unwrap_or_default().into_iter().map(wire::part_to_wire).collect();
            }
        }
        reply.info = Some(wire::info(BlobEntry { key, blob }));
        Ok(Response::new(reply))
    }

    async fn list(&self, request: Request<BlobListRequest>) -> Result<Response<BlobListReply>, Status> {
        let BlobListRequest { place, prefix, after, limit, visitor } = request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        let view = asking.view(visitor.as_ref(), Method::Get, "").await?;
        let after = (!after.is_empty()).then_some(&after[..]);
        let page = model::blobs(&view, &asking.bucket, &prefix, after, spec::page(limit, PAGE_MAX));
        let page = page.map_err(|stop| unreadable(&stop))?;
        let info = |entry| BlobInfo { metadata: std::collections::BTreeMap::new(), ..wire::info(entry) };
        let (blobs, after) = (page.entries.into_iter().map(info).collect(), page.after.unwrap_or_default());
        Ok(Response::new(BlobListReply { blobs, after, sequence: sequence(&view)? }))
    }

    async fn begin(&self, request: Request<BlobBeginRequest>) -> Result<Response<BlobUploadReply>, Status> {
        let BlobBeginRequest { place, request, key, time_ms, content_type, metadata, bytes, visitor } =
            request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        asking.admit(visitor.as_ref(), Method::Put, &key).await?;
        let time_ms = if time_ms == 0 { UPLOAD_MS } else { time_ms };
        let (bucket, look) = (asking.bucket.clone(), Look { content_type, metadata });
        let op = Op::BeginUpload(Begin { bucket, key: key.clone(), time_ms, look, bytes });
        match asking.leading.done(request, op).await? {
            Outcome::UploadBegun(id) => {
                // One that was asked for again may have ended by now: it was opened all the same.
                let shown = asking.shown(&asking.leading.served.replica.state(), id, &key);
                let shown = shown.or_else(|refusal| match refusal.code {
                    Code::UploadNotFound => asking.done(id, &key),
                    _ => Err(refusal),
                })?;
                Ok(Response::new(shown))
            }
            other => Err(other_outcome(&other).into()),
        }
    }

    async fn renew(&self, request: Request<BlobUploadRequest>) -> Result<Response<BlobUploadReply>, Status> {
        let asked = request.into_inner();
        let Named { asking, name } = self.named(&asked).await?;
        asking.leading.done(asked.request, Op::RenewUpload(name.clone())).await?;
        Ok(Response::new(asking.done(name.id, &name.key)?))
    }

    async fn put_part(
        &self,
        request: Request<BlobPutPartRequest>,
    ) -> Result<Response<BlobUploadReply>, Status> {
        let BlobPutPartRequest { place, request, key, upload, part, visitor } = request.into_inner();
        let asked = BlobUploadRequest { place, request, key, upload, visitor };
        let part = wire::part(part.in_field("part").map_err(Refusal::from)?);
        let Named { asking, name } = self.named(&asked).await?;
        asking.leading.done(asked.request, Op::PutPart { upload: name.clone(), part }).await?;
        Ok(Response::new(asking.done(name.id, &name.key)?))
    }

    async fn get_upload(
        &self,
        request: Request<BlobUploadRequest>,
    ) -> Result<Response<BlobUploadReply>, Status> {
        let asked = request.into_inner();
        let (asking, id) = Self::meant(&self.context, &asked)?;
        let view = asking.view(asked.visitor.as_ref(), Method::Put, &asked.key).await?;
        let name = UploadName { bucket: asking.bucket.clone(), key: asked.key, id };
        let mut reply = asking.shown(&view, name.id, &name.key)?;
        let parts = model::upload_parts(&view, name.id).map_err(|stop| unreadable(&stop))?;
        if let Some(upload) = &mut reply.upload {
            upload.parts = parts.into_iter().map(wire::part_to_wire).collect();
        }
        Ok(Response::new(reply))
    }

    async fn list_uploads(
        &self,
        request: Request<BlobListUploadsRequest>,
    ) -> Result<Response<BlobListUploadsReply>, Status> {
        let BlobListUploadsRequest { place, after, limit } = request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        let after = match &after[..] {
            [] => None,
            id => Some(UploadId::try_from(id).in_field("after").map_err(Refusal::from)?),
        };
        let view = asking.view(None, Method::Get, "").await?;
        let most = spec::page(limit, PAGE_MAX);
        let found = model::uploads(&view, &asking.bucket, after, most).map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(Bytes::new, |last| Bytes::copy_from_slice(&last.id.to_bytes()));
        let uploads = found.into_iter().map(|it| wire::upload(it.id, it.upload)).collect();
        Ok(Response::new(BlobListUploadsReply { uploads, after }))
    }

    async fn abort(&self, request: Request<BlobUploadRequest>) -> Result<Response<BlobChangeReply>, Status> {
        let asked = request.into_inner();
        let Named { asking, name } = self.named(&asked).await?;
        asking.leading.done(asked.request, Op::AbortUpload(name)).await?;
        Ok(Response::new(BlobChangeReply { sequence: asking.leading.sequence()? }))
    }

    async fn commit(&self, request: Request<BlobCommitRequest>) -> Result<Response<BlobCommitReply>, Status> {
        let BlobCommitRequest { place, request, key, content, if_match, if_none_match, hops, visitor } =
            request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        asking.admit(visitor.as_ref(), Method::Put, &key).await?;
        let becomes = becomes(Some(content.in_field("content").map_err(Refusal::from)?))?;
        let bucket = asking.bucket.clone();
        let change = BlobChange { bucket, key: key.clone(), if_match, if_none_match, becomes };
        let effects = vec![Effect::Blob(Box::new(change))];
        let outcome = asking.leading.done(request, Op::Perform { effects, hops: hops.into() }).await?;
        let Outcome::Performed(effects) = &outcome else { return Err(other_outcome(&outcome).into()) };
        let [Effected::Committed { version, bytes, etag, modified_ms, existed }] = &effects[..] else {
            return Err(other_outcome(&outcome).into());
        };
        let view = asking.leading.served.replica.state();
        // What else is told of it, unless it is another one by now.
        let now = model::blob(&view, &asking.bucket, &key).map_err(|stop| unreadable(&stop))?;
        let now = now.filter(|blob| blob.version == *version);
        let look = now.map(|blob| blob.look).unwrap_or_default();
        let info = BlobInfo {
            key,
            version: *version,
            bytes: *bytes,
            etag: etag.clone(),
            modified_ms: *modified_ms,
            content_type: look.content_type,
            metadata: look.metadata,
        };
        Ok(Response::new(BlobCommitReply { info: Some(info), existed: *existed, sequence: sequence(&view)? }))
    }

    async fn delete(&self, request: Request<BlobDeleteRequest>) -> Result<Response<BlobDeleteReply>, Status> {
        let BlobDeleteRequest { place, request, key, if_match, hops, visitor } = request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        asking.admit(visitor.as_ref(), Method::Delete, &key).await?;
        let (bucket, becomes) = (asking.bucket.clone(), BlobBecomes::Nothing);
        let change = BlobChange { bucket, key, if_match, if_none_match: false, becomes };
        let effects = vec![Effect::Blob(Box::new(change))];
        let outcome = asking.leading.done(request, Op::Perform { effects, hops: hops.into() }).await?;
        let Outcome::Performed(effects) = &outcome else { return Err(other_outcome(&outcome).into()) };
        let existed = matches!(effects[..], [Effected::Deleted { existed: true }]);
        Ok(Response::new(BlobDeleteReply { existed, sequence: asking.leading.sequence()? }))
    }

    async fn sign(&self, request: Request<BlobSignRequest>) -> Result<Response<BlobSignReply>, Status> {
        let BlobSignRequest { place, method, key, valid_ms } = request.into_inner();
        let asking = Asking::of(&self.context, place)?;
        let invalid = |sentence: String| Refusal::new(Code::InvalidArgument, sentence);
        let method = Method::parse(&method).ok_or_else(|| {
            invalid(format!("field 'method' is '{method}': GET, PUT and DELETE can be signed"))
        })?;
        if key.is_empty() && method != Method::Get {
            return Err(
                invalid("field 'key' is empty: only reading of the bucket's list is so".into()).into()
            );
        }
        if valid_ms > SIGNATURE_MS_MAX {
            let sentence = format!("field 'valid_ms' is {valid_ms}: at most {SIGNATURE_MS_MAX} are allowed");
            return Err(invalid(sentence).into());
        }
        let view = asking.leading.view().await?;
        let (_, signing) = asking.kept(&view)?;
        let valid_ms = if valid_ms == 0 { SIGNATURE_MS } else { valid_ms };
        let expires = asking.leading.now_ms().saturating_add(valid_ms).div_ceil(1000);
        let signature = visitor::sign(&signing, method, (&asking.bucket, &key), expires);
        Ok(Response::new(BlobSignReply { expires, signature: Bytes::copy_from_slice(&signature) }))
    }
}

const _: () = assert!(UPLOAD_MS <= UPLOAD_MS_MAX);

/// An answer to something else.
fn other_outcome(outcome: &Outcome) -> Refusal {
    Refusal::new(Code::Internal, format!("the group answered {outcome:?}, which is no answer to this"))
}

#[cfg(test)]
mod tests;
