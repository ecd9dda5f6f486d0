//! What is asked of a bucket of blobs, and whether whoever asks may.

use bytes::Bytes;
use coracle_proto::codec::InField as _;
use coracle_proto::pb::{BlobUpload, BlobUploadReply, BlobVisitor, KvPlace};
use coracle_proto::status::{Code, Refusal};
use coracle_raft::View;

use super::super::leading::{Leading, sequence, unreadable};
use super::visitor::{self, Method};
use super::wire;
use crate::app::Context;
use crate::model::{self, Access, Holds, Place, SigningKey, UploadId};

/// Where something is asked for: the replica that answers, and the bucket.
pub(super) struct Asking {
    pub(super) leading: Leading,
    pub(super) bucket: Place,
}

impl Asking {
    pub(super) fn of(context: &Context, place: Option<KvPlace>) -> Result<Self, Refusal> {
        let place = place.in_field("place")?;
        let leading = Leading::of(context, &place.cluster_id, place.group)?;
        let bucket = Place::parse(&place.namespace, &place.bucket).in_field("place")?;
        Ok(Self { leading, bucket })
    }

    /// A view that has all that was acknowledged before, where whoever asks may read or do this.
    pub(super) async fn view(
        &self,
        visitor: Option<&BlobVisitor>,
        method: Method,
        key: &str,
    ) -> Result<View, Refusal> {
        let view = self.leading.view().await?;
        let kept = self.kept(&view)?;
        if let Some(visitor) = visitor {
            visitor::check(visitor, kept, method, (&self.bucket, key), self.leading.now_ms())?;
        }
        Ok(view)
    }

    /// Whoever asks may do this. What a client of the cluster asks for itself the group checks.
    pub(super) async fn admit(
        &self,
        visitor: Option<&BlobVisitor>,
        method: Method,
        key: &str,
    ) -> Result<(), Refusal> {
        match visitor {
            None => Ok(()),
            Some(_) => self.view(visitor, method, key).await.map(|_| ()),
        }
    }

    /// What is kept of the bucket, which holds blobs.
    pub(super) fn kept(&self, view: &View) -> Result<(Access, SigningKey), Refusal> {
        let place = &self.bucket;
        let found = model::bucket(view, place).map_err(|stop| unreadable(&stop))?;
        let found = found
            .ok_or_else(|| Refusal::new(Code::BucketNotFound, format!("there is no bucket '{place}'")))?;
        if found.bucket.dropping_ms > 0 {
            let sentence = format!("bucket '{place}' is being deleted");
            return Err(Refusal::new(Code::BucketNotFound, sentence));
        }
        match found.bucket.holds {
            Holds::Blobs { access, key } => Ok((access, key)),
            Holds::Values => {
                let sentence = format!("bucket '{place}' holds values, no blobs");
                Err(Refusal::new(Code::InvalidArgument, sentence))
            }
        }
    }

    /// What was asked of an upload is done, whatever becomes of it meanwhile.
    pub(super) fn done(&self, id: UploadId, key: &str) -> Result<BlobUploadReply, Refusal> {
        let (bucket, key) = (self.bucket.name.as_str().to_owned(), key.to_owned());
        let upload =
            BlobUpload { id: Bytes::copy_from_slice(&id.to_bytes()), bucket, key, ..BlobUpload::default() };
        Ok(BlobUploadReply { upload: Some(upload), sequence: self.leading.sequence()? })
    }

    /// An upload as it is now, without its parts, which may be many.
    pub(super) fn shown(&self, view: &View, id: UploadId, key: &str) -> Result<BlobUploadReply, Refusal> {
        let found = model::upload(view, id).map_err(|stop| unreadable(&stop))?;
        let found = found.filter(|upload| upload.bucket == self.bucket && upload.key == key);
        let upload = found.ok_or_else(|| {
            let sentence = format!("there is no upload {id} of this blob, or not any more");
            Refusal::new(Code::UploadNotFound, sentence)
        })?;
        Ok(BlobUploadReply { upload: Some(wire::upload(id, upload)), sequence: sequence(view)? })
    }
}
